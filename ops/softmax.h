#pragma once
#include <scangrad/core/tensor.h>

#include <cstdint>

// Floating-point tensors of any shape; `dim` counts from the end where negative. Differentiable to
// any order. bf16 is computed in f32. A slice that is −∞ throughout gives NaN, as in PyTorch.
namespace scangrad {

/// e^{x_i} / Σ_j e^{x_j} along `dim`.
Tensor softmax(const Tensor& x, std::int64_t dim);
/// log softmax(x): x_i − log Σ_j e^{x_j} along `dim`, without cancellation.
Tensor log_softmax(const Tensor& x, std::int64_t dim);

}  // namespace scangrad
