#pragma once
// Products of small row-major matrices (orders 1 to some 64), held in vector registers. BLAS calls
// cost more than these products do.
#include <scangrad/ops/cpu/level.h>

#include <cstddef>
#include <cstring>
#include <type_traits>
#include <utility>

namespace scangrad::SCANGRAD_CPU_NAMESPACE {
namespace {

#if defined(__AVX512F__)
constexpr int vector_bytes = 64;
#elif defined(__AVX__)
constexpr int vector_bytes = 32;
#else
constexpr int vector_bytes = 16;
#endif

/// `lanes` values of C in one register.
template <class C, int lanes>
struct Vector {
  typedef C type __attribute__((vector_size(lanes * sizeof(C))));
};

/// out (rows, columns) = left (rows, inner) · right (inner, columns) (+ addend). `left` is read
/// with any strides, so that a transposed one costs nothing; the others are dense. `out` is none of
/// them.
template <class C>
struct SmallProduct {
  C* out;
  const C* left;
  std::int64_t row_step, inner_step;
  const C* right;
  const C* addend;  // null for none
  std::int64_t rows, inner, columns;
};

/// `rows` × (`vectors` · `lanes`) elements of the product, from row i and column j.
template <int rows, int vectors, int lanes, class C>
inline void product_tile(const SmallProduct<C>& p, std::int64_t i, std::int64_t j) {
  using V = typename Vector<C, lanes>::type;
  V sums[rows][vectors];
#pragma GCC unroll 8
  for (int r = 0; r < rows; ++r) {
#pragma GCC unroll 8
    for (int v = 0; v < vectors; ++v) {
      sums[r][v] = V{};
      if (p.addend) {
        std::memcpy(&sums[r][v], p.addend + (i + r) * p.columns + j + v * lanes, sizeof(V));
      }
    }
  }
  for (std::int64_t k = 0; k < p.inner; ++k) {
    V right[vectors];
#pragma GCC unroll 8
    for (int v = 0; v < vectors; ++v) {
      std::memcpy(&right[v], p.right + k * p.columns + j + v * lanes, sizeof(V));
    }
#pragma GCC unroll 8
    for (int r = 0; r < rows; ++r) {
      const C left = p.left[(i + r) * p.row_step + k * p.inner_step];
#pragma GCC unroll 8
      for (int v = 0; v < vectors; ++v) sums[r][v] += left * right[v];
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < rows; ++r) {
#pragma GCC unroll 8
    for (int v = 0; v < vectors; ++v) {
      std::memcpy(p.out + (i + r) * p.columns + j + v * lanes, &sums[r][v], sizeof(V));
    }
  }
}

template <int vectors, int lanes, class C>
inline void product_columns(const SmallProduct<C>& p, std::int64_t j) {
  const int rows = static_cast<int>(p.rows);
  int i = 0;
  for (; i + 4 <= rows; i += 4) product_tile<4, vectors, lanes>(p, i, j);
  if (rows - i == 1) product_tile<1, vectors, lanes>(p, i, j);
  if (rows - i == 2) product_tile<2, vectors, lanes>(p, i, j);
  if (rows - i == 3) product_tile<3, vectors, lanes>(p, i, j);
}

/// The whole product, of at least `lanes` columns; the last tile overlaps the one before it rather
/// than leave columns over (they come out the same twice).
template <int lanes, class C>
inline void product_in_lanes(const SmallProduct<C>& p) {
  std::int64_t j = 0;
  for (; j + 2 * lanes <= p.columns; j += 2 * lanes) product_columns<2, lanes>(p, j);
  for (; j + lanes <= p.columns; j += lanes) product_columns<1, lanes>(p, j);
  if (j < p.columns) product_columns<1, lanes>(p, p.columns - lanes);
}

template <class C>
inline void small_product(const SmallProduct<C>& p) {
  constexpr int most = vector_bytes / static_cast<int>(sizeof(C));
  if (p.columns >= most) return product_in_lanes<most>(p);
  if constexpr (most > 8) {
    if (p.columns >= 8) return product_in_lanes<8>(p);
  }
  if constexpr (most > 4) {
    if (p.columns >= 4) return product_in_lanes<4>(p);
  }
  if (p.columns >= 2) return product_in_lanes<2>(p);
  product_in_lanes<1>(p);
}

/// One of the log₂ n exchanges that transpose an n × n block in registers: rows i and i + `half`
/// swap the blocks of `half` columns that lie across the diagonal.
template <int half, class V, std::size_t... lane>
inline void exchange(V& upper, V& lower, std::index_sequence<lane...>) {
  constexpr int n = sizeof...(lane);
  const V a = upper, b = lower;
  upper = __builtin_shufflevector(a, b,
                                  (static_cast<int>(lane) & half ? n + static_cast<int>(lane) - half
                                                                 : static_cast<int>(lane))...);
  lower =
      __builtin_shufflevector(a, b,
                              (static_cast<int>(lane) & half ? n + static_cast<int>(lane)
                                                             : static_cast<int>(lane) + half)...);
}
template <int half, int n, class V>
inline void exchange_all(V (&rows)[n]) {
#pragma GCC unroll 8
  for (int i = 0; i < n; ++i) {
    if (!(i & half)) exchange<half>(rows[i], rows[i + half], std::make_index_sequence<n>{});
  }
}

/// out[j][i] = in[i][j] for an n × n block, n = 4 or 8; `step`s are from row to row.
template <int n, class C>
inline void transpose_block(C* out, std::int64_t out_step, const C* in, std::int64_t in_step) {
  using V = typename Vector<C, n>::type;
  V rows[n];
#pragma GCC unroll 8
  for (int i = 0; i < n; ++i) std::memcpy(&rows[i], in + i * in_step, sizeof(V));
  exchange_all<1>(rows);
  exchange_all<2>(rows);
  if constexpr (n == 8) exchange_all<4>(rows);
#pragma GCC unroll 8
  for (int j = 0; j < n; ++j) std::memcpy(out + j * out_step, &rows[j], sizeof(V));
}

/// out (n, n) = inᵀ. In blocks of a register's width: what is read back as a vector has to be
/// written as one, or the processor waits for the pieces.
template <class C>
inline void small_transpose(C* out, const C* in, std::int64_t n) {
  constexpr int most = vector_bytes / static_cast<int>(sizeof(C)) >= 8 ? 8 : 4;
  const auto blocks = [&](auto width) {
    constexpr int block = decltype(width)::value;
    const std::int64_t whole = n / block * block;
    for (std::int64_t i = 0; i < whole; i += block) {
      for (std::int64_t j = 0; j < whole; j += block) {
        transpose_block<block>(out + j * n + i, n, in + i * n + j, n);
      }
    }
    for (std::int64_t i = 0; i < n; ++i) {
      for (std::int64_t j = i < whole ? whole : 0; j < n; ++j) out[j * n + i] = in[i * n + j];
    }
  };
  if (n < most) return blocks(std::integral_constant<int, 4>{});
  blocks(std::integral_constant<int, most>{});
}

}  // namespace
}  // namespace scangrad::SCANGRAD_CPU_NAMESPACE
