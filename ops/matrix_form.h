#pragma once
#include <scangrad/ops/scan.h>

namespace scangrad {

/// How n² elements, as a matrix X (…, n, n) with L and U its strictly lower and upper parts and d
/// its diagonal, make a matrix that is I where they are all 0.
enum class MatrixForm : std::uint8_t {
  identity,  ///< X + I
  ldu,       ///< (L + D)(U + D), D = √exp(d − mean d): det 1
};

/// The matrices that `form` makes of x, (…, n, n). Throws ShapeError unless x is square matrices.
Tensor form_matrices(const Tensor& x, MatrixForm form);

/// matmul_scan(form_matrices(x, form), options) for x (…, T, …, n, n). On CUDA, of f32 and n ≤ 16,
/// one pass over the elements makes the states, and one over elements, states and their gradients
/// makes the elements'; the matrices are never in memory.
ScanResult form_scan(const Tensor& x, MatrixForm form, const ScanOptions& options = {});

}  // namespace scangrad
