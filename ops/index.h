#pragma once
#include <scangrad/core/tensor.h>

#include <cstdint>

// Reading and writing by index tensors (i64 or i32). An index below 0 or past the end is an
// IndexError that names it. Gradients are dense and the sums in them run in a fixed order.
namespace scangrad {

/// Rows of a table: indices of any shape, weight (n, d) → (…indices, d).
Tensor embedding(const Tensor& indices, const Tensor& weight);
/// x's entries `index` (k) along `dim`, which becomes k.
Tensor index_select(const Tensor& x, std::int64_t dim, const Tensor& index);

}  // namespace scangrad
