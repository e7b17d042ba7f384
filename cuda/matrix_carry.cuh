#pragma once
#include <scangrad/cuda/matrix_segments.cuh>

// What state enters each chunk: from segment to segment, from block to block of a team, and from
// chunk to chunk.
namespace scangrad::cuda {

/// Whether a tile is the first one of a run, or of what a run has of a sequence.
template <class Block>
__device__ bool begins(const Block& block, const Visit& visit) {
  return visit.wave == 0 && block.member == 0;
}

/// The state that enters a sequence.
template <class Block>
__device__ Carried<Block> start_of_sequence(const Block& block, const Visit& visit, int first_row) {
  using T = typename Block::T;
  using Tile = typename Block::Tile;
  const auto& scan = block.scan;
  const std::int64_t size = block.size_of_state();
  const int n = block.order();
  Carried<Block> state = {};
  if constexpr (Tile::backward) {  // the cotangent of the last state
    const T* const last = scan.g_last + visit.sequence * size;
    const T* const also =
        block.exclusive() ? nullptr
                          : scan.b + scan.layout.at(visit.sequence, scan.layout.count - 1) * size;
    block.fill(state.x, first_row, [=](int row, int column) {
      const double g = static_cast<double>(compute_type<T>(last[row * n + column]));
      return also == nullptr ? g : g + static_cast<double>(compute_type<T>(also[row * n + column]));
    });
  } else if (scan.initial != nullptr) {
    const T* const first = scan.initial + visit.sequence * size;
    block.fill(state.x, first_row, [=](int row, int column) {
      return static_cast<double>(compute_type<T>(first[row * n + column]));
    });
  } else {
    block.fill_identity(state.x, first_row);
  }
  if constexpr (Tile::scaled) {
    if (scan.initial_exponent != nullptr) state.exponent = scan.initial_exponent[visit.sequence];
    state.settle();
  }
  return state;
}
/// The state that enters a segment: what the segments before make of the sequence's.
template <class Block>
__device__ Carried<Block> start_of(const Block& block, const Visit& visit, int first_row) {
  using Tile = typename Block::Tile;
  const auto& scan = block.scan;
  auto state = start_of_sequence(block, visit, first_row);
  for_each_total<Block, Tile::affine>(
      visit.segment,
      [&](Total<Block, Tile::affine>& total, int segment) {
        const std::int64_t index = total_index(block, visit, segment);
        const double* const p = total_memory(block, index);
        const int* const marks = scan.marks + index * marks_of_total;
        total.set_marks(marks[0] != 0, marks[1]);
        total.load(block.whole(p), block.whole(p + Tile::elements), first_row);
        if constexpr (Tile::scaled && Tile::tiles == 2) total.align(marks + 1);
      },
      [&](const auto& total, int) {
        state.template step_over<Tile::affine>(total, first_row, [](auto&) {});
      });
  return state;
}

// ---- from chunk to chunk

// From the block before to this one, and from this one to the next: what enters a wave's tile. The
// first block of a team gets from the last one what leaves the wave before.

/// Which number the state has that enters, for the block: of a pair, the first one gets none before
/// its first tile, and the first one of a ring that from itself.
template <class Block>
__device__ unsigned number_of_entering(const Block& block, const Visit& visit) {
  return visit.number - (!Block::Tile::ring && block.member == 0);
}
template <class Block>
__device__ void take_state(const Block& block, const Visit& visit, Carried<Block>& state) {
#if __CUDA_ARCH__ >= 900
  using Tile = typename Block::Tile;
  double pieces[Tile::pieces][2];
  block.handover.take(pieces, number_of_entering(block, visit));
  state = {};
#pragma unroll
  for (int i = 0; i < Tile::pieces - Tile::scaled; ++i) {
    for (int u = 0; u < 2; ++u) state.x.values[i / Block::NT][i % Block::NT][u] = pieces[i][u];
  }
  if constexpr (Tile::scaled) state.exponent = static_cast<int>(pieces[Tile::pieces - 1][0]);
#endif
}
/// Where a state is given that is to enter the tile of a block of the team.
template <class Block>
__device__ Handover::Place place_in(const Block& block, int member, unsigned number) {
#if __CUDA_ARCH__ >= 900
  return block.handover.template place_in<Block::Tile::pieces>(member, number);
#else
  return {};
#endif
}
/// What leaves the block's tile enters the next block's, or the first one's of the next wave.
template <class Block>
__device__ Handover::Place place_in_next(const Block& block, const Visit& visit) {
  if (block.member + 1 < block.scan.team) return place_in(block, block.member + 1, visit.number);
  return place_in(block, 0, visit.number + Block::Tile::ring);
}
template <class Block>
__device__ void give_state(const Carried<Block>& state, Handover::Place to) {
#if __CUDA_ARCH__ >= 900
  using Tile = typename Block::Tile;
  double pieces[Tile::pieces][2];
#pragma unroll
  for (int i = 0; i < Tile::pieces - Tile::scaled; ++i) {
    for (int u = 0; u < 2; ++u) pieces[i][u] = state.x.values[i / Block::NT][i % Block::NT][u];
  }
  if constexpr (Tile::scaled) {
    for (double& value : pieces[Tile::pieces - 1]) value = state.exponent;
  }
  Handover::give(pieces, to);
#endif
}
template <class Block>
__device__ void expect_state(const Block& block, const Visit& visit) {
#if __CUDA_ARCH__ >= 900
  block.handover.template expect<Block::Tile::pieces>(number_of_entering(block, visit));
#endif
}

/// Leaves the state that enters a chunk for its worker.
template <class Block>
__device__ void leave_entering(const Block& block, const Visit& visit, int w, int first_row,
                               Carried<Block>& state) {
  using Tile = typename Block::Tile;
  __syncwarp();  // what it may take the place of has been read
  if constexpr (Tile::by_steps) {
    store_fragment(block.shared_operand(visit, w, 1), state.x, first_row);
  } else {
    store_fragment(block.shared(visit, w, Tile::summaries - 1), state.x, first_row);
  }
  if (Tile::scaled && threadIdx.x % 32 == 0) {
    block.entering_exponents(visit, w)[first_row / 16] = state.exponent;
  }
}

/// Leaves the states that enter the chunks of a wave, 16 rows a follower, and in `state` what
/// leaves the last one.
template <class Block>
__device__ void follow(const Block& block, const Visit& visit, Carried<Block>& state) {
  using Tile = typename Block::Tile;
  if (block.warp >= Tile::tiles) return;
  const int first_row = block.warp * 16;
  if (begins(block, visit)) {
    state = start_of(block, visit, first_row);
  } else if (block.scan.team > 1) {
    expect_state(block, visit);
    take_state(block, visit, state);
  }
  // Elements of float64 may be so small themselves that a state must not be far from 1 beside them.
  const bool looks_at_all =
      sizeof(typename Block::T) == 8 || 2 * block.scan.chunk > Tile::steps_between_looks;
  for_each_chunk<Block, Tile::affine>(block, visit, first_row, [&](const auto& chunk, int w) {
    const auto leave = [&](Carried<Block>& entering) {
      leave_entering(block, visit, w, first_row, entering);
    };
    const bool settles = looks_at_all || w % 2 == 1 || w + 1 == Tile::workers;
    state.template step_over<Tile::affine>(chunk, first_row, leave, settles);
  });
  if (block.scan.team > 1 &&
      (block.member + 1 < block.scan.team || visit.wave + 1 < block.waves(visit))) {
    give_state(state, place_in_next(block, visit));
  }
  if constexpr (Tile::by_steps) {
    const auto& scan = block.scan;
    const std::int64_t end = block.first_step(visit, 0) + block.steps(visit);
    if (scan.d_initial == nullptr || end != scan.layout.count) return;
    store_rows(scan.d_initial + visit.sequence * block.size_of_state(), state.x, block.rows(),
               block.order(), block.packs());
  }
}
template <class Block>
__device__ void follow(const Block& block) {
  Carried<Block> state = {};
  for (Visit visit = block.first_visit(); block.exists(visit); visit = block.next(visit)) {
    follow(block, visit, state);
    meet();
  }
}

}  // namespace scangrad::cuda
