#include <scangrad/autograd/grad_mode.h>
#include <scangrad/ops/elementwise.h>
#include <scangrad/ops/frontend.h>
#include <scangrad/ops/index.h>
#include <scangrad/ops/reduce.h>
#include <scangrad/ops/shape.h>

#include <cmath>
#include <limits>
#include <optional>

namespace scangrad {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

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

struct Reduced {
  Tensor y;
  Shape kept;  // y's shape with the reduced dimensions as 1
};

/// The kernel's result, not recorded; `of_none` is that of an empty range, an error if not given.
Reduced reduce(const char* op, ReduceKernel* Kernels::*entry, const Tensor& x, const Dims& dims,
               bool keepdim, std::optional<double> of_none = {}) {
  const Shape kept = kept_shape(op, x, dims);
  const Tensor y = empty(keepdim ? kept : dropped_shape(op, x, dims), x.options());
  if (x.numel() == 0) {
    check<ValueError>(of_none || y.numel() == 0, "{}: a range of {} is empty and has none", op,
                      x.shape());
    backend(y.device()).fill(y, of_none.value_or(0));
  } else {
    const Tensor target = y.as_strided(kept, contiguous_strides(kept), 0);
    kernel_for(op, x.device(), entry)(expand_view(target, x.shape()), x);
  }
  return {y, kept};
}

/// amax or amin: each of the elements that attain it gets an equal share of the gradient.
Tensor extremum(const char* op, ReduceKernel* Kernels::*entry, const Tensor& x, const Dims& dims,
                bool keepdim) {
  const Reduced r = reduce(op, entry, x, dims, keepdim);
  const Shape kept = r.kept;
  return record(op, {x}, r.y, {x, r.y}, [kept](const Backward& b) {
    const Tensor attained = cast(eq(b.saved[0], reshape(b.saved[1], kept)), b.grad().dtype());
    return Tensors{reshape(b.grad(), kept) * (attained / sum_to(attained, kept))};
  });
}

/// max or min along one dimension.
ValuesIndices extremum_along(const char* op, ReduceAlongKernel* Kernels::*entry,
                             const Tensor& input, std::int64_t dim, bool keepdim) {
  if (input.rank() == 0) {
    normalize_dim(op, dim, 0);
    return extremum_along(op, entry, reshape(input, {1}), 0, false);
  }
  const Tensor x = contiguous(input);
  const int at = normalize_dim(op, dim, x.rank());
  Shape shape = x.shape();
  const Shape parts = around(shape, at);  // (outer, n, inner)
  shape[at] = 1;
  const Tensor values = empty(shape, x.options());
  const Tensor indices = empty(shape, {DType::i64, x.device()});
  check<ValueError>(parts[1] > 0 || values.numel() == 0,
                    "{}: dimension {} of {} is empty and has none", op, dim, x.shape());
  if (x.numel() > 0) {
    const auto flat = [&](const Tensor& t, const Shape& s) {
      return t.as_strided(s, contiguous_strides(s), t.offset());
    };
    const Shape outer_inner{parts[0], parts[2]};
    kernel_for(op, x.device(), entry)(flat(values, outer_inner), flat(indices, outer_inner),
                                      flat(x, parts));
  }
  record(
      op, {input}, Tensors{values, indices}, {indices},
      [original = x.shape(), at](const Backward& b) {
        return Tensors{scatter_add(zeros(original, b.grad().options()), at, b.saved[0], b.grad())};
      });
  if (keepdim) return {values, indices};
  return {squeeze(values, at), squeeze(indices, at)};
}

}  // namespace

Tensor sum(const Tensor& input, const Dims& dims, bool keepdim) {
  const Tensor x = is_floating(input.dtype()) ? input : cast(input, DType::i64);
  const Reduced r = reduce("sum", &Kernels::sum, x, dims, keepdim, 0.0);
  const Shape kept = r.kept, full_shape = x.shape();
  return record("sum", {x}, r.y, {}, [kept, full_shape](const Backward& b) {
    return Tensors{expand(reshape(b.grad(), kept), full_shape)};
  });
}

Tensor mean(const Tensor& x, const Dims& dims, bool keepdim) {
  const Tensor total = sum(as_floating(x), dims, keepdim);
  const double count = static_cast<double>(x.numel()) /
                       static_cast<double>(std::max<std::int64_t>(total.numel(), 1));
  return total * (1.0 / count);
}

