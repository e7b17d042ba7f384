#pragma once
#include <scangrad/core/tensor.h>

#include <cstdint>

// Floating-point tensors of any shape; `dim` counts from the end where negative. Differentiable to
// any order. bf16 is computed in f32. A slice that is −∞ throughout gives NaN, as in PyTorch, but
// for masked_softmax.
namespace scangrad {

/// e^{x_i} / Σ_j e^{x_j} along `dim`.
Tensor softmax(const Tensor& x, std::int64_t dim);
/// log softmax(x): x_i − log Σ_j e^{x_j} along `dim`, without cancellation.
Tensor log_softmax(const Tensor& x, std::int64_t dim);
/// softmax of x + mask over the last dimension of x (…, T, S), and 0 (not NaN) for a slice that is
/// −∞ throughout. `mask` broadcasts to x: bool, false for −∞, or of x's dtype, added (and then
/// differentiable); undefined for none. `causal` leaves row i of T the columns 0 … i. The masked
/// copy of x is not made. Throws ShapeError, DTypeError.
Tensor masked_softmax(const Tensor& x, const Tensor& mask, bool causal);

}  // namespace scangrad
