#pragma once
#include <scangrad/cuda/matrix_totals.cuh>

// What segments, which sequences are cut into, make of a state.
namespace scangrad::cuda {

/// 16 rows of what successive totals make of a state together: of their P, or of their R.
template <class Block, bool of_sum>
struct Growing {
  Carried<Block> rows;
  bool starts;

  /// With chunk w.
  template <bool sums>
  __device__ void begin(const Block& block, const Visit& visit, int w,
                        const Total<Block, sums>& chunk, int first_row) {
    starts = chunk.crosses;
    rows = {load_fragment<false, 1, Block::NT>(block.shared(visit, w, of_sum), first_row),
            of_sum ? 0 : chunk.exponent};
  }
  template <bool sums>
  __device__ void step_over(const Total<Block, sums>& total, int first_row) {
    starts = starts || total.crosses;
    rows.template step_over<of_sum>(total, first_row, [](auto&) {});
  }
  /// Of rows that are all 0 there is none.
  __device__ int exponent() const {
    constexpr bool each_has_its_own = Block::Tile::scaled && Block::Tile::tiles == 2;
    return each_has_its_own && exponent_field<double>(rows.x) == 0 ? no_exponent : rows.exponent;
  }
};

/// So many that they are 16 bytes: whether R alone counts, and exponents of P's rows.
inline constexpr int marks_of_total = 4;
template <class Block>
__device__ std::int64_t total_index(const Block& block, const Visit& visit, std::int64_t segment) {
  return std::int64_t{visit.sequence - block.scan.first} * block.scan.segments + segment;
}
template <class Block>
__device__ double* total_memory(const Block& block, std::int64_t index) {
  return block.scan.totals + index * Block::Tile::totals * Block::Tile::elements;
}

/// Rows 16 tile … of P, or of R, of the block's segment, of what its workers have made of theirs.
template <class Block, bool of_sum>
__device__ void write_total(const Block& block, int tile) {
  using Tile = typename Block::Tile;
  const Visit visit = block.first_visit();
  const int first_row = 16 * tile;
  Growing<Block, of_sum> total;
  for_each_chunk<Block, of_sum>(block, visit, first_row, [&](const auto& chunk, int w) {
    if (w == 0) return total.begin(block, visit, w, chunk, first_row);
    total.step_over(chunk, first_row);
  });
  total.rows.settle();
  const std::int64_t index = total_index(block, visit, visit.segment);
  double* const to = total_memory(block, index) + (of_sum ? Tile::elements : 0);
  store_fragment(block.whole(to), total.rows.x, first_row);
  if constexpr (!of_sum) {
    int* const marks = block.scan.marks + index * marks_of_total;
    const int exponent = total.exponent();
    if (threadIdx.x % 32 == 0) {
      if (tile == 0) marks[0] = total.starts;
      marks[1 + tile] = exponent;
      if constexpr (Tile::tiles == 1) marks[2] = marks[3] = 0;  // which bulk copies read
    }
  }
}
/// A segment's total, by a block whose warps have successive steps of it each, and multiply them
/// out as they come.
template <class Block>
__device__ void make_total(const Block& block) {
  using Tile = typename Block::Tile;
  Turns turns(block);
  while (block.exists(turns.now.visit)) {
    await_copies<Tile::buffers - 1>();
    __syncwarp();
    const auto& [visit, chunk] = turns.now;
    if (chunk.steps > 0) {
      block.prepare(visit, chunk);
      reduce(block, visit, chunk, visit.wave > 0);
    }
    __syncwarp();
    turns.advance();
  }
  meet();
  for (int part = block.warp; part < Tile::tiles * Tile::totals; part += Tile::workers) {
    if (part < Tile::tiles) {
      write_total<Block, false>(block, part);
    } else if constexpr (Tile::affine) {
      write_total<Block, true>(block, part - Tile::tiles);
    }
  }
}

}  // namespace scangrad::cuda
