#pragma once
#include <scangrad/cuda/matrix_block.cuh>

// What chunks make of a state, x ↦ x P + R; and how a state goes through them.
namespace scangrad::cuda {

/// A chunk multiplied out to P and R in shared memory, unless followers go by steps; after what is
/// there already, where `goes_on`. Where a segment starts in it, R alone is what leaves it; or P,
/// of the steps from there on, where there is no R.
template <class Block>
__device__ void reduce(const Block& block, const Visit& visit, const Chunk& c,
                       bool goes_on = false) {
  using Tile = typename Block::Tile;
  constexpr int NT = Block::NT;
  constexpr bool transposed = Block::transposed;
  if constexpr (Tile::by_steps) {
    const int lane = static_cast<int>(threadIdx.x % 32);
    if (!Block::is_plain && lane < c.steps) {
      block.crosses_step(visit, block.warp * block.scan.chunk + lane) = block.cut(c, lane);
    }
    return;
  }
  constexpr bool marked = Block::marked;
  bool starts = marked && (goes_on ? block.crosses(visit, block.warp) != 0 : block.cut(c, 0));
  int exponent = marked && goes_on ? block.exponent(visit, block.warp) : 0;
  const int second = goes_on ? 0 : 1;
  const auto element = [&](int step) { return block.matrix(visit, step); };
  const auto begin = [&](auto& x, int step) {
    load_into<transposed, 0, row_groups<NT>>(x, element(step));
    block.apply_scale(x, c, step);
  };
  if constexpr (Tile::affine && NT <= 2) {
    // P above R in one fragment: the step's element is read once for both, and of N = 8 they are
    // its upper and lower rows.
    constexpr int groups = row_groups<NT>;
    Fragment<NT, NT> x = {};
    if (goes_on) {
      load_into<false, 0, groups>(x, block.product(visit, block.warp));
      load_into<false, groups, groups>(x, block.sum(visit, block.warp));
    } else {
      begin(x, 0);
      load_into<false, groups, groups>(x, block.operand(visit, 0, 1));
    }
#pragma unroll 2
    for (int step = second; step < c.steps; ++step) {
      const bool is_cut = block.cut(c, step);
      starts = starts || is_cut;
      Fragment<NT, NT> y = {};
      load_into<false, groups, groups>(y, block.operand(visit, step, 1));
      if (!is_cut) {
        block.apply_scale(x, c, step);
        add_product<transposed, Part::all, true>(y, x, element(step));
      }
      x = y;
    }
    store_from<0, groups>(block.product(visit, block.warp), x);
    store_from<groups, groups>(block.sum(visit, block.warp), x);
  } else {
    typename Block::State x = {};
    // How large x is, is seen after all but one of `turns` steps, and acted on after the last: so
    // nothing waits for it.
    constexpr int turns = Tile::scaled && NT <= 2 ? Tile::steps_of_slack : 1;
    unsigned seen = 0;
    const auto take_exponents = [&](int step, int turn) {
      if constexpr (!Tile::scaled) return;
      if (step + 1 == c.steps) {
        exponent += take_exponent(x, 0);
      } else if constexpr (turns > 1) {
        if (turn == turns - 2) seen = upper_half(x);
        if (turn < turns - 1) return;
        const int taken = exponent_to_take(seen, Tile::slack);
        if (taken != 0) multiply(x, two_to(-taken));
        exponent += taken;
      } else if (step % Tile::steps_of_slack == Tile::steps_of_slack - 1) {
        exponent += take_exponent(x, Tile::slack);
      }
    };
    if (goes_on) {
      load_into<false, 0, row_groups<NT>>(x, block.product(visit, block.warp));
    } else {
      begin(x, 0);
      take_exponents(0, 0);
    }
#pragma unroll(NT == 4 || turns > 1 ? 1 : 2)
    for (int first = second; first < c.steps; first += turns) {
#pragma unroll
      for (int turn = 0; turn < turns; ++turn) {
        const int step = first + turn;
        if (turn > 0 && step >= c.steps) break;
        const bool is_cut = block.cut(c, step);
        starts = starts || is_cut;
        if (Tile::affine && starts) break;  // P does not count
        typename Block::State y = {};
        if (is_cut) {
          begin(y, step);
          exponent = 0;
          seen = 0;
        } else {
          block.apply_scale(x, c, step);
          add_product<transposed>(y, x, element(step));
        }
        x = y;
        take_exponents(step, turn);
      }
    }
    store_fragment(block.product(visit, block.warp), x);
    if constexpr (Tile::affine) {
      if (goes_on) {
        load_into<false, 0, row_groups<NT>>(x, block.sum(visit, block.warp));
      } else {
        load_into<false, 0, row_groups<NT>>(x, block.operand(visit, 0, 1));
      }
#pragma unroll(NT == 4 ? 1 : 2)
      for (int step = second; step < c.steps; ++step) {
        auto y = load_fragment<false, row_tiles<NT>, NT>(block.operand(visit, step, 1));
        if (!block.cut(c, step)) {
          block.apply_scale(x, c, step);
          add_product<transposed>(y, x, element(step));
        }
        x = y;
      }
      store_fragment(block.sum(visit, block.warp), x);
    }
  }
  if constexpr (Tile::only_totals) __syncwarp();  // all have read what went before
  if (marked && threadIdx.x % 32 == 0) {
    block.crosses(visit, block.warp) = starts;
    block.exponent(visit, block.warp) = exponent;
  }
}

/// Of rows that are all 0.
inline constexpr int no_exponent = -(1 << 30);

/// What a chunk, a tile or a segment makes of a state, in registers: loaded before it is needed.
/// `sums`: R, and not P alone.
template <class Block, bool sums>
struct Total {
  static constexpr int NT = Block::NT;
  /// Whether P's rows, which are the state itself where a segment starts, may be asked for.
  static constexpr bool alone = !Block::is_plain && !Block::Tile::affine;
  double p[tile_pairs<NT>][in_pair<NT>][NT][2];
  typename Block::Rows r;     // of R, where sums; of P, where alone and `crosses`
  bool crosses = false;       // a segment starts in it
  int exponent = 0;           // of P
  int own_exponents[2] = {};  // of its rows from 0 and from 16 on, as they are in memory

