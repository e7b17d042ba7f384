#pragma once
// Products of small row-major matrices (orders 1 to some 64), held in vector registers. BLAS calls
// cost more than these products do.
#include <scangrad/ops/cpu/level.h>

#include <cstring>

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
  std::int64_t i = 0;
  for (; i + 4 <= p.rows; i += 4) product_tile<4, vectors, lanes>(p, i, j);
  for (; i < p.rows; ++i) product_tile<1, vectors, lanes>(p, i, j);
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

/// out (columns, rows) = inᵀ.
template <class C>
inline void small_transpose(C* out, const C* in, std::int64_t rows, std::int64_t columns) {
  for (std::int64_t j = 0; j < columns; ++j) {
    for (std::int64_t i = 0; i < rows; ++i) out[j * rows + i] = in[i * columns + j];
  }
}

}  // namespace
}  // namespace scangrad::SCANGRAD_CPU_NAMESPACE
