#pragma once
#include <scangrad/cuda/matrix_carry.cuh>

#include <cuda/barrier>

// The two followers of a block in a ring. A state would wait for each block's follower to take it
// through a whole tile; so they find what the tile makes of any state before that one is there,
// half of the chunks each, and it goes on to the next block after one product.
namespace scangrad::cuda {

/// What successive chunks make of a state together.
template <class Block>
struct Gathered {
  static constexpr bool affine = Block::Tile::affine;
  Growing<Block, false> p = {};
  Growing<Block, true> r = {};

  __device__ void begin(const Block& block, const Visit& visit, int w,
                        const Total<Block, affine>& chunk) {
    p.begin(block, visit, w, chunk, 0);
    if constexpr (affine) r.rows.x = chunk.r;
  }
  __device__ void step_over(const Total<Block, affine>& chunk) {
    p.step_over(chunk, 0);
    if constexpr (affine) r.step_over(chunk, 0);
  }
  /// In the place of what a chunk makes alone.
  __device__ void store(const Block& block, const Visit& visit, int w) {
    __syncwarp();  // which has been read
    store_fragment(block.shared(visit, w, 0), p.rows.x);
    if constexpr (affine) store_fragment(block.shared(visit, w, 1), r.rows.x);
    if ((!Block::is_plain || Block::Tile::scaled) && threadIdx.x % 32 == 0) {
      block.crosses(visit, w) = p.starts;
      block.exponent(visit, w) = p.rows.exponent;
    }
  }
};

/// Where the two meet. A numbered barrier takes as long, but compute-sanitizer's racecheck loses
/// count of the block's own where there is one.
__device__ inline auto& followers_barrier() {
  using Barrier = ::cuda::barrier<::cuda::thread_scope_block>;
  __shared__ alignas(Barrier) unsigned char memory[sizeof(Barrier)];
  return reinterpret_cast<Barrier&>(memory);
}
__device__ inline void meet_followers() { followers_barrier().arrive_and_wait(); }

/// The state that enters the first block's first tile. What the segments before it make of a state
/// comes into the places of the second tile's chunks, since a multiprocessor's loads come back in
/// line, and those of the first tiles are on the way.
template <class Block>
__device__ Carried<Block> start_of_run(const Block& block, Visit visit) {
  using Tile = typename Block::Tile;
  constexpr int size = Tile::totals * Tile::elements;
  ++visit.number;
  const int lane = static_cast<int>(threadIdx.x % 32);
  const auto begin_copies = [&](int first) {
    const int count = ::min(visit.segment - first, Tile::workers);
    const std::int64_t index = total_index(block, visit, first);
    for (int i = 2 * (32 * block.warp + lane); i < count * size; i += 128) {
      copy_asynchronously<16>(block.product(visit, 0) + i, total_memory(block, index) + i);
    }
    if (block.warp == 0 && lane < count) {
      block.crosses(visit, lane) = block.scan.marks[2 * (index + lane)];
      block.exponent(visit, lane) = block.scan.marks[2 * (index + lane) + 1];
    }
    close_copies();
  };
  begin_copies(0);
  auto state = start_of_sequence(block, visit, 0);
  for (int first = 0; first < visit.segment; first += Tile::workers) {
    await_copies<0>();
    meet_followers();
    for_each_total<Block, Tile::affine>(
        ::min(visit.segment - first, Tile::workers),
        [&](Total<Block, Tile::affine>& total, int i) { load_chunk(block, visit, i, 0, total); },
        [&](const auto& total, int) {
          state.template step_over<Tile::affine>(total, 0, [](auto&) {});
        });
    meet_followers();
    if (first + Tile::workers < visit.segment) begin_copies(first + Tile::workers);
  }
  return state;
}

/// Leaves the states that enter the chunks of a tile.
template <class Block>
__device__ void follow_in_ring(const Block& block, const Visit& visit, Carried<Block>& state) {
  using Tile = typename Block::Tile;
  constexpr bool affine = Tile::affine;
  using ChunkTotal = Total<Block, affine>;
  constexpr int most = (Tile::workers + 1) / 2;
  const bool leads = block.warp == 0;
  const int chunks = block.chunks(visit);
  const int first = leads ? 0 : ::min(most, chunks), end = leads ? ::min(most, chunks) : chunks;

  // The first block gets a state in each wave but the first, of use or not.
  const bool gets = block.member > 0 || visit.number > 0;
  if (leads && gets) expect_state(block, visit);
  const auto load = [&](ChunkTotal& its, int i) { load_chunk(block, visit, i, 0, its); };
  // What chunks of the half make up to each, in the places of what each makes alone.
  Gathered<Block> gathered;
  for_each_total<Block, affine>(
      end - first, [&](ChunkTotal& total, int i) { load(total, first + i); },
      [&](const ChunkTotal& chunk, int i) {
        if (i == 0) return gathered.begin(block, visit, first, chunk);
        gathered.step_over(chunk);
        gathered.store(block, visit, first + i);
      });
  meet_followers();
  // What each multiplies the state by first: the second follower, by what the first half makes of
  // it; the first one, by what the tile makes, which it finds, and leaves where the second half's
  // was, since as a right operand it has to come from there.
  ChunkTotal total;
  const bool halves = chunks > most;
  if (!leads) {
    if (halves) load(total, first - 1);
  } else if (halves) {
    load(total, chunks - 1);
    gathered.step_over(total);
    gathered.store(block, visit, chunks - 1);
    __syncwarp();
    load(total, chunks - 1);
  } else if (chunks > 0) {
    load(total, end - 1);
  }
  const int others = end - first - 1;
  const auto load_other = [&](ChunkTotal& its, int i) { load(its, end - 2 - i); };
  // From here to give_state is what the whole ring waits for: nothing there that can be before it.
  const auto next = place_in_next(block, visit);
  const bool gives = block.member + 1 < block.scan.team || block.exists(block.next(visit));
  if (!begins(block, visit)) {
    take_state(block, visit, state);
  } else if (gets) {
    Carried<Block> of_no_use;
    take_state(block, visit, of_no_use);
  }
  if (leads) {
    if (chunks > 0) {
      Carried<Block> after = state;
      after.template step_over<affine>(total, 0, [](auto&) {});
      if (gives) give_state(after, next);
    } else if (gives) {
      give_state(state, next);
    }
  }
  // The next block waits for the first one alone; and each has read what lies where the other now
  // leaves states.
  meet_followers();
  if (!leads && halves) state.template step_over<affine>(total, 0, [](auto&) {});
  // From the half's last chunk on, whose place holds what no other needs.
  for_each_total<Block, affine>(others, load_other, [&](const ChunkTotal& its, int i) {
    Carried<Block> entering = state;
    entering.template step_over<affine>(its, 0, [](auto&) {});
    leave_entering(block, visit, end - 1 - i, 0, entering);
  });
  if (first < end) leave_entering(block, visit, first, 0, state);
}
template <class Block>
__device__ void follow_in_ring(const Block& block) {
  Visit visit = block.first_visit();
  Carried<Block> state = {};
  if (begins(block, visit)) state = start_of_run(block, visit);
  meet();
  while (block.exists(visit)) {
    follow_in_ring(block, visit, state);
    visit = block.next(visit);
    if (block.exists(visit) && begins(block, visit)) state = start_of_sequence(block, visit, 0);
    meet();
  }
}

}  // namespace scangrad::cuda