Tensor amax(const Tensor& x, const Dims& dims, bool keepdim) {
  return extremum("amax", &Kernels::amax, x, dims, keepdim);
}
Tensor amin(const Tensor& x, const Dims& dims, bool keepdim) {
  return extremum("amin", &Kernels::amin, x, dims, keepdim);
}
Tensor max(const Tensor& x) { return extremum("max", &Kernels::amax, x, {}, false); }
Tensor min(const Tensor& x) { return extremum("min", &Kernels::amin, x, {}, false); }

ValuesIndices max(const Tensor& x, std::int64_t dim, bool keepdim) {
  return extremum_along("max", &Kernels::max_along, x, dim, keepdim);
}
ValuesIndices min(const Tensor& x, std::int64_t dim, bool keepdim) {
  return extremum_along("min", &Kernels::min_along, x, dim, keepdim);
}
Tensor argmax(const Tensor& x, std::int64_t dim, bool keepdim) {
  return extremum_along("argmax", &Kernels::max_along, x.detach(), dim, keepdim).indices;
}
Tensor argmin(const Tensor& x, std::int64_t dim, bool keepdim) {
  return extremum_along("argmin", &Kernels::min_along, x.detach(), dim, keepdim).indices;
}

Tensor var(const Tensor& input, const Dims& dims, double correction, bool keepdim) {
  const Tensor x = as_floating(input);
  const Tensor center = mean(x, dims, true);
  const Tensor total = sum(square(x - center), dims, keepdim);
  const double count = static_cast<double>(x.numel()) /
                       static_cast<double>(std::max<std::int64_t>(total.numel(), 1));
  return total * (1.0 / std::max(count - correction, 0.0));
}

Tensor logsumexp(const Tensor& input, const Dims& dims, bool keepdim) {
  const Tensor x = as_floating(input);
  const Shape kept = kept_shape("logsumexp", x, dims);
  Tensor y;
  {
    const auto guard = no_grad();
    const Tensor most = reduce("logsumexp", &Kernels::amax, x, dims, true, -infinity).y;
    const Tensor shift = masked_fill(most, logical_not(isfinite(most)), 0);  // not ∞ − ∞
    const Tensor total = log(sum(exp(x - shift), dims, true)) + shift;
    y = keepdim ? total : reshape(total, dropped_shape("logsumexp", x, dims));
  }
  // Softmax weights; where all is −∞, 0 rather than ∞ − ∞.
  return record("logsumexp", {x}, y, {x, y}, [kept](const Backward& b) {
    const Tensor total = reshape(b.saved[1], kept);
    const Tensor shift = masked_fill(total, eq(total, -infinity), 0);
    return Tensors{reshape(b.grad(), kept) * exp(b.saved[0] - shift)};
  });
}

Tensor norm(const Tensor& input, double p, const Dims& dims, bool keepdim) {
  check<ValueError>(p > 0, "norm: the order {} is not above 0", p);
  const Tensor x = as_floating(input);
  if (std::isinf(p)) return amax(abs(x), dims, keepdim);
  const Shape kept = kept_shape("norm", x, dims);
  Tensor y;
  {
    const auto guard = no_grad();
    y = p == 2   ? sqrt(sum(square(x), dims, keepdim))
        : p == 1 ? sum(abs(x), dims, keepdim)
                 : pow(sum(pow(abs(x), p), dims, keepdim), 1 / p);
  }
  // d y / d x = sign(x) (|x| / y)^{p−1}, 0 where y or x is: a power below 0 is not taken there.
  return record("norm", {x}, y, {x, y}, [kept, p](const Backward& b) {
    const Tensor& x = b.saved[0];
    const Tensor g = reshape(b.grad(), kept), total = reshape(b.saved[1], kept);
    const Tensor y = masked_fill(total, eq(total, 0.0), 1);
    if (p == 2) return Tensors{x * (g / y)};
    if (p == 1) return Tensors{sign(x) * g};
    const Tensor size = masked_fill(abs(x), eq(x, 0.0), 1);
    return Tensors{sign(x) * pow(size, p - 1) * (g / pow(y, p - 1))};
  });
}

Tensor any(const Tensor& x, const Dims& dims, bool keepdim) {
  const Tensor truth = x.dtype() == DType::bool_ ? x : ne(x, 0.0);
  return reduce("any", &Kernels::amax, truth, dims, keepdim, 0.0).y;
}
Tensor all(const Tensor& x, const Dims& dims, bool keepdim) {
  const Tensor truth = x.dtype() == DType::bool_ ? x : ne(x, 0.0);
  return reduce("all", &Kernels::amin, truth, dims, keepdim, 1.0).y;
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
