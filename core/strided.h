#pragma once
#include <scangrad/core/parallel.h>
#include <scangrad/core/tensor.h>

#include <algorithm>
#include <cstdint>

namespace scangrad {

/// How to walk N tensors of one shape together: dimensions that are adjacent in memory for all of
/// them are merged, so that contiguous operands become a single row. Strides are in elements.
template <int N>
struct StridedLoop {
  std::int64_t numel = 1;
  int rank = 1;
  std::int64_t sizes[max_rank] = {1};
  std::int64_t strides[N][max_rank] = {};

  std::int64_t row() const { return sizes[rank - 1]; }
  /// Step of operand k along a row.
  std::int64_t step(int k) const { return strides[k][rank - 1]; }
};

/// The loop over tensors that all have the first one's shape (expanded where they broadcast).
/// `static`, here and below: CPU kernels are compiled once per instruction set and must not share.
template <class... Operands>
static inline StridedLoop<1 + sizeof...(Operands)> strided_loop(const Tensor& first,
                                                                const Operands&... others) {
  constexpr int count = 1 + sizeof...(Operands);
  const Tensor* operands[count] = {&first, &others...};
  StridedLoop<count> loop;
  loop.numel = first.numel();
  int used = 0;
  for (int dim = 0; dim < first.rank(); ++dim) {
    const std::int64_t size = first.shape()[dim];
    if (size == 1) continue;
    bool merges = used > 0;
    for (int k = 0; k < count; ++k) {
      merges = merges && loop.strides[k][used - 1] == operands[k]->strides()[dim] * size;
    }
    if (!merges) ++used;
    loop.sizes[used - 1] = merges ? loop.sizes[used - 1] * size : size;
    for (int k = 0; k < count; ++k) loop.strides[k][used - 1] = operands[k]->strides()[dim];
  }
  loop.rank = std::max(used, 1);
  return loop;
}

/// Calls `row(n, offsets)` for the pieces of rows that make up the elements [begin, end) in
/// row-major order; `offsets[k]` is where operand k's piece starts.
template <int N, class Row>
static inline void for_each_row(const StridedLoop<N>& loop, std::int64_t begin, std::int64_t end,
                                Row&& row) {
  if (begin >= end) return;
  std::int64_t index[max_rank], offsets[N] = {};
  std::int64_t rest = begin;
  for (int dim = loop.rank - 1; dim >= 0; --dim) {
    index[dim] = rest % loop.sizes[dim];
    rest /= loop.sizes[dim];
    for (int k = 0; k < N; ++k) offsets[k] += index[dim] * loop.strides[k][dim];
  }
  const int last = loop.rank - 1;
  while (true) {
    const std::int64_t n = std::min(loop.sizes[last] - index[last], end - begin);
    row(n, static_cast<const std::int64_t*>(offsets));
    begin += n;
    if (begin >= end) return;
    for (int k = 0; k < N; ++k) offsets[k] -= index[last] * loop.strides[k][last];
    index[last] = 0;
    for (int dim = last - 1; dim >= 0; --dim) {
      for (int k = 0; k < N; ++k) offsets[k] += loop.strides[k][dim];
      if (++index[dim] < loop.sizes[dim]) break;
      for (int k = 0; k < N; ++k) offsets[k] -= loop.sizes[dim] * loop.strides[k][dim];
      index[dim] = 0;
    }
  }
}

/// `for_each_row` over the whole loop on all threads.
template <int N, class Row>
static inline void parallel_rows(const StridedLoop<N>& loop, Row&& row) {
  constexpr std::int64_t grain = 16384;  // elements: some ten microseconds of work
  parallel_for(loop.numel, grain,
               [&](std::int64_t begin, std::int64_t end) { for_each_row(loop, begin, end, row); });
}

}  // namespace scangrad
