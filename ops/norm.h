#pragma once
#include <scangrad/core/tensor.h>

// Normalisation over the last dimension, of size n. `weight` and `bias` are (n), of x's dtype, or
// left out. Statistics in f32 for bf16. Differentiable to any order. Throw ShapeError, DTypeError.
namespace scangrad {

/// (x − mean) / √(var + eps) · weight + bias, var without Bessel's correction.
/// Ba, Kiros, Hinton: "Layer normalization" (2016).
Tensor layer_norm(const Tensor& x, const Tensor& weight = {}, const Tensor& bias = {},
                  double eps = 1e-5);
/// x / √(mean(x²) + eps) · weight. Zhang and Sennrich: "Root mean square layer normalization"
/// (2019).
Tensor rms_norm(const Tensor& x, const Tensor& weight = {}, double eps = 1e-6);

}  // namespace scangrad
