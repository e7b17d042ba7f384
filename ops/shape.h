#pragma once
#include <scangrad/core/tensor.h>

#include <cstdint>
#include <optional>
#include <vector>

// Views: the same memory under another shape, at no cost, and their gradients. Negative dimensions
// count from the end. Only `reshape` and `contiguous` may copy; `clone` always does.
namespace scangrad {

/// x under another shape with as many elements; one size may be −1. A view where strides allow,
/// else a copy. Throws ShapeError.
Tensor reshape(const Tensor& x, const Shape& shape);
/// Dimensions start … end as one.
Tensor flatten(const Tensor& x, std::int64_t start = 0, std::int64_t end = -1);
/// Dimension `dim` as several; one size may be −1.
Tensor unflatten(const Tensor& x, std::int64_t dim, const Shape& sizes);
/// Dimensions a and b exchanged.
Tensor transpose(const Tensor& x, std::int64_t a, std::int64_t b);
/// Dimension i of the result is dimension dims[i] of x.
Tensor permute(const Tensor& x, const std::vector<std::int64_t>& dims);
/// x broadcast to a larger shape; −1 keeps a size.
Tensor expand(const Tensor& x, const Shape& shape);
/// Elements start, start + step, … below end along `dim`; bounds are clipped as in NumPy.
Tensor slice(const Tensor& x, std::int64_t dim, std::int64_t start,
             std::optional<std::int64_t> end = {}, std::int64_t step = 1);
/// The one element `index` along `dim`, which disappears.
Tensor select(const Tensor& x, std::int64_t dim, std::int64_t index);
/// Without dimension `dim`, which must be 1.
Tensor squeeze(const Tensor& x, std::int64_t dim);
/// With a new dimension of size 1 before `dim`.
Tensor unsqueeze(const Tensor& x, std::int64_t dim);

/// x itself where it is contiguous, else a contiguous copy.
Tensor contiguous(const Tensor& x);
/// A contiguous copy.
Tensor clone(const Tensor& x);
/// x on another device; x itself where it is there already. A copy to the CPU waits for the device
/// (core/backend.h, raw_copy).
Tensor to(const Tensor& x, Device device);

}  // namespace scangrad
