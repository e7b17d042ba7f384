#pragma once
#include <scangrad/cuda/matrix_block.cuh>
#include <scangrad/cuda/matrix_exponent.cuh>

// What chunks make of a state, x ↦ x P + R, and what state enters each: from chunk to chunk of a
// block and, where a group has several, from block to block.
namespace scangrad::cuda {

/// A chunk multiplied out to P and R in shared memory. Where a segment starts in it, R alone is
/// what leaves it; or P, of the steps from there on, where there is no R.
template <class Block>
__device__ void reduce(const Block& block, const Visit& visit, const Chunk& c) {
  using Tile = typename Block::Tile;
  using Form = typename Block::Form;
  constexpr int NT = Block::NT;
  constexpr bool transposed = Block::transposed;
  if (c.steps == 0) return;
  bool starts = false;
  int exponent = 0;
  const auto element = [&](int step) { return block.operand(visit, step, 0); };
  if constexpr (Tile::affine && NT <= 2) {
    // P above R in one fragment: the step's element is read once for both.
    constexpr int groups = row_groups<NT>;
    Fragment<NT, NT> x = {};
    for (int step = 0; step < c.steps; ++step) {
      const bool is_cut = block.cut(c, step);
      starts = starts || is_cut;
      Fragment<NT, NT> y = {};
      if (step == 0) {
        Form::template begin<transposed>(y, element(step));
        block.apply_scale(y, c, step);
      }
      load_into<false, groups, groups>(y, block.operand(visit, step, 1));
      if (step > 0 && !is_cut) {
        block.apply_scale(x, c, step);
        Form::template add_product<transposed>(y, x, element(step));
      }
      x = y;
    }
    store_from<0, groups>(block.product(visit, block.warp), x);
    store_from<groups, groups>(block.sum(visit, block.warp), x);
  } else {
    typename Block::State x = {};
    for (int step = 0; step < c.steps; ++step) {
      const bool is_cut = block.cut(c, step);
      starts = starts || is_cut;
      if (Tile::affine && starts) break;  // P does not count
      typename Block::State y = {};
      if (step == 0 || is_cut) {
        Form::template begin<transposed>(y, element(step));
        block.apply_scale(y, c, step);
        exponent = 0;
      } else {
        block.apply_scale(x, c, step);
        Form::template add_product<transposed>(y, x, element(step));
      }
      x = y;
      if constexpr (Tile::scaled) exponent += take_exponent(x, step + 1 < c.steps ? 256 : 0);
    }
    store_fragment(block.product(visit, block.warp), x);
    if constexpr (Tile::affine) {
      for (int step = 0; step < c.steps; ++step) {
        auto y = load_fragment<false, row_tiles<NT>, NT>(block.operand(visit, step, 1));
        if (step > 0 && !block.cut(c, step)) {
          block.apply_scale(x, c, step);
          Form::template add_product<transposed>(y, x, element(step));
        }
        x = y;
      }
      store_fragment(block.sum(visit, block.warp), x);
    }
  }
  if (threadIdx.x % 32 == 0) {
    block.crosses(visit, block.warp) = starts;
    block.exponent(visit, block.warp) = exponent;
  }
}

/// What a chunk, or a tile, makes of a state, in registers: loaded before it is needed.
template <class Block, bool sums, class Matrix>
struct Total {
  static constexpr int NT = Block::NT;
  double p[tile_pairs<NT>][in_pair<NT>][NT][2];
  typename Block::Rows r;  // where sums
  bool crosses;            // a segment starts in it
  int exponent;            // of P
  Matrix source;

  __device__ Total(Matrix product, Matrix sum, bool crosses_, int exponent_, int first_row)
      : crosses(crosses_), exponent(exponent_), source(product) {
#pragma unroll
    for (int pair = 0; pair < tile_pairs<NT>; ++pair) load_right<false, NT>(p[pair], product, pair);
    if constexpr (sums) r = load_fragment<false, 1, NT>(sum, first_row);
  }
};

/// 16 rows of a state, x · 2^exponent.
template <class Block>
struct Carried {
  typename Block::Rows x;
  int exponent;

