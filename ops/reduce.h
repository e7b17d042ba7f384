#pragma once
#include <scangrad/core/tensor.h>

#include <cstdint>
#include <vector>

// Reductions over dimensions. `dims` empty means all; negative ones count from the end; `keepdim`
// leaves the reduced dimensions in place with size 1. Sums accumulate in f32 for bf16, and in a
// fixed order, so that results are the same from run to run.
namespace scangrad {

using Dims = std::vector<std::int64_t>;

/// Σ x. Sums of bool and integers are i64.
Tensor sum(const Tensor& x, const Dims& dims = {}, bool keepdim = false);
/// Σ x / n; NaN over an empty dimension.
Tensor mean(const Tensor& x, const Dims& dims = {}, bool keepdim = false);
/// x summed down to a shape that broadcasts to x's: the adjoint of expand.
Tensor sum_to(const Tensor& x, const Shape& shape);

}  // namespace scangrad
