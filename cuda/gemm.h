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

}  // namespace scangrad::cuda
