#pragma once
#include <scangrad/cuda/matrix_block.cuh>
#include <scangrad/cuda/matrix_exponent.cuh>

// A chunk walked from the state that enters it, from shared memory, to write its results.
namespace scangrad::cuda {

template <class Block>
__device__ void store_state(const Block& block, typename Block::T* to, typename Block::State& x,
                            double times = 1) {
  store_rows(to, x, block.rows(), block.order(), block.packs(), times);
}

template <class Block>
__device__ typename Block::State load_entering(const Block& block, const Visit& visit) {
  const auto from = block.entering(visit, block.warp);
  return load_fragment<false, row_tiles<Block::NT>, Block::NT>(from);
}

/// How many steps a worker makes. What leaves its last one the followers know already, and the
/// worker of the next chunk writes it; only after a sequence's last step there is none.
template <class Block>
__device__ int steps_to_make(const Block& block, const Chunk& c) {
  return block.is_last(c) ? c.steps : c.steps - 1;
}

/// The state that enters a chunk is that after the step before, and is written here.
template <class Block>
__device__ void walk_forward(const Block& block, const Visit& visit, const Chunk& c) {
  constexpr int NT = Block::NT;
  auto x = load_entering(block, visit);
  const std::int64_t size = block.size_of_state();
  const std::int64_t by = block.signed_by_direction(block.scan.layout.inner) * size;
  auto* to = block.scan.states + c.place * size;
  const auto store_before = [&](int step) {
    if (block.cut(c, step)) block.fill_identity(x, 0);
    if (block.exclusive()) store_state(block, to, x);
  };
  if (!block.exclusive() && c.first > 0) store_state(block, to - by, x);
  const int made = steps_to_make(block, c);
  for (int step = 0; step < made; ++step, to += by) {
    store_before(step);
    typename Block::State y = {};
    if constexpr (Block::Tile::affine) {
      y = load_fragment<false, row_tiles<NT>, NT>(block.operand(visit, step, 1));
    }
    add_product<false>(y, x, block.matrix(visit, step));
    x = y;
    if (!block.exclusive()) store_state(block, to, x);
  }
  if (made < c.steps) return store_before(made);
  store_state(block, block.scan.last + visit.sequence * size, x);
}

/// The state that enters, as x · 2^exponent; its rows' own exponents are made one.
template <class Block>
__device__ typename Block::State entering_scaled(const Block& block, const Visit& visit,
                                                 int& exponent) {
  constexpr int NT = Block::NT;
  auto x = load_entering(block, visit);
  const int* const own = block.entering_exponents(visit, block.warp);
  exponent = own[0];
  if constexpr (Block::Tile::tiles == 2) {
    const auto is_zero = [&x](int tile) {
      typename Block::Rows rows;
#pragma unroll
      for (int i = 0; i < 2; ++i) {
#pragma unroll
        for (int j = 0; j < NT; ++j) {
          for (int u = 0; u < 2; ++u) rows.values[i][j][u] = x.values[2 * tile + i][j][u];
        }
      }
      return exponent_field<double>(rows) == 0;
    };
    exponent = is_zero(0) || (own[1] > own[0] && !is_zero(1)) ? own[1] : own[0];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const double times = two_to(::max(::min(own[i / 2] - exponent, 1), -1022));
#pragma unroll
      for (int j = 0; j < NT; ++j) {
        for (int u = 0; u < 2; ++u) x.values[i][j][u] *= times;
      }
    }
  }
  return x;
}

template <class Block>
__device__ void walk_scaled(const Block& block, const Visit& visit, const Chunk& c) {
  using T = typename Block::T;
  using State = typename Block::State;
  const auto& scan = block.scan;
  const int lane = static_cast<int>(threadIdx.x % 32);
  int exponent = 0;
  auto x = entering_scaled(block, visit, exponent);
  int told = exponent, own = 0;  // 2^told is what is written, 2^own x's part of that
  const auto measure = [&](const State& of, unsigned upper) {
    const int field = exponent_field<T>(of, upper);
    own = is_normal(field) ? ::min(field - 1023, 1022) : 0;
    if (is_normal(field)) told = exponent + own;  // of 0, ∞ and NaN it stays what it was
  };
  const std::int64_t size = block.size_of_state();
  const auto write = [&](T* mantissa, std::int32_t* its_exponent) {
    store_state(block, mantissa, x, two_to(-own));
    if (lane == 0) *its_exponent = told;
  };
  const auto tell = [&](int step) {
    const std::int64_t to = block.place_of_step(c, step);
    write(scan.states + to * size, scan.exponents + to);
  };
  const auto tell_before = [&](int step) {
    const bool is_cut = block.cut(c, step);
    if (is_cut) {
      block.fill_identity(x, 0);
      exponent = told = 0;
      measure(x, upper_half(x));
    }
    if (!block.exclusive()) return;
    if (c.first + step == 0 && !is_cut) {
      // The initial state is returned as it was given.
      told = scan.initial_exponent != nullptr ? scan.initial_exponent[visit.sequence] : 0;
      own = told - exponent;
    }
    tell(step);
  };
  const auto settle = [&] {
    if (abs(own) <= Block::Tile::slack) return;
    multiply(x, two_to(-own));
    exponent += own;
    own = 0;
  };
  if (c.first > 0) {
    measure(x, upper_half(x));
    if (!block.exclusive()) tell(-1);
  }
  const int made = steps_to_make(block, c);
  int step = 0;
  // To see how large x has become takes as long as a product of order 8: there x goes through
  // several steps before that.
  if constexpr (Block::is_plain && Block::NT == 1) {
    constexpr int count = Block::Tile::steps_of_slack;
    int its_told = 0;  // of the step whose number is the lane's
    for (; step + count <= made; step += count) {
      State after[count];
      unsigned uppers[count];
#pragma unroll
      for (int i = 0; i < count; ++i) {
        after[i] = {};
        add_product<false>(after[i], i == 0 ? x : after[i - 1], block.matrix(visit, step + i));
      }
      bool usual = true;
#pragma unroll
      for (int i = 0; i < count; ++i) {
        uppers[i] = upper_half(after[i]);
        usual = usual && says_exponent<T>(uppers[i]);
      }
      int its_own[count];
#pragma unroll
      for (int i = 0; i < count; ++i) {
        if (usual) {
          own = static_cast<int>(uppers[i] >> 20) - 1023;
          told = exponent + own;
        } else {
          measure(after[i], uppers[i]);
        }
        its_own[i] = own;
        if (lane == step + i) its_told = told;
      }
      const std::int64_t by = block.signed_by_direction(scan.layout.inner) * size;
      T* to = scan.states + block.place_of_step(c, step) * size;
#pragma unroll
      for (int i = 0; i < count; ++i, to += by) {
        store_state(block, to, after[i], two_to(-its_own[i]));
      }
      x = after[count - 1];
      settle();
    }
    if (lane < step) scan.exponents[block.place_of_step(c, lane)] = its_told;
  }
  for (; step < made; ++step) {
    tell_before(step);
    State y = {};
    add_product<false>(y, x, block.matrix(visit, step));
    x = y;
    measure(x, upper_half(x));
    settle();
    if (!block.exclusive()) tell(step);
  }
  if (made < c.steps) return tell_before(made);
  write(scan.last + visit.sequence * size, scan.last_exponent + visit.sequence);
}