  __device__ void set_marks(bool crosses_, int exponent_) {
    crosses = crosses_;
    exponent = own_exponents[0] = own_exponents[1] = exponent_;
  }
  template <bool transposed = false, class Matrix>
  __device__ void load(Matrix product, Matrix sum, int first_row) {
#pragma unroll
    for (int pair = 0; pair < tile_pairs<NT>; ++pair) {
      load_right<transposed, NT>(p[pair], product, pair);
    }
    if constexpr (sums) r = load_fragment<false, 1, NT>(sum, first_row);
    if constexpr (alone) {
      if (crosses) r = load_fragment<false, 1, NT>(product, first_row);
    }
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

/// 16 rows of a state, x · 2^exponent; or of the P that successive totals make together.
template <class Block>
struct Carried {
  typename Block::Rows x;
  int exponent;

  /// Takes x's exponent out where it is far from 0.
  __device__ void settle() {
    if constexpr (Block::Tile::scaled) exponent += take_exponent(x, Block::Tile::slack);
  }
  /// x P + R, or x P.
  template <bool adds, bool sums>
  __device__ typename Block::Rows times(const Total<Block, sums>& total) const {
    typename Block::Rows y = {};
    if constexpr (adds) y = total.r;
#pragma unroll
    for (int pair = 0; pair < tile_pairs<Block::NT>; ++pair) {
#pragma unroll
      for (int k = 0; k < in_pair<Block::NT>; ++k) add_tile(y, x, total.p[pair][k], 2 * pair + k);
    }
    return y;
  }
  /// x ← x P + R, or x P, after leave(what it was). How far a scaled x is from 1 is found after the
  /// product, if it `settles` there; at order 32, which takes long enough to hide that, beside the
  /// next one, which is made again if it was too far.
  template <bool adds, bool sums, class F>
  __device__ void step_over(const Total<Block, sums>& total, int first_row, F leave,
                            bool settles = true) {
    constexpr bool late = Block::Tile::scaled && Block::NT == 4;
    if (!Block::is_plain && total.crosses && (adds || !Block::Tile::affine)) {
      if constexpr (late) settle();
      leave(*this);
      x = total.r;
      exponent = first_row == 0 ? total.own_exponents[0] : total.own_exponents[1];
    } else if constexpr (late) {
      Carried was = *this;
      x = was.template times<adds>(total);
      unsigned upper = upper_half(was.x);
      if (const int taken = take_exponent(was.x, Block::Tile::slack, upper); taken != 0) {
        was.exponent += taken;
        x = was.template times<adds>(total);
      }
      exponent = was.exponent + total.exponent;
      leave(was);
    } else {
      const typename Block::Rows y = times<adds>(total);
      leave(*this);
      x = y;
      exponent += total.exponent;
    }
    if (!late && settles) settle();
  }
};

/// f(total, i) for i < count in turn, load(total, i) of the next one on its way meanwhile, where
/// there are registers for two.
template <class Block, bool sums, class Load, class F>
__device__ void for_each_total(int count, Load load, F f) {
  Total<Block, sums> even, odd;
  if constexpr (Block::NT == 4 && (sums || Block::Tile::scaled)) {
    for (int i = 0; i < count; ++i) {
      load(even, i);
      f(even, i);
    }
    return;
  }
  if (count <= 0) return;
  load(even, 0);
  for (int i = 0;; i += 2) {
    load(odd, ::min(i + 1, count - 1));
    f(even, i);
    if (i + 1 == count) return;
    load(even, ::min(i + 2, count - 1));
    f(odd, i + 1);
    if (i + 2 == count) return;
  }
}

/// What a chunk makes of rows of a state.
template <class Block, bool sums>
__device__ void load_chunk(const Block& block, const Visit& visit, int w, int first_row,
                           Total<Block, sums>& total) {
  if constexpr (Block::marked) {
    total.set_marks(block.crosses(visit, w), block.exponent(visit, w));
  }
  total.load(block.shared(visit, w, 0), block.shared(visit, w, Block::Tile::affine), first_row);
}
/// f(total, i) for the chunks of a tile, or its steps.
template <class Block, bool sums, class F>
__device__ void for_each_chunk(const Block& block, const Visit& visit, int first_row, F f) {
  if constexpr (Block::Tile::by_steps) {
    return for_each_total<Block, sums>(
        block.steps(visit),
        [&](Total<Block, sums>& total, int i) {
          if constexpr (!Block::is_plain) total.set_marks(block.crosses_step(visit, i), 0);
          total.template load<Block::transposed>(block.shared_matrix(visit, i),
                                                 block.shared_operand(visit, i, 1), first_row);
        },
        f);
  }
  for_each_total<Block, sums>(
      block.chunks(visit),
      [&](Total<Block, sums>& total, int w) { load_chunk(block, visit, w, first_row, total); }, f);
}

}  // namespace scangrad::cuda
