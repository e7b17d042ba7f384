#pragma once
#include <scangrad/cuda/matrix_block.cuh>
#include <scangrad/cuda/matrix_exponent.cuh>

// What chunks make of a state, x ↦ x P + R, and what state enters each: from chunk to chunk and,
// where sequences are cut, from segment to segment.
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
      if constexpr (Tile::scaled)
        exponent += take_exponent(x, step + 1 < c.steps ? Tile::slack : 0);
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

/// Of rows that are all 0.
inline constexpr int no_exponent = -(1 << 30);

/// What a chunk, or a tile, makes of a state, in registers: loaded before it is needed.
template <class Block, bool sums, class Matrix>
struct Total {
  static constexpr int NT = Block::NT;
  double p[tile_pairs<NT>][in_pair<NT>][NT][2];
  typename Block::Rows r;  // where sums
  bool crosses;            // a segment starts in it
  int exponent;            // of P
  int own_exponents[2];    // of its rows from 0 and from 16 on, as they are at `source`
  Matrix source;

  __device__ Total(Matrix product, Matrix sum, bool crosses_, int exponent_, int first_row)
      : crosses(crosses_),
        exponent(exponent_),
        own_exponents{exponent_, exponent_},
        source(product) {
#pragma unroll
    for (int pair = 0; pair < tile_pairs<NT>; ++pair) load_right<false, NT>(p[pair], product, pair);
    if constexpr (sums) r = load_fragment<false, 1, NT>(sum, first_row);
  }
  /// Rows 16 pair … have an exponent each: makes them one.
  __device__ void align(const int* of_rows) {
    const int most = ::max(of_rows[0], of_rows[1]);
    exponent = most == no_exponent ? 0 : most;
    for (int i = 0; i < 2; ++i) own_exponents[i] = of_rows[i] == no_exponent ? 0 : of_rows[i];
#pragma unroll
    for (int pair = 0; pair < tile_pairs<NT>; ++pair) {
      const double times = two_to(::max(of_rows[pair] - exponent, -1022));
#pragma unroll
      for (auto& tile : p[pair]) {
#pragma unroll
        for (auto& column : tile) {
          for (double& value : column) value *= times;
        }
      }
    }
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
      exponent = first_row == 0 ? total.own_exponents[0] : total.own_exponents[1];
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
    if constexpr (Block::Tile::scaled) exponent += take_exponent(x, Block::Tile::slack);
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

// ---- from segment to segment

template <class Block>
__device__ std::int64_t total_index(const Block& block, const Visit& visit, std::int64_t segment) {
  return visit.sequence * block.scan.segments + segment;
}
template <class Block>
__device__ double* total_memory(const Block& block, std::int64_t index) {
  return block.scan.totals + index * Block::Tile::totals * Block::Tile::elements;
}

/// A wave more of a segment in 16 rows of its P, or of its R; at its end they are written.
template <class Block, bool of_sum>
__device__ void add_to_total(const Block& block, const Visit& visit, Carried<Block>& total,
                             bool& starts, int first_row) {
  using Tile = typename Block::Tile;
  if (visit.wave == 0) starts = false;
  for_each_total<Block>(
      block.chunks(visit),
      [&](int w) { return total_of_chunk<Block, of_sum>(block, visit, w, first_row); },
      [&](auto chunk, int w) {
        starts = starts || chunk.crosses;
        if (visit.wave == 0 && w == 0) {
          chunk.crosses = true;  // nothing enters
        } else if (Tile::affine && !of_sum) {
          chunk.crosses = false;  // P is not read where one does
        }
        total.step_over(chunk, first_row);
      });
  if (visit.wave + 1 < block.scan.waves) return;
  const std::int64_t index = total_index(block, visit, visit.segment);
  store_fragment(total_memory(block, index) + (of_sum ? Tile::elements : 0), total.x, first_row);
  if constexpr (!of_sum) {
    int* const marks = block.scan.marks + index * (1 + Tile::tiles);
    // Where rows have exponents of their own, those of zeros must not be the larger ones.
    const bool zero = Tile::scaled && Tile::tiles == 2 && exponent_field<double>(total.x) == 0;
    if (threadIdx.x % 32 == 0) {
      if (block.warp == 0) marks[0] = starts;
      marks[1 + block.warp] = zero ? no_exponent : total.exponent;
    }
  }
}
template <class Block>
__device__ void add_to_totals(const Block& block, const Visit& visit, Carried<Block>& total,
                              bool& starts) {
  using Tile = typename Block::Tile;
  const int first_row = block.warp % Tile::tiles * 16;
  if constexpr (Tile::affine) {
    if (block.warp >= Tile::tiles) {
      return add_to_total<Block, true>(block, visit, total, starts, first_row);
    }
  }
  add_to_total<Block, false>(block, visit, total, starts, first_row);
}

/// The state that enters a segment: the sequence's, and what the segments before make of it.
template <class Block>
__device__ Carried<Block> start_of(const Block& block, const Visit& visit, int first_row) {
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
    state.exponent += take_exponent(state.x, Tile::slack);
  }
  for_each_total<Block>(
      static_cast<int>(visit.segment),
      [&](int segment) {
        const std::int64_t index = total_index(block, visit, segment);
        const double* const p = total_memory(block, index);
        const int* const marks = scan.marks + index * (1 + Tile::tiles);
        Total<Block, Tile::affine, const double*> total(p, p + Tile::elements, marks[0] != 0,
                                                        marks[1], first_row);
        if constexpr (Tile::scaled && Tile::tiles == 2) total.align(marks + 1);
        return total;
      },
      [&](const auto& total, int) { state.step_over(total, first_row); });
  return state;
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

/// Leaves the states that enter the chunks of a wave, 16 rows a follower, and in `state` what
/// enters the next one.
template <class Block>
__device__ void follow(const Block& block, const Visit& visit, Carried<Block>& state) {
  using Tile = typename Block::Tile;
  if (block.warp >= Tile::tiles) return;
  const int first_row = block.warp * 16;
  if (visit.wave == 0) state = start_of(block, visit, first_row);
  for_each_total<Block>(
      block.chunks(visit),
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
}

}  // namespace scangrad::cuda
