#pragma once
#include <scangrad/cuda/matrix_shares.h>
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
    if (Block::marked && threadIdx.x % 32 == 0) {
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

/// The address of the barrier that says when a total has arrived in a place.
template <int places>
__device__ unsigned arrival_barrier(int place) {
  __shared__ std::uint64_t barriers[places];
  return static_cast<unsigned>(__cvta_generic_to_shared(barriers + place));
}
template <class Tile>
__device__ void initialise_followers_barriers() {
  init(&followers_barrier(), 32 * Tile::followers);
#if __CUDA_ARCH__ >= 900
  for (int i = 0; i < Tile::workers; ++i) initialise_barrier(arrival_barrier<Tile::workers>(i));
#endif
}

/// The totals of segments on their way to a follower, which has half of the places of the second
/// tile's chunks for them, in turn. By the copy engine, since a multiprocessor's loads come back in
/// line, and those of the first tiles are on the way.
template <class Block>
struct TotalsOnTheWay {
  using Tile = typename Block::Tile;
  static constexpr int size = Tile::totals * Tile::elements;
  const Block& block;
  const Visit& visit;  // whose places they have
  int place, room;     // the first one, and how many
  int first, count;    // of the segments

  __device__ int place_of_total(int i) const { return place + i % room; }
  __device__ const int* marks_of(int i) const {  // where later the states arrive
    return reinterpret_cast<const int*>(reinterpret_cast<const char*>(block.summaries) +
                                        Tile::summary_bytes) +
           (first + i) * marks_of_total;
  }
  __device__ void begin() const {
    for (int i = 0; i < ::min(room, count); ++i) begin(i);
  }
  __device__ void begin(int i) const {
#if __CUDA_ARCH__ >= 900
    if (i >= count || threadIdx.x % 32 != 0) return;
    const unsigned arrival = arrival_barrier<Tile::workers>(place_of_total(i));
    const std::int64_t index = total_index(block, visit, first + i);
    const bool with_marks = Block::marked && i == 0;
    constexpr int bytes = size * static_cast<int>(sizeof(double)),
                  marks_bytes = marks_of_total * static_cast<int>(sizeof(int));
    leave_to_copies();
    expect_bytes(arrival, bytes + (with_marks ? count * marks_bytes : 0));
    copy_in_bulk(block.address_of(visit, place_of_total(i), 0), total_memory(block, index), bytes,
                 arrival);
    if (with_marks) {
      copy_in_bulk(block.handover.places + first * marks_bytes,
                   block.scan.marks + index * marks_of_total, count * marks_bytes, arrival);
    }
#endif
  }
  /// f(total, i) for each in turn.
  template <class F>
  __device__ void for_each(F f) const {
    for_each_total<Block, Tile::affine>(
        count,
        [&](Total<Block, Tile::affine>& total, int i) {
#if __CUDA_ARCH__ >= 900
          await_bytes(arrival_barrier<Tile::workers>(place_of_total(i)), i / room);
#endif
          if constexpr (Block::marked) total.set_marks(marks_of(i)[0] != 0, marks_of(i)[1]);
          total.load(block.shared(visit, place_of_total(i), 0),
                     block.shared(visit, place_of_total(i), Tile::affine), 0);
        },
        [&](const auto& total, int i) {
          f(total, i);
          __syncwarp();
          begin(i + room);
        });
  }
};

/// The first block gives itself the state that enters its first tile: what the segments before it
/// make of a sequence's. The second follower finds what the later half of them makes of any.
template <class Block>
__device__ void begin_run(const Block& block, Visit visit) {
  using Tile = typename Block::Tile;
  constexpr int most = (Tile::workers + 1) / 2;
  static_assert(most_segments * marks_of_total * sizeof(int) <= 2 * Tile::pieces * 512);
  const bool leads = block.warp == 0;
  Carried<Block> state;
  if (leads) state = start_of_sequence(block, visit, 0);
  if (visit.segment > 0) {
    wait_for_kernel_before();
    Visit after = visit;
    ++after.number;
    const int half = (visit.segment + 1) / 2;
    const TotalsOnTheWay<Block> totals{block,
                                       after,
                                       leads ? 0 : most,
                                       leads ? most : Tile::workers - most,
                                       leads ? 0 : half,
                                       leads ? half : visit.segment - half};
    totals.begin();
    if (leads) {
      totals.for_each([&](const auto& total, int) {
        state.template step_over<Tile::affine>(total, 0, [](auto&) {});
      });
    } else if (totals.count > 0) {
      Gathered<Block> gathered;
      totals.for_each([&](const auto& total, int i) {
        if (i == 0) return gathered.begin(block, after, most, total);
        gathered.step_over(total);
      });
      gathered.store(block, after, most);
    }
    meet_followers();
    if (leads && visit.segment > half) {
      Total<Block, Tile::affine> later;
      load_chunk(block, after, most, 0, later);
      state.template step_over<Tile::affine>(later, 0, [](auto&) {});
    }
  }
  if (leads) give_state(state, place_in(block, 0, visit.number));
}

/// Leaves the states that enter the chunks of a tile.
template <class Block>
__device__ void follow_in_ring(const Block& block, const Visit& visit) {
  using Tile = typename Block::Tile;
  constexpr bool affine = Tile::affine;
  using ChunkTotal = Total<Block, affine>;
  constexpr int most = (Tile::workers + 1) / 2;
  const bool leads = block.warp == 0;
  const int chunks = block.chunks(visit);
  const int first = leads ? 0 : ::min(most, chunks), end = leads ? ::min(most, chunks) : chunks;

  if (leads) expect_state(block, visit);
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
  const bool gives = block.member + 1 < block.scan.team || visit.wave + 1 < block.waves(visit);
  Carried<Block> state;
  take_state(block, visit, state);
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
  if (begins(block, visit)) begin_run(block, visit);
  meet();
  while (block.exists(visit)) {
    follow_in_ring(block, visit);
    visit = block.next(visit);
    if (block.warp == 0 && block.exists(visit) && begins(block, visit)) {
      give_state(start_of_sequence(block, visit, 0), place_in(block, 0, visit.number));
    }
    meet();
  }
}

}  // namespace scangrad::cuda
