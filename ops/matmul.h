#pragma once
#include <scangrad/core/tensor.h>
#include <scangrad/ops/elementwise.h>

#include <cstdint>

namespace scangrad {

/// How f32 matrices are multiplied where the device has a choice. The CPU has none.
enum class Float32Matmul : std::uint8_t {
  full,  ///< products and sums in f32
  tf32,  ///< operands rounded to TF32's 10 bits, sums in f32: on tensor cores, many times faster
};
/// The choice of the calling thread, `full` at first; gradients are computed as the product was.
Float32Matmul float32_matmul();

/// Sets `float32_matmul` for the life of the object.
class [[nodiscard]] Float32MatmulMode {
 public:
  explicit Float32MatmulMode(Float32Matmul mode);
  ~Float32MatmulMode();
  Float32MatmulMode(const Float32MatmulMode&) = delete;
  Float32MatmulMode& operator=(const Float32MatmulMode&) = delete;

 private:
  Float32Matmul previous_;
};

/// Matrix product over the last two dimensions, (…, m, k) × (…, k, n) → (…, m, n); the others
/// broadcast. A vector operand is a row on the left, a column on the right, and its dimension
/// disappears, as in NumPy and PyTorch. Transposed views go to BLAS without a copy. bf16 products
/// accumulate in f32. Throws ShapeError.
Tensor matmul(const Tensor& a, const Tensor& b);

/// x Wᵀ + bias, (…, in) → (…, out), as one tall product; weight (out, in), bias (out) or undefined.
/// Mixed precision: beside bf16 x, weight and bias may be f32. They are rounded for the product;
/// the weight's gradient is not. Throws ShapeError and DTypeError.
Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias = {});

/// gelu(x W₁ᵀ + bias₁) W₂ᵀ + bias₂, (…, in) → (…, out), with the operands of two `linear`; biases
/// may be undefined. One operation, so that a device can do GELU and its gradient along with a
/// product: CUDA does in bf16, of the tanh form.
Tensor feed_forward(const Tensor& x, const Tensor& weight1, const Tensor& bias1,
                    const Tensor& weight2, const Tensor& bias2, Gelu form = Gelu::erf);

}  // namespace scangrad