  /// x ← x P + R.
  template <bool sums, class Matrix>
  __device__ void step_over(const Total<Block, sums, Matrix>& total, int first_row) {
    if (total.crosses) {
      if constexpr (sums) {
        x = total.r;
      } else {
        x = load_fragment<false, 1, Block::NT>(total.source, first_row);
      }
      exponent = total.exponent;
    } else {
      typename Block::Rows y = {};
      if constexpr (sums) y = total.r;
#pragma unroll
      for (int pair = 0; pair < tile_pairs<Block::NT>; ++pair) {
        add_pair(y, x, total.p[pair], pair);
      }
      x = y;
      exponent += total.exponent;
    }
    if constexpr (Block::Tile::scaled) exponent += take_exponent(x, 256);
  }
};

/// f(total(i), i) for i < count in turn, the next total on its way meanwhile, where there are
/// registers for two.
template <class Block, class Load, class F>
__device__ void for_each_total(int count, Load load, F f) {
  if (count == 0) return;
  if constexpr (Block::NT == 4) {
    for (int i = 0; i < count; ++i) f(load(i), i);
  } else {
    auto next = load(0);
    for (int i = 0; i < count; ++i) {
      const auto now = next;
      if (i + 1 < count) next = load(i + 1);
      f(now, i);
    }
  }
}

template <class Block, bool sums>
__device__ auto total_of_chunk(const Block& block, const Visit& visit, int w, int first_row) {
  using Matrix = const typename Block::Summary*;
  return Total<Block, sums, Matrix>(block.product(visit, w), block.sum(visit, w),
                                    block.crosses(visit, w), block.exponent(visit, w), first_row);
}

/// The state that enters a sequence.
template <class Block>
__device__ Carried<Block> start_of(const Block& block, const Visit& visit, int first_row) {
  using T = typename Block::T;
  const auto& scan = block.scan;
  const std::int64_t size = block.size_of_state();
  const int n = scan.n;
  Carried<Block> start = {};
  if constexpr (Block::Tile::backward) {  // the cotangent of the last state
    const T* const last = scan.g_last + visit.sequence * size;
    const T* const also =
        block.exclusive() ? nullptr
                          : scan.b + scan.layout.at(visit.sequence, scan.layout.count - 1) * size;
    block.fill(start.x, first_row, [=](int row, int column) {
      const double g = static_cast<double>(compute_type<T>(last[row * n + column]));
      return also == nullptr ? g : g + static_cast<double>(compute_type<T>(also[row * n + column]));
    });
  } else if (scan.initial != nullptr) {
    const T* const first = scan.initial + visit.sequence * size;
    block.fill(start.x, first_row, [=](int row, int column) {
      return static_cast<double>(compute_type<T>(first[row * n + column]));
    });
  } else {
    block.fill_identity(start.x, first_row);
  }
  if constexpr (Block::Tile::scaled) {
    if (scan.initial_exponent != nullptr) start.exponent = scan.initial_exponent[visit.sequence];
    start.exponent += take_exponent(start.x, 256);
  }
  return start;
}

// ---- between the blocks of a group

template <class Block>
__device__ double* published(const Block& block, const Visit& visit, int of_member) {
  const std::int64_t slot = (block.group * 2 + visit.number % 2) * block.scan.members + of_member;
  return block.scan.totals + slot * Block::Tile::totals * Block::Tile::elements;
}
template <class Block>
__device__ int* marks_of(const Block& block, const Visit& visit, int of_member) {
  return block.scan.marks +
         ((block.group * 2 + visit.number % 2) * block.scan.members + of_member) * 2;
}
/// 16 rows of P, or of R, of the block's tile.
template <class Block, bool of_sum>
__device__ void publish_rows(const Block& block, const Visit& visit, int first_row) {
  using Tile = typename Block::Tile;
  Carried<Block> total = {};
  bool starts = false;
  for_each_total<Block>(
      block.chunks(visit, block.member),
      [&](int w) { return total_of_chunk<Block, of_sum>(block, visit, w, first_row); },
      [&](auto chunk, int w) {
        starts = starts || chunk.crosses;
        if (w == 0) {
          chunk.crosses = true;  // nothing enters
        } else if (Tile::affine && !of_sum) {
          chunk.crosses = false;  // P is not read where one does
        }
        total.step_over(chunk, first_row);
      });
  store_fragment(published(block, visit, block.member) + (of_sum ? Tile::elements : 0), total.x,
                 first_row);
  if (threadIdx.x % 32 == 0 && !of_sum) {
    int* const marks = marks_of(block, visit, block.member);
    marks[0] = starts;
    marks[1] = total.exponent;
  }
  __syncwarp();
  if (threadIdx.x % 32 == 0) {
    asm volatile("red.release.gpu.add.u32 [%0], 1;" ::"l"(
                     block.scan.ready + block.group * block.scan.members + block.member)
                 : "memory");
  }
}
template <class Block>
__device__ void publish(const Block& block, const Visit& visit) {
  using Tile = typename Block::Tile;
  const int task = block.warp - Tile::first_publisher, first_row = task % Tile::tiles * 16;
  if constexpr (Tile::affine) {
    if (task >= Tile::tiles) return publish_rows<Block, true>(block, visit, first_row);
  }
  publish_rows<Block, false>(block, visit, first_row);
}

/// Until all members have published: also so that none writes what another one still reads.
template <class Block>
__device__ void await_members(const Block& block, const Visit& visit) {
  const unsigned wanted = (visit.number + 1) * Block::Tile::publishers;
  for (int m = static_cast<int>(threadIdx.x % 32); m < block.scan.members; m += 32) {
    const unsigned* const count = block.scan.ready + block.group * block.scan.members + m;
    unsigned there = 0;
    do {
      asm volatile("ld.acquire.gpu.u32 %0, [%1];" : "=r"(there) : "l"(count) : "memory");
    } while (static_cast<int>(there - wanted) < 0);
  }
  __syncwarp();
}

/// From what enters a wave to what enters the block's tile; in `carry`, what enters the next wave.
template <class Block>
__device__ Carried<Block> follow_members(const Block& block, const Visit& visit,
                                         Carried<Block>& carry, int first_row) {
  using Tile = typename Block::Tile;
  await_members(block, visit);
  Carried<Block> entering = carry;
  int with_steps = 0;
  while (with_steps < block.scan.members && block.has_steps(visit, with_steps, 0)) ++with_steps;
  for_each_total<Block>(
      with_steps,
      [&](int m) {
        const double* const of_m = published(block, visit, m);
        const int* const marks = marks_of(block, visit, m);
        return Total<Block, Tile::affine, Published>(
            {of_m}, {of_m + Tile::elements}, __ldcg(marks) != 0, __ldcg(marks + 1), first_row);
      },
      [&](const auto& total, int m) {
        if (m == block.member) entering = carry;
        carry.step_over(total, first_row);
      });
  return entering;
}

// ---- from chunk to chunk

/// A barrier of the followers.
template <class Block>
__device__ void meet_followers() {
  if constexpr (Block::Tile::tiles == 1) {
    __syncwarp();
  } else {
    asm volatile("barrier.sync 1, %0;" ::"n"(32 * Block::Tile::tiles) : "memory");
  }
}

/// Leaves the states that enter the chunks of a wave, 16 rows a follower, and in `carry` what
/// enters the next one.
template <class Block>
__device__ void follow(const Block& block, const Visit& visit, Carried<Block>& carry) {
  using Tile = typename Block::Tile;
  const int first_row = block.warp * 16;
  if (visit.wave == 0) carry = start_of(block, visit, first_row);
  Carried<Block> state =
      block.scan.members > 1 ? follow_members(block, visit, carry, first_row) : carry;
  for_each_total<Block>(
      block.chunks(visit, block.member),
      [&](int w) { return total_of_chunk<Block, Tile::affine>(block, visit, w, first_row); },
      [&](const auto& chunk, int w) {
        auto entering = state;
        state.step_over(chunk, first_row);
        meet_followers<Block>();  // P has been read: what enters may take its place
        store_fragment(block.entering(visit, w), entering.x, first_row);
        if (threadIdx.x % 32 == 0) {
          block.entering_exponents(visit, w)[block.warp] = entering.exponent;
        }
      });
  if (block.scan.members == 1) carry = state;
}

}  // namespace scangrad::cuda
