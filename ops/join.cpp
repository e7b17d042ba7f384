#include <scangrad/ops/elementwise.h>
#include <scangrad/ops/frontend.h>
#include <scangrad/ops/join.h>
#include <scangrad/ops/shape.h>

#include <algorithm>
#include <limits>

namespace scangrad {
namespace {

using Sizes = std::vector<std::int64_t>;

/// Entries start … start + size of `dim`; the memory itself, without history.
Tensor part_of(const Tensor& x, int dim, std::int64_t start, std::int64_t size) {
  Shape shape = x.shape();
  shape[dim] = size;
  const std::int64_t skipped = size > 0 ? start * x.strides()[dim] : 0;
  return x.as_strided(shape, x.strides(), x.offset() + skipped);
}

/// Views of these sizes along `dim`, one operation: backward joins the gradients once, where slices
/// would each make a tensor of x's size.
Tensors split_views(const Tensor& x, const Sizes& sizes, int dim) {
  Tensors parts;
  std::int64_t start = 0;
  for (std::int64_t size : sizes) {
    parts.push_back(part_of(x, dim, start, size));
    start += size;
  }
  record("split", {x}, parts, {}, [dim](const Backward& b) { return Tensors{cat(b.grads, dim)}; });
  return parts;
}

/// `dim` checked; a scalar has none.
int dim_of(const char* op, const Tensor& x, std::int64_t dim) {
  check<ShapeError>(x.rank() > 0, "{}: a scalar has no dimensions; use reshape", op);
  return normalize_dim(op, dim, x.rank());
}

}  // namespace

Tensor cat(const Tensors& tensors, std::int64_t dim) {
  check<ValueError>(!tensors.empty(), "cat: there are no tensors to join");
  const int at = dim_of("cat", tensors[0], dim);
  DType dtype = tensors[0].dtype();
  Shape shape = tensors[0].shape();
  shape[at] = 0;
  for (const Tensor& t : tensors) {
    check_same_device("cat", tensors[0], t);
    Shape expected = t.shape();
    if (t.rank() == shape.rank()) expected[at] = shape[at];
    check<ShapeError>(expected == shape, "cat: {} and {} differ outside dimension {}",
                      tensors[0].shape(), t.shape(), dim);
    dtype = std::max(dtype, t.dtype());
    shape[at] += t.shape()[at];
  }
  Sizes sizes;
  std::vector<DType> dtypes;
  Tensor out = empty(shape, {dtype, tensors[0].device()});
  std::int64_t start = 0;
  for (const Tensor& t : tensors) {
    sizes.push_back(t.shape()[at]);
    dtypes.push_back(t.dtype());
    if (t.numel() > 0) raw_copy(part_of(out, at, start, sizes.back()), t);
    start += sizes.back();
  }
  return record("cat", tensors, out, {}, [sizes, dtypes, at](const Backward& b) {
    Tensors grads = split_views(b.grad(), sizes, at);
    for (std::size_t i = 0; i < grads.size(); ++i) grads[i] = cast(grads[i], dtypes[i]);
    return grads;
  });
}

Tensor stack(const Tensors& tensors, std::int64_t dim) {
  check<ValueError>(!tensors.empty(), "stack: there are no tensors to join");
  const int at = normalize_dim("stack", dim, tensors[0].rank() + 1);
  Tensors parts;
  for (const Tensor& t : tensors) {
    check<ShapeError>(t.shape() == tensors[0].shape(), "stack: {} and {} are not of one shape",
                      tensors[0].shape(), t.shape());
    parts.push_back(unsqueeze(t, at));
  }
  return cat(parts, at);
}

Tensors split(const Tensor& x, const Sizes& sizes, std::int64_t dim) {
  const int at = dim_of("split", x, dim);
  std::int64_t left = x.shape()[at];
  for (std::int64_t size : sizes) {
    check<ValueError>(size >= 0, "split: size {} is negative", size);
    check<ShapeError>(size <= left, "split: the sizes add up to more than dimension {} of {}", dim,
                      x.shape());
    left -= size;
  }
  check<ShapeError>(left == 0, "split: the sizes leave {} of dimension {} of {}", left, dim,
                    x.shape());
  return split_views(x, sizes, at);
}

Tensors split(const Tensor& x, std::int64_t size, std::int64_t dim) {
  const int at = dim_of("split", x, dim);
  check<ValueError>(size > 0, "split: size {} is not positive", size);
  Sizes sizes;
  for (std::int64_t left = x.shape()[at]; left > 0; left -= size) {
    sizes.push_back(std::min(size, left));
  }
  if (sizes.empty()) sizes.push_back(0);
  return split_views(x, sizes, at);
}

Tensors chunk(const Tensor& x, std::int64_t count, std::int64_t dim) {
  check<ValueError>(count > 0, "chunk: count {} is not positive", count);
  const std::int64_t size = x.shape()[dim_of("chunk", x, dim)];
  return split(x, std::max<std::int64_t>(size - 1, 0) / count + 1, dim);
}

Tensor repeat(const Tensor& x, const Sizes& counts) {
  const int rank = static_cast<int>(counts.size());
  check<ShapeError>(x.rank() <= rank, "repeat: {} counts are given for {}", rank, x.shape());
  Shape shape = Shape::filled(rank - x.rank(), 1);
  for (std::int64_t size : x.shape()) shape.push_back(size);
  Tensor y = reshape(x, shape);
  for (int dim = 0; dim < rank; ++dim) {
    const std::int64_t count = counts[static_cast<std::size_t>(dim)];
    check<ValueError>(count >= 0, "repeat: count {} is negative", count);
    if (count == 1) continue;
    const Shape sizes = around(y.shape(), dim);
    const Tensor folded = reshape(y, {sizes[0], 1, sizes[1] * sizes[2]});
    check_shape("repeat", {sizes[1], count});
    shape[dim] *= count;
    y = reshape(expand(folded, {sizes[0], count, sizes[1] * sizes[2]}), shape);
  }
  return y;
}

Tensor flip(const Tensor& x, const Sizes& dims) {
  Strides strides = x.strides();
  std::int64_t offset = x.offset();
  for (std::int64_t dim : dims) {
    const int at = dim_of("flip", x, dim);
    check<IndexError>(strides[at] == x.strides()[at] || x.shape()[at] <= 1,
                      "flip: dimension {} is given twice", dim);
    offset += std::max<std::int64_t>(x.shape()[at] - 1, 0) * x.strides()[at];
    strides[at] = -x.strides()[at];
  }
  Tensor y = empty(x.shape(), x.options());
  if (x.numel() > 0) raw_copy(y, x.as_strided(x.shape(), strides, offset));
  return record("flip", {x}, y, {},
                [dims](const Backward& b) { return Tensors{flip(b.grad(), dims)}; });
}

Tensor roll(const Tensor& x, const Sizes& shifts, const Sizes& dims) {
  check<ValueError>(shifts.size() == dims.size(), "roll: {} shifts are given for {} dimensions",
                    shifts.size(), dims.size());
  Tensor y = x;
  for (std::size_t i = 0; i < dims.size(); ++i) {
    const int at = dim_of("roll", x, dims[i]);
    const std::int64_t size = x.shape()[at];
    if (size == 0) continue;
    const std::int64_t shift = (shifts[i] % size + size) % size;
    if (shift != 0) y = cat({slice(y, at, size - shift), slice(y, at, 0, size - shift)}, at);
  }
  return y;
}

Tensor pad(const Tensor& x, const Sizes& pads, double value) {
  const int padded = static_cast<int>(pads.size() / 2);
  check<ValueError>(pads.size() % 2 == 0 && padded <= x.rank(),
                    "pad: {} pads are given for {}; they must be pairs, at most one a dimension",
                    pads.size(), x.shape());
  Shape shape = x.shape();
  constexpr std::int64_t most = std::numeric_limits<std::int64_t>::max() / 4;
  for (int i = 0; i < padded; ++i) {
    const int dim = x.rank() - 1 - i;
    for (int side : {2 * i, 2 * i + 1}) {
      const std::int64_t size = pads[static_cast<std::size_t>(side)];
      check<ValueError>(-most < size && size < most, "pad: {} entries cannot be added", size);
    }
    shape[dim] += pads[static_cast<std::size_t>(2 * i)] + pads[static_cast<std::size_t>(2 * i + 1)];
    check<ShapeError>(shape[dim] >= 0, "pad: dimension {} of {} is cut to less than nothing", dim,
                      x.shape());
  }
  Tensor y = full(shape, value, x.options());
  // What x and y have in common, seen in both.
  Tensor from = x.detach(), to = y;
  for (int i = 0; i < padded; ++i) {
    const int dim = x.rank() - 1 - i;
    const std::int64_t before = pads[static_cast<std::size_t>(2 * i)];
    const std::int64_t first = std::max<std::int64_t>(0, -before);  // in x
    const std::int64_t last = std::min(x.shape()[dim], shape[dim] - before);
    const std::int64_t count = std::max<std::int64_t>(0, last - first);
    from = part_of(from, dim, first, count);
    to = part_of(to, dim, first + before, count);
  }
  if (from.numel() > 0) raw_copy(to, from);
  return record("pad", {x}, y, {}, [pads](const Backward& b) {
    Sizes back;
    for (std::int64_t size : pads) back.push_back(-size);
    return Tensors{pad(b.grad(), back, 0)};
  });
}

}  // namespace scangrad
