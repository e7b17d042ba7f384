#pragma once
#include <scangrad/core/tensor.h>

#include <cstdint>
#include <vector>

// Tensors joined, taken apart, repeated, turned and padded. Negative dimensions count from the end.
// Any dtype; differentiable to any order. Throw ShapeError, IndexError, ValueError.
namespace scangrad {

/// Joined along `dim`; the other sizes agree. Dtypes promote.
Tensor cat(const Tensors& tensors, std::int64_t dim = 0);
/// Joined along a new dimension `dim`; all of one shape.
Tensor stack(const Tensors& tensors, std::int64_t dim = 0);
/// Views of `size` entries each along `dim`, the last one of what is left.
Tensors split(const Tensor& x, std::int64_t size, std::int64_t dim = 0);
/// Views of these sizes along `dim`, which must add up to it.
Tensors split(const Tensor& x, const std::vector<std::int64_t>& sizes, std::int64_t dim = 0);
/// At most `count` views of equal size along `dim`, the last one of what is left.
Tensors chunk(const Tensor& x, std::int64_t count, std::int64_t dim = 0);

/// x so many times along each dimension; more counts than dimensions add dimensions in front.
Tensor repeat(const Tensor& x, const std::vector<std::int64_t>& counts);
/// Reversed along `dims`.
Tensor flip(const Tensor& x, const std::vector<std::int64_t>& dims);
/// Shifted cyclically: entry i along dims[k] moves to i + shifts[k].
Tensor roll(const Tensor& x, const std::vector<std::int64_t>& shifts,
            const std::vector<std::int64_t>& dims);
/// `value` added before and after: pads are {before, after} of the last dimension, then of the one
/// before it, … (as PyTorch). Negative pads cut off.
Tensor pad(const Tensor& x, const std::vector<std::int64_t>& pads, double value = 0);

}  // namespace scangrad
