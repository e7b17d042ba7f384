#pragma once
#include <scangrad/core/tensor.h>

namespace scangrad {

/// Matrix product over the last two dimensions, (…, m, k) × (…, k, n) → (…, m, n); the others
/// broadcast. A vector operand is a row on the left, a column on the right, and its dimension
/// disappears, as in NumPy and PyTorch. Transposed views go to BLAS without a copy. bf16 products
/// accumulate in f32. Throws ShapeError.
Tensor matmul(const Tensor& a, const Tensor& b);

/// x Wᵀ + bias, (…, in) → (…, out), as one tall product; weight (out, in), bias (out) or undefined.
/// Throws ShapeError.
Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias = {});

}  // namespace scangrad
