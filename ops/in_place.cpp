// The in-place operations of elementwise.h.
#include <scangrad/autograd/grad_mode.h>
#include <scangrad/ops/elementwise.h>
#include <scangrad/ops/frontend.h>

#include <cstdint>
#include <utility>

namespace scangrad {
namespace {

/// The bytes from the first of x's elements in memory to the last.
std::pair<std::uintptr_t, std::uintptr_t> extent(const Tensor& x) {
  std::int64_t first = 0, last = 0;
  for (int dim = 0; dim < x.rank(); ++dim) {
    const std::int64_t reach = (x.shape()[dim] - 1) * x.strides()[dim];
    (reach < 0 ? first : last) += reach;
  }
  const auto size = static_cast<std::int64_t>(size_of(x.dtype()));
  const auto base = reinterpret_cast<std::uintptr_t>(x.raw_data());
  return {base + static_cast<std::uintptr_t>(first * size),
          base + static_cast<std::uintptr_t>((last + 1) * size)};
}

/// x, of target's shape, or a copy where the two share memory otherwise than element by element: an
/// edit of one element would then change another that is still to be read.
Tensor apart(const Tensor& target, const Tensor& x) {
  if (x.numel() == 0 || x.device() != target.device()) return x;
  const auto [start, end] = extent(x);
  const auto [target_start, target_end] = extent(target);
  if (end <= target_start || target_end <= start) return x;
  bool same = x.raw_data() == target.raw_data() && x.dtype() == target.dtype();
  for (int dim = 0; dim < x.rank(); ++dim) {
    same = same && (x.shape()[dim] == 1 || x.strides()[dim] == target.strides()[dim]);
  }
  return same ? x : raw_clone(x);
}

/// Declares an edit of `target` from x once it is known to be possible.
void begin_edit(const char* op, const Tensor& target, const Tensor& x) {
  check<ShapeError>(broadcast_shapes(op, target.shape(), x.shape()) == target.shape(),
                    "{}: {} does not broadcast to {}, which is changed in place", op, x.shape(),
                    target.shape());
  begin_in_place(op, target, x);
}

/// Throws unless `target` can hold results of this dtype: integers would lose the fraction.
void check_holds(const char* op, const Tensor& target, DType result) {
  check<DTypeError>(is_floating(target.dtype()) || !is_floating(result),
                    "{}: an {} tensor cannot hold {} results; use the operation that returns a new "
                    "tensor, or cast",
                    op, target.dtype(), result);
}

}  // namespace

void add_(Tensor& target, const Tensor& x, double scale) {
  check_same_device("add_", target, x);
  check_dtype("add_", target, NumberTypes{});
  const DType sum = scale == 1.0 ? x.dtype() : promote(x, scale);
  check_holds("add_", target, sum);
  begin_edit("add_", target, x);
  const auto guard = no_grad();
  const Tensor term = cast(scale == 1.0 ? x : mul(x, scale), target.dtype());
  backend(target.device()).add_in_place(target, apart(target, expand_view(term, target.shape())));
}

void mul_(Tensor& target, double value) {
  check_dtype("mul_", target, NumberTypes{});
  check_holds("mul_", target, promote(target, value));
  begin_in_place("mul_", target);
  if (target.numel() > 0) {
    kernel_for("mul_", target.device(), &Kernels::mul_scalar)(target, target, {value});
  }
}

void copy_(Tensor& target, const Tensor& x) {
  begin_edit("copy_", target, x);
  raw_copy(target, apart(target, expand_view(x, target.shape())));
}

void zero_(Tensor& target) {
  begin_in_place("zero_", target);
  backend(target.device()).fill(target, 0);
}

}  // namespace scangrad
