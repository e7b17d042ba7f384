#pragma once
#include <scangrad/core/tensor.h>
#include <scangrad/ops/matmul.h>

// Products of floating-point matrices by cuBLASLt. The kernel for a shape is what its heuristic
// chooses, once for each shape, and nothing is timed: the same call gives the same bits in every
// run on one kind of device.
namespace scangrad::cuda {

/// The order of members is frozen.
struct GemmOptions {
  Float32Matmul float32 = {};
  bool accumulate = false;  ///< the product is added to what `out` holds
};

/// `t`, or a dense copy where cuBLAS cannot read it: matrices (batch, rows, columns).
Tensor readable(const Tensor& t);

/// out ← a b: (batch, m, n) contiguous ← (batch, m, k) × (batch, k, n), both readable and of one
/// dtype; `out` has that dtype, or is f32 where it is bf16. bf16 and f32 are summed in f32.
void gemm(const Tensor& out, const Tensor& a, const Tensor& b, const GemmOptions& options = {});

/// The same, `b` being square matrices of order 4, 8 or 16, by a kernel of our own in full
/// precision. Does nothing and returns false for other operands (square_matmul.cu).
bool multiply_by_squares(const Tensor& out, const Tensor& a, const Tensor& b);

/// What is done to a product (batch 1, m, n) before it is rounded and stored.
struct Epilogue {
  enum class Kind : std::uint8_t {
    bias,           ///< out = a b + bias
    gelu,           ///< gelu_input = a b + bias, out = its GELU (tanh): bf16 only
    gelu_backward,  ///< out = a b · GELU'(gelu_input), bias = the sum of its rows: bf16 only
  };
  Kind kind;
  Tensor bias = {};        ///< (n) or undefined; contiguous
  Tensor gelu_input = {};  ///< (m, n), contiguous
};

/// The same with an epilogue. Does nothing and returns false where cuBLAS has no kernel for it.
bool gemm_with_epilogue(const Tensor& out, const Tensor& a, const Tensor& b, Float32Matmul float32,
                        const Epilogue& epilogue);

}  // namespace scangrad::cuda
