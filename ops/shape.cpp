#include <scangrad/ops/elementwise.h>
#include <scangrad/ops/frontend.h>
#include <scangrad/ops/reduce.h>
#include <scangrad/ops/shape.h>

#include <algorithm>
#include <numeric>
#include <optional>

namespace scangrad {
namespace {

/// The shape with −1 replaced by what makes `numel` elements.
Shape infer(const char* op, const Shape& wanted, std::int64_t numel) {
  Shape shape = wanted;
  int unknown = -1;
  for (int i = 0; i < shape.rank(); ++i) {
    if (shape[i] != -1) continue;
    check<ShapeError>(unknown < 0, "{}: shape {} has more than one -1", op, wanted);
    unknown = i;
    shape[i] = 1;
  }
  check_shape(op, shape);
  const std::int64_t known = shape.numel();
  if (unknown >= 0 && known > 0) shape[unknown] = numel / known;
  check<ShapeError>(shape.numel() == numel && (unknown < 0 || known > 0),
                    "{}: {} elements do not fit shape {}", op, numel, wanted);
  return shape;
}

/// Strides under which x's memory has `shape`, if there are any: each run of dimensions that is
/// contiguous in x may be split anew.
std::optional<Strides> view_strides(const Tensor& x, const Shape& shape) {
  if (x.numel() == 0) return contiguous_strides(shape);
  Strides strides = Strides::filled(shape.rank(), 1);
  int to = shape.rank() - 1;
  std::int64_t run = 1;  // elements of x's run not yet given to new dimensions
  std::int64_t step = 1;
  for (int from = x.rank() - 1; from >= 0; --from) {
    if (x.shape()[from] == 1) continue;
    if (run == 1) step = x.strides()[from];
    if (run != 1 && x.strides()[from] != step * run) return {};
    run *= x.shape()[from];
    const bool goes_on = from > 0;
    // Give new dimensions what they need as long as the run can fill them.
    while (to >= 0 && run % shape[to] == 0 && run > 1) {
      strides[to] = step;
      step *= shape[to];
      run /= shape[to];
      --to;
    }
    if (run != 1 && !goes_on) return {};
  }
  return strides;
}

Tensor slice_scatter(const Tensor& g, const Shape& shape, int dim, std::int64_t start,
                     std::int64_t step);

Tensor slice_view(const Tensor& x, int dim, std::int64_t start, std::int64_t count,
                  std::int64_t step) {
  Shape shape = x.shape();
  Strides strides = x.strides();
  shape[dim] = count;
  const std::int64_t offset = x.offset() + (count > 0 ? start * strides[dim] : 0);
  if (count > 1) strides[dim] *= step;
  const Shape original = x.shape();
  return record("slice", {x}, x.as_strided(shape, strides, offset), {},
                [original, dim, start, step](const Backward& b) {
                  return Tensors{slice_scatter(b.grad(), original, dim, start, step)};
                });
}

/// Zeros of `shape` with g where `slice_view` would read: the adjoint of a slice.
Tensor slice_scatter(const Tensor& g, const Shape& shape, int dim, std::int64_t start,
                     std::int64_t step) {
  Tensor out = zeros(shape, g.options());
  const std::int64_t count = g.shape()[dim];
  raw_copy(slice_view(out, dim, start, count, step), g);
  return record("slice_scatter", {g}, out, {}, [dim, start, count, step](const Backward& b) {
    return Tensors{slice_view(b.grad(), dim, start, count, step)};
  });
}

}  // namespace

Tensor expand_view(const Tensor& t, const Shape& shape) {
  Strides strides = Strides::filled(shape.rank(), 0);
  const int added = shape.rank() - t.rank();
  bool fits = added >= 0;
  for (int i = 0; fits && i < t.rank(); ++i) {
    fits = t.shape()[i] == shape[added + i] || t.shape()[i] == 1;
    if (t.shape()[i] == shape[added + i]) strides[added + i] = t.strides()[i];
  }
  check<ShapeError>(fits, "expand: shape {} does not broadcast to {}", t.shape(), shape);
  return t.as_strided(shape, strides, t.offset());
}

Tensor reshape(const Tensor& x, const Shape& wanted) {
  const Shape shape = infer("reshape", wanted, x.numel());
  if (shape == x.shape()) return x;
  const auto strides = view_strides(x, shape);
  if (!strides) return reshape(contiguous(x), shape);
  const Shape original = x.shape();
  return record("reshape", {x}, x.as_strided(shape, *strides, x.offset()), {},
                [original](const Backward& b) { return Tensors{reshape(b.grad(), original)}; });
}

Tensor flatten(const Tensor& x, std::int64_t start, std::int64_t end) {
  if (x.rank() == 0) return reshape(x, {1});
  const int first = normalize_dim("flatten", start, x.rank());
  const int last = normalize_dim("flatten", end, x.rank());
  check<IndexError>(first <= last, "flatten: start dimension {} is after end dimension {}", start,
                    end);
  Shape shape = x.shape().slice(0, first);
  shape.push_back(x.shape().slice(first, last + 1).numel());
  for (int i = last + 1; i < x.rank(); ++i) shape.push_back(x.shape()[i]);
  return reshape(x, shape);
}

Tensor unflatten(const Tensor& x, std::int64_t dim, const Shape& sizes) {
  const int at = normalize_dim("unflatten", dim, x.rank());
  check<IndexError>(x.rank() > 0, "unflatten: a scalar has no dimensions");
  Shape shape = x.shape().slice(0, at);
  for (std::int64_t size : infer("unflatten", sizes, x.shape()[at])) shape.push_back(size);
  for (int i = at + 1; i < x.rank(); ++i) shape.push_back(x.shape()[i]);
  return reshape(x, shape);
}

Tensor permute(const Tensor& x, const std::vector<std::int64_t>& dims) {
  check<ShapeError>(static_cast<int>(dims.size()) == x.rank(),
                    "permute: {} dimensions are given for a tensor of rank {}", dims.size(),
                    x.rank());
  Shape shape;
  Strides strides;
  std::vector<std::int64_t> inverse(dims.size(), -1);
  for (std::size_t i = 0; i < dims.size(); ++i) {
    const int from = normalize_dim("permute", dims[i], x.rank());
    check<IndexError>(inverse[static_cast<std::size_t>(from)] < 0,
                      "permute: dimension {} is given twice", dims[i]);
    inverse[static_cast<std::size_t>(from)] = static_cast<std::int64_t>(i);
    shape.push_back(x.shape()[from]);
    strides.push_back(x.strides()[from]);
  }
  return record("permute", {x}, x.as_strided(shape, strides, x.offset()), {},
                [inverse](const Backward& b) { return Tensors{permute(b.grad(), inverse)}; });
}

Tensor transpose(const Tensor& x, std::int64_t a, std::int64_t b) {
  const int first = normalize_dim("transpose", a, x.rank());
  const int second = normalize_dim("transpose", b, x.rank());
  std::vector<std::int64_t> dims(static_cast<std::size_t>(x.rank()));
  std::iota(dims.begin(), dims.end(), 0);
  if (x.rank() > 0)
    std::swap(dims[static_cast<std::size_t>(first)], dims[static_cast<std::size_t>(second)]);
  return permute(x, dims);
}

Tensor expand(const Tensor& x, const Shape& wanted) {
  Shape shape = wanted;
  const int added = shape.rank() - x.rank();
  for (int i = 0; i < shape.rank(); ++i) {
    if (shape[i] == -1 && i >= added) shape[i] = x.shape()[i - added];
  }
  check_shape("expand", shape);
  if (shape == x.shape()) return x;
  const Shape original = x.shape();
  return record("expand", {x}, expand_view(x, shape), {},
                [original](const Backward& b) { return Tensors{sum_to(b.grad(), original)}; });
}

Tensor slice(const Tensor& x, std::int64_t dim, std::int64_t start, std::optional<std::int64_t> end,
             std::int64_t step) {
  check<IndexError>(x.rank() > 0, "slice: a scalar has no dimensions");
  check<ValueError>(step > 0, "slice: step {} is not positive", step);
  const int at = normalize_dim("slice", dim, x.rank());
  const std::int64_t size = x.shape()[at];
  const auto clip = [size](std::int64_t i) {
    return std::clamp<std::int64_t>(i < 0 ? i + size : i, 0, size);
  };
  const std::int64_t first = clip(start), last = clip(end.value_or(size));
  const std::int64_t count = last > first ? (last - first - 1) / step + 1 : 0;
  if (count == size && step == 1) return x;
  return slice_view(x, at, first, count, step);
}

Tensor select(const Tensor& x, std::int64_t dim, std::int64_t index) {
  check<IndexError>(x.rank() > 0, "select: a scalar has no dimensions");
  const int at = normalize_dim("select", dim, x.rank());
  const std::int64_t size = x.shape()[at];
  check<IndexError>(-size <= index && index < size,
                    "select: index {} is out of range for dimension {} of shape {}", index, at,
                    x.shape());
  return squeeze(
      slice(x, at, index < 0 ? index + size : index, (index < 0 ? index + size : index) + 1), at);
}

Tensor squeeze(const Tensor& x, std::int64_t dim) {
  const int at = normalize_dim("squeeze", dim, x.rank());
  check<ShapeError>(x.rank() > 0 && x.shape()[at] == 1,
                    "squeeze: dimension {} of shape {} is not 1", dim, x.shape());
  Shape shape = x.shape();
  shape.erase(at);
  return reshape(x, shape);
}

Tensor unsqueeze(const Tensor& x, std::int64_t dim) {
  const int at = normalize_dim("unsqueeze", dim, x.rank() + 1);
  Shape shape = x.shape();
  shape.insert(at, 1);
  return reshape(x, shape);
}

Tensor clone(const Tensor& x) {
  return record("clone", {x}, raw_clone(x), {},
                [](const Backward& b) { return Tensors{b.grad()}; });
}

Tensor contiguous(const Tensor& x) { return x.is_contiguous() ? x : clone(x); }

Tensor to(const Tensor& x, Device device) {
  if (x.device() == device) return x;
  Tensor y = empty(x.shape(), {x.dtype(), device});
  raw_copy(y, x);
  const Device original = x.device();
  return record("to", {x}, y, {},
                [original](const Backward& b) { return Tensors{to(b.grad(), original)}; });
}

}  // namespace scangrad
