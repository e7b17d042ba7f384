#pragma once
#include <scangrad/core/tensor.h>
#include <scangrad/ops/reduce.h>

#include <cstdint>

// Reading and writing by index tensors (i64 or i32). An index below 0 or past the end is an
// IndexError that names it. Gradients are dense and the sums in them run in a fixed order.
namespace scangrad {

/// Rows of a table: indices of any shape, weight (n, d) → (…indices, d).
Tensor embedding(const Tensor& indices, const Tensor& weight);
/// x's entries `index` (k) along `dim`, which becomes k.
Tensor index_select(const Tensor& x, std::int64_t dim, const Tensor& index);
/// y[…i…] = x[…index[…i…]…]: `index`, whose shape y gets, counts along `dim`; along the others it
/// is at most as large as x.
Tensor gather(const Tensor& x, std::int64_t dim, const Tensor& index);
/// x with src[…i…] added at […index[…i…]…]; `index` is at most as large as `src` everywhere, and as
/// x along all dimensions but `dim`.
Tensor scatter_add(const Tensor& x, std::int64_t dim, const Tensor& index, const Tensor& src);
/// Indices 0 … classes − 1 as rows of the identity, i64: (…) → (…, classes).
Tensor one_hot(const Tensor& indices, std::int64_t classes);

/// x sorted along `dim`, and where each value was. Stable; NaN counts as the largest.
ValuesIndices sort(const Tensor& x, std::int64_t dim = -1, bool descending = false);
/// The k largest (or smallest) along `dim`, best first; of equal ones the first.
ValuesIndices topk(const Tensor& x, std::int64_t k, std::int64_t dim = -1, bool largest = true);

}  // namespace scangrad
