#include <scangrad/ops/elementwise.h>
#include <scangrad/ops/frontend.h>
#include <scangrad/ops/reduce.h>
#include <scangrad/ops/shape.h>

namespace scangrad {
namespace {

/// x's shape with size 1 along the reduced dimensions.
Shape kept_shape(const char* op, const Tensor& x, const Dims& dims) {
  if (dims.empty()) return Shape::filled(x.rank(), 1);
  Shape kept = x.shape();
  std::vector<bool> seen(static_cast<std::size_t>(max_rank), false);
  for (std::int64_t dim : dims) {
    const int at = normalize_dim(op, dim, x.rank());
    check<IndexError>(!seen[static_cast<std::size_t>(at)], "{}: dimension {} is given twice", op,
                      dim);
    seen[static_cast<std::size_t>(at)] = true;
    if (x.rank() > 0) kept[at] = 1;
  }
  return kept;
}

/// The kept shape without the reduced dimensions.
Shape dropped_shape(const char* op, const Tensor& x, const Dims& dims) {
  if (dims.empty()) return {};
  Shape shape = kept_shape(op, x, dims);
  for (std::int64_t dim : dims) {
    if (x.rank() > 0) shape[normalize_dim(op, dim, x.rank())] = -1;
  }
  Shape left;
  for (std::int64_t size : shape) {
    if (size >= 0) left.push_back(size);
  }
  return left;
}

}  // namespace

Tensor sum(const Tensor& input, const Dims& dims, bool keepdim) {
  const Tensor x = is_floating(input.dtype()) ? input : cast(input, DType::i64);
  const Shape kept = kept_shape("sum", x, dims);
  const Shape shape = keepdim ? kept : dropped_shape("sum", x, dims);
  Tensor y = empty(shape, x.options());
  if (x.numel() == 0) {
    backend(y.device()).fill(y, 0);
  } else {
    const Tensor target = y.as_strided(kept, contiguous_strides(kept), 0);
    kernel_for("sum", x.device(), &Kernels::sum)(expand_view(target, x.shape()), x);
  }
  const Shape full_shape = x.shape();
  return record("sum", {x}, y, {}, [kept, full_shape](const Backward& b) {
    return Tensors{expand(reshape(b.grad(), kept), full_shape)};
  });
}

Tensor mean(const Tensor& x, const Dims& dims, bool keepdim) {
  const Tensor total = sum(as_floating(x), dims, keepdim);
  const double count = static_cast<double>(x.numel()) /
                       static_cast<double>(std::max<std::int64_t>(total.numel(), 1));
  return total * (1.0 / count);
}

Tensor sum_to(const Tensor& x, const Shape& shape) {
  if (x.shape() == shape) return x;
  const int added = x.rank() - shape.rank();
  Dims dims;
  for (int dim = 0; dim < x.rank(); ++dim) {
    if (dim < added || (shape[dim - added] == 1 && x.shape()[dim] != 1)) dims.push_back(dim);
  }
  const Tensor total = dims.empty() ? x : sum(x, dims, true);
  return reshape(total, shape);
}

}  // namespace scangrad