/// With x the cotangent of the state after a step: db = x, da = (the state before)ᵀ x, and before
/// the step it is x aᵀ and the gradient from outside (docs/scan.md).
template <class Block>
__device__ void walk_backward(const Block& block, const Visit& visit, const Chunk& c) {
  constexpr int NT = Block::NT;
  using State = typename Block::State;
  const auto& scan = block.scan;
  const auto turned = block.entering(visit, block.warp);  // x in shared memory
  auto x = load_entering(block, visit);
  const std::int64_t size = block.size_of_state();
  const int n = block.order();
  auto* da = scan.da + c.place * n * n;
  const std::int64_t by = block.signed_by_direction(scan.layout.inner) * n * n;
  const bool wanted = Block::is_plain || scan.da != nullptr;
  const auto store_db = [&](int step) {
    if constexpr (!Block::is_plain) {
      if (scan.db != nullptr) store_state(block, scan.db + block.place_of_step(c, step) * size, x);
    }
  };
  const auto gradient = [&](int step) {
    State d = {};
    if (wanted) add_transposed_product<NT>(d, block.operand(visit, step, 2), turned);
    return d;
  };
  const auto store_da = [&](State& d, int step) {
    if (!wanted) return;
    block.apply_scale(d, c, step);
    store_rows(da, d, n, n, block.packs());
  };
  const int made = scan.d_initial != nullptr ? steps_to_make(block, c) : c.steps - 1;
  for (int step = 0; step < made; ++step, da += by) {
    store_db(step);
    State d = gradient(step);
    if constexpr (NT == 4) store_da(d, step);  // there are no registers for d and y
    auto* const b = block.operand(visit, step, 1);
    block.apply_scale(x, c, step);
    auto y = load_fragment<false, row_tiles<NT>, NT>(b);
    add_product<true>(y, x, block.matrix(visit, step));
    if (block.cut(c, step)) y = load_fragment<false, row_tiles<NT>, NT>(b);  // nothing flows back
    x = y;
    __syncwarp();
    store_fragment(turned, x);
    if constexpr (NT < 4) store_da(d, step);
    __syncwarp();
  }
  if (made == c.steps) return store_state(block, scan.d_initial + visit.sequence * size, x);
  store_db(made);
  State d = gradient(made);
  store_da(d, made);
}

/// The same where followers have left the cotangent of the state after each step in the place of
/// the gradient that it is made of.
template <class Block>
__device__ void pull_back_steps(const Block& block, const Visit& visit, const Chunk& c) {
  constexpr int NT = Block::NT;
  if (!Block::is_plain && block.scan.da == nullptr) return;
  const int n = block.order();
  auto* da = block.scan.da + c.place * n * n;
  const std::int64_t by = block.signed_by_direction(block.scan.layout.inner) * n * n;
  for (int step = 0; step < c.steps; ++step, da += by) {
    typename Block::State d = {};
    add_transposed_product<NT>(d, block.operand(visit, step, 2), block.operand(visit, step, 1));
    // Nobody needs the matrix any more.
    Block::Form::pull_back(d, block.operand(visit, step, 0), block.matrix(visit, step), n);
    store_rows(da, d, n, n, block.packs());
  }
}

template <class Block>
__device__ void walk(const Block& block, const Visit& visit, const Chunk& c) {
  if constexpr (Block::Tile::by_steps) {
    pull_back_steps(block, visit, c);
  } else if constexpr (Block::Tile::backward) {
    walk_backward(block, visit, c);
  } else if constexpr (Block::Tile::scaled) {
    walk_scaled(block, visit, c);
  } else {
    walk_forward(block, visit, c);
  }
}

}  // namespace scangrad::cuda
