#pragma once
#include <scangrad/cuda/launch.cuh>

// Reductions down the columns of a matrix: a block takes neighbouring columns and a range of rows.
namespace scangrad::cuda {

inline constexpr int column_lanes = 16;                         // V columns each
inline constexpr int row_lanes = block_threads / column_lanes;  // each takes every 16th row
/// Blocks that together have enough loads in flight, and the fewest rows that are worth a block.
inline constexpr std::int64_t column_blocks = 512, fewest_rows = 64;

/// Rows of which each block takes one part, so that none is idle nor a running sum loses digits.
inline std::int64_t rows_of_a_block(std::int64_t rows, std::int64_t columns, std::int64_t width) {
  const std::int64_t tiles = (columns + column_lanes * width - 1) / (column_lanes * width);
  const std::int64_t wanted = std::min(column_blocks / tiles, rows / fewest_rows);
  const std::int64_t parts = std::max<std::int64_t>({wanted, rows / 4096, 1});
  return (rows + parts - 1) / parts;
}

/// N totals of each column over the rows [first, last). A thread whose columns are `inside` calls
/// load(row) for what it needs of its V columns and add(totals, loaded) with A totals[N][V]; then
/// write(column, totals) with A totals[N] is called once for each of the block's columns.
template <int V, int N, class A, class Load, class Add, class Combine, class Write>
__device__ void reduce_columns(std::int64_t first, std::int64_t last, bool inside, A identity,
                               const Load& load, const Add& add, const Combine& combine,
                               const Write& write) {
  constexpr int batch = 4;  // loads in flight
  __shared__ A parts[N][row_lanes][column_lanes * V];
  const int lane = threadIdx.x % column_lanes, row_lane = threadIdx.x / column_lanes;
  A totals[N][V];
  for (int k = 0; k < N; ++k) {
    for (int v = 0; v < V; ++v) totals[k][v] = identity;
  }
  for (std::int64_t i = first + row_lane; inside && i < last; i += batch * row_lanes) {
    decltype(load(i)) rows[batch];
#pragma unroll
    for (int b = 0; b < batch; ++b) {
      if (i + b * row_lanes < last) rows[b] = load(i + b * row_lanes);
    }
#pragma unroll
    for (int b = 0; b < batch; ++b) {
      if (i + b * row_lanes < last) add(totals, rows[b]);
    }
  }
  __syncthreads();  // what an earlier reduction left has been read
  for (int k = 0; k < N; ++k) {
    for (int v = 0; v < V; ++v) parts[k][row_lane][lane * V + v] = totals[k][v];
  }
  __syncthreads();
  const int column = threadIdx.x;
  if (column >= column_lanes * V) return;
  A results[N];
  for (int k = 0; k < N; ++k) {
    results[k] = parts[k][0][column];
    for (int i = 1; i < row_lanes; ++i) results[k] = combine(results[k], parts[k][i][column]);
  }
  write(column, results);
}

}  // namespace scangrad::cuda
