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
  const auto* const from = block.entering(visit, block.warp);
  return load_fragment<false, row_tiles<Block::NT>, Block::NT>(from);
}

template <class Block>
__device__ void walk_forward(const Block& block, const Visit& visit, const Chunk& c) {
  constexpr int NT = Block::NT;
  auto x = load_entering(block, visit);
  const std::int64_t size = block.size_of_state();
  auto* to = block.scan.states + c.place * size;
  for (int step = 0; step < c.steps; ++step, to += c.stride * size) {
    if (block.cut(c, step)) block.fill_identity(x, 0);
    if (block.exclusive()) store_state(block, to, x);
    typename Block::State y = {};
    if constexpr (Block::Tile::affine) {
      y = load_fragment<false, row_tiles<NT>, NT>(block.operand(visit, step, 1));
    }
    Block::Form::template add_product<false>(y, x, block.operand(visit, step, 0));
    x = y;
    if (!block.exclusive()) store_state(block, to, x);
  }
  if (block.is_last(c)) store_state(block, block.scan.last + visit.sequence * size, x);
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
  const auto& scan = block.scan;
  int exponent = 0;
  auto x = entering_scaled(block, visit, exponent);
  int told = exponent;  // of 0, ∞ and NaN it stays what it was
  unsigned upper = upper_half(x);
  const std::int64_t size = block.size_of_state();
  const auto tell = [&](T* mantissa, std::int32_t* its_exponent) {
    const int field = exponent_field<T>(x, upper);
    const int shift = is_normal(field) ? ::min(field - 1023, 1022) : 0;
    if (is_normal(field)) told = exponent + shift;
    store_state(block, mantissa, x, two_to(-shift));
    if (threadIdx.x % 32 == 0) *its_exponent = told;
  };
  for (int step = 0; step < c.steps; ++step) {
    const std::int64_t to = c.at(step);
    if (block.cut(c, step)) {
      block.fill_identity(x, 0);
      exponent = told = 0;
      upper = upper_half(x);
    }
    if (block.exclusive() && c.first + step == 0 && !block.cut(c, step)) {
      // The initial state is returned as it was given.
      told = scan.initial_exponent != nullptr ? scan.initial_exponent[visit.sequence] : 0;
      store_state(block, scan.states + to * size, x, two_to(exponent - told));
      if (threadIdx.x % 32 == 0) scan.exponents[to] = told;
    } else if (block.exclusive()) {
      tell(scan.states + to * size, scan.exponents + to);
    }
    typename Block::State y = {};
    add_product<false>(y, x, block.operand(visit, step, 0));
    x = y;
    upper = upper_half(x);
    exponent += take_exponent(x, Block::Tile::slack, upper);
    if (!block.exclusive()) tell(scan.states + to * size, scan.exponents + to);
  }
  if (block.is_last(c)) {
    tell(scan.last + visit.sequence * size, scan.last_exponent + visit.sequence);
  }
}

/// With x the cotangent of the state after a step: db = x, da = (the state before)ᵀ x, and before
/// the step it is x aᵀ and the gradient from outside (docs/scan.md).
template <class Block>
__device__ void walk_backward(const Block& block, const Visit& visit, const Chunk& c) {
  constexpr int NT = Block::NT;
  const auto& scan = block.scan;
  auto* const turned = block.entering(visit, block.warp);
  auto x = load_entering(block, visit);
  const std::int64_t size = block.size_of_state();
  const int n = block.order();
  auto* da = scan.da + c.place * n * n;
  for (int step = 0; step < c.steps; ++step, da += c.stride * n * n) {
    auto* const a = block.operand(visit, step, 0);
    auto* const b = block.operand(visit, step, 1);
    if constexpr (!Block::is_plain) {
      if (scan.db != nullptr) store_state(block, scan.db + c.at(step) * size, x);
    }
    typename Block::State d = {};
    const bool wanted = Block::is_plain || scan.da != nullptr;
    if (wanted) {
      __syncwarp();
      store_fragment(turned, x);
      __syncwarp();
      add_transposed_product<NT>(d, block.operand(visit, step, 2), turned);
      Block::Form::pull_back(d, a, turned, n);
    }
    block.apply_scale(x, c, step);
    auto y = load_fragment<false, row_tiles<NT>, NT>(b);
    Block::Form::template add_product<true>(y, x, a);
    if (block.cut(c, step)) y = load_fragment<false, row_tiles<NT>, NT>(b);  // nothing flows back
    x = y;
    if (wanted) store_rows(da, d, n, n, block.packs(), block.scale_of(c, step));
  }
  if (block.is_last(c) && scan.d_initial != nullptr) {
    store_state(block, scan.d_initial + visit.sequence * size, x);
  }
}

template <class Block>
__device__ void walk(const Block& block, const Visit& visit, const Chunk& c) {
  if (c.steps == 0) return;
  if constexpr (Block::Tile::backward) {
    walk_backward(block, visit, c);
  } else if constexpr (Block::Tile::scaled) {
    walk_scaled(block, visit, c);
  } else {
    walk_forward(block, visit, c);
  }
}

}  // namespace scangrad::cuda
