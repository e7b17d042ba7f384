#pragma once
#include <scangrad/core/tensor.h>

#include <cstdint>

// Triangles, diagonals, and small linear algebra. Matrices are the last two dimensions unless said
// otherwise; diagonal k holds the entries (i, i + k). Differentiable to any order.
namespace scangrad {

/// x with 0 above diagonal `diagonal`, (…, m, n).
Tensor tril(const Tensor& x, std::int64_t diagonal = 0);
/// x with 0 below it.
Tensor triu(const Tensor& x, std::int64_t diagonal = 0);
/// The entries of diagonal `offset` of dimensions dim1 and dim2, as a last dimension: a view.
Tensor diagonal(const Tensor& x, std::int64_t offset = 0, std::int64_t dim1 = -2,
                std::int64_t dim2 = -1);
/// Matrices with x (…, n) on the diagonal and 0 elsewhere, (…, n, n).
Tensor diag_embed(const Tensor& x);

/// a_i b_j of two vectors: (m), (n) → (m, n).
Tensor outer(const Tensor& a, const Tensor& b);
/// Σ_i a_i b_i of two vectors: (n), (n) → (); i64 for integers.
Tensor dot(const Tensor& a, const Tensor& b);

/// x with a x = b, for (…, n, n) and (…, n, m); leading dimensions broadcast. LU decomposition with
/// partial pivoting, made for many small matrices. f32 and f64. Throws ValueError naming the first
/// matrix of the batch that is singular (has a pivot of exactly 0), ShapeError, DTypeError.
Tensor solve(const Tensor& a, const Tensor& b);
/// a⁻¹, (…, n, n): solve(a, I), errors included.
Tensor inverse(const Tensor& a);

/// det a = sign · exp(logabsdet).
struct SignLogDet {
  Tensor sign;       // −1, 0 or 1; no gradient
  Tensor logabsdet;  // −∞ where a is singular
};
/// The determinants of (…, n, n) as sign and logarithm, (…) each, from the same LU decomposition:
/// neither overflows. The gradient g a⁻ᵀ is 0 where g is 0; elsewhere a singular matrix is the
/// ValueError of `solve`. f32 and f64. Throws ShapeError, DTypeError.
SignLogDet slogdet(const Tensor& a);
/// The determinants of (…, n, n), (…). The gradient, g det(a) a⁻ᵀ, needs a to be invertible: the
/// ValueError of `solve`. f32 and f64. Throws ShapeError, DTypeError.
Tensor det(const Tensor& a);

/// e^a = Σ aᵏ/k! of (…, n, n), by scaling and squaring of a Taylor polynomial (Moler and Van Loan
/// 2003, method 3; backward error below the rounding of the dtype), made for many small matrices.
/// Gradient: the upper right block of exp [[aᵀ, g], [0, aᵀ]] (Mathias 1996). f32 and f64. Throws
/// ShapeError, DTypeError.
Tensor matrix_exp(const Tensor& a);

}  // namespace scangrad
