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
/// The largest or smallest over the dimensions; elements that tie share the gradient evenly, and
/// any NaN is the result. Throws ValueError for an empty range.
Tensor amax(const Tensor& x, const Dims& dims = {}, bool keepdim = false);
Tensor amin(const Tensor& x, const Dims& dims = {}, bool keepdim = false);
Tensor max(const Tensor& x);  ///< amax over everything
Tensor min(const Tensor& x);  ///< amin over everything

/// The result of an operation that says where its values came from.
struct ValuesIndices {
  Tensor values;
  Tensor indices;  // i64
};
/// The largest along one dimension and its first index, which gets the gradient.
ValuesIndices max(const Tensor& x, std::int64_t dim, bool keepdim = false);
ValuesIndices min(const Tensor& x, std::int64_t dim, bool keepdim = false);
/// The index alone.
Tensor argmax(const Tensor& x, std::int64_t dim, bool keepdim = false);
Tensor argmin(const Tensor& x, std::int64_t dim, bool keepdim = false);

/// Σ (x − mean)² / (n − correction); NaN where that is 0 / 0.
Tensor var(const Tensor& x, const Dims& dims = {}, double correction = 1, bool keepdim = false);
/// log Σ eˣ without overflow; −∞ where all of x is, with gradient 0 there.
Tensor logsumexp(const Tensor& x, const Dims& dims = {}, bool keepdim = false);
/// (Σ |x|ᵖ)^{1/p} for p > 0, the largest |x| for p = ∞; gradient 0 where all of x is 0.
Tensor norm(const Tensor& x, double p = 2, const Dims& dims = {}, bool keepdim = false);

/// Is any element nonzero? To bool; false for none.
Tensor any(const Tensor& x, const Dims& dims = {}, bool keepdim = false);
/// Are all elements nonzero? To bool; true for none.
Tensor all(const Tensor& x, const Dims& dims = {}, bool keepdim = false);

/// x summed down to a shape that broadcasts to x's: the adjoint of expand.
Tensor sum_to(const Tensor& x, const Shape& shape);

}  // namespace scangrad
