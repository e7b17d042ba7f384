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

}  // namespace scangrad
