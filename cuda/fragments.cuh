#pragma once
#include <scangrad/cuda/shared_matrix.cuh>

// Small matrices as a warp multiplies them: by the tensor cores' float64 products, which round as
// any float64 product does, so that operands in float32 need not be split, and which are as fast
// (sm_90) as float32 outside of tensor cores. A matrix of order n ≤ 8 NT, NT = 1, 2 or 4, is padded
// with zeros to N = 8 NT.
//
// A lane's place in a warp is (g, q) = (lane / 4, lane % 4). PTX's mma.m16n8k8 wants of its left
// operand's lane rows g, g + 8 and columns q, q + 4; of the right one's rows q, q + 4 and column g;
// and gives rows g, g + 8 and columns 2q, 2q + 1. Which column of a matrix is called number
// p of tile j is ours to say. `column_of` is such that a lane has, of its rows, four adjacent
// columns, to be stored at once, and that a product is, as it stands, the left operand of the next
// one: the columns that it has are those that it is asked for, in another order, and a sum over
// columns does not mind the order.
namespace scangrad::cuda {

/// Rows 8i + g and columns column_of(j, 2q + u) of a matrix are values[i][j][u], i < 2 MT.
template <int MT, int NT>
struct Fragment {
  double values[2 * MT][NT][2];
};
/// MT of a matrix of order N = 8 NT, and its groups of 8 rows. With N = 8 the lower half is free.
template <int NT>
inline constexpr int row_tiles = NT == 1 ? 1 : NT / 2;
template <int NT>
inline constexpr int row_groups = NT;

/// The least column of a lane in tiles j = 2p and 2p + 1: its columns there are this one and the
/// next three, in the order (j, u) = (2p, 0), (2p + 1, 0), (2p, 1), (2p + 1, 1). For N = 8, (0, 0)
/// and (0, 1).
template <int NT>
__device__ int first_column(int pair, int q) {
  return NT == 1 ? 2 * q : 16 * pair + 4 * q;
}
/// Column 2q + u of tile j.
template <int NT>
__device__ int column_of(int j, int u, int q) {
  return first_column<NT>(j / 2, q) + (NT == 1 ? u : 2 * u + j % 2);
}
template <int NT>
inline constexpr int tile_pairs = (NT + 1) / 2;
template <int NT>
inline constexpr int in_pair = NT == 1 ? 1 : 2;

/// c (16 × 8) += a (16 × 8) b (8 × 8), c's upper and lower rows apart; or only the upper ones,
/// which takes half as long.
template <bool lower_too = true>
__device__ void multiply_add(double (&upper)[2], double (&lower)[2], const double (&a_upper)[2],
                             const double (&a_lower)[2], const double (&b)[2]) {
#if __CUDA_ARCH__ >= 900
  if constexpr (lower_too) {
    asm("mma.sync.aligned.m16n8k8.row.col.f64.f64.f64.f64 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
        "{%0,%1,%2,%3};"
        : "+d"(upper[0]), "+d"(upper[1]), "+d"(lower[0]), "+d"(lower[1])
        : "d"(a_upper[0]), "d"(a_lower[0]), "d"(a_upper[1]), "d"(a_lower[1]), "d"(b[0]), "d"(b[1]));
    return;
  }
#endif
  const auto half = [](double(&c)[2], double a, double by) {
    asm("mma.sync.aligned.m8n8k4.row.col.f64.f64.f64.f64 {%0,%1}, {%2}, {%3}, {%0,%1};"
        : "+d"(c[0]), "+d"(c[1])
        : "d"(a), "d"(by));
  };
  for (int k = 0; k < 2; ++k) {
    half(upper, a_upper[k], b[k]);
    if constexpr (lower_too) half(lower, a_lower[k], b[k]);
  }
}

/// The right operand's share of a lane, rows of pair `pair` of tiles, all columns: b[k][j][u] for
/// tile 2 pair + k; of the matrix or, `transposed`, of its transpose.
template <bool transposed, int NT, Part part = Part::all, class Matrix>
__device__ void load_right(double (&b)[in_pair<NT>][NT][2], Matrix matrix, int pair) {
  const Lane lane = lane_of_warp();
  const int g = lane.g, q = lane.q;
  const int first = first_column<NT>(pair, q);
  if constexpr (NT == 1) {
    if constexpr (transposed) {
      read_two<NT, part>(b[0][0], matrix, g, first);
    } else {
      for (int u = 0; u < 2; ++u) b[0][0][u] = read_one<NT, part>(matrix, first, g, u);
    }
  } else if constexpr (transposed) {
#pragma unroll
    for (int j = 0; j < NT; ++j) {
#pragma unroll
      for (int u = 0; u < 2; ++u) {
        double two[2];
        read_two<NT, part>(two, matrix, 2 * g, first + 2 * u, 16 * (j / 2) + j % 2);
        b[0][j][u] = two[0];
        b[1][j][u] = two[1];
      }
    }
  } else {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
#pragma unroll
      for (int p = 0; p < NT / 2; ++p) {
        double two[2];
        read_two<NT, part>(two, matrix, first, 16 * p + 2 * g, i);
        b[i % 2][2 * p][i / 2] = two[0];
        b[i % 2][2 * p + 1][i / 2] = two[1];
      }
    }
  }
}

template <bool transposed, int NT, Part part = Part::all, class Memory>
__device__ void load_right(double (&b)[in_pair<NT>][NT][2], const OperandMatrix<Memory>& matrix,
                           int /*pair*/) {
  static_assert(NT == 2 && !transposed && part == Part::all);
#pragma unroll
  for (int k = 0; k < 2; ++k) {
#pragma unroll
    for (int j = 0; j < 2; ++j) read_two_at(b[k][j], matrix.memory, matrix.place_of_pair(k, j));
  }
}

/// y += x · b for the share that `load_right` gave of each tile. With N = 8 the lower rows are left
/// out unless `lower_too`.
template <bool lower_too = false, int MT, int NT>
__device__ void add_tile(Fragment<MT, NT>& y, const Fragment<MT, NT>& x, const double (&b)[NT][2],
                         int tile) {
#pragma unroll
  for (int m = 0; m < MT; ++m) {
#pragma unroll
    for (int j = 0; j < NT; ++j) {
      multiply_add<lower_too || (NT > 1)>(y.values[2 * m][j], y.values[2 * m + 1][j],
                                          x.values[2 * m][tile], x.values[2 * m + 1][tile], b[j]);
    }
  }
}
/// y += x · matrix, or x · matrixᵀ, or of a part of the matrix.
template <bool transposed, Part part = Part::all, bool lower_too = false, int MT, int NT,
          class Matrix>
__device__ void add_product(Fragment<MT, NT>& y, const Fragment<MT, NT>& x, Matrix matrix) {
#pragma unroll
  for (int pair = 0; pair < tile_pairs<NT>; ++pair) {
    double b[in_pair<NT>][NT][2];
    load_right<transposed, NT, part>(b, matrix, pair);
#pragma unroll
    for (int k = 0; k < in_pair<NT>; ++k) add_tile<lower_too>(y, x, b[k], 2 * pair + k);
  }
}

/// y += leftᵀ · right, both in shared memory, for square matrices: the sum is over rows.
template <int NT, Part part = Part::all, class T, class Right>
__device__ void add_transposed_product(Fragment<row_tiles<NT>, NT>& y, const T* left, Right right) {
  const Lane lane = lane_of_warp();
  const int g = lane.g, q = lane.q;
#pragma unroll
  for (int pair = 0; pair < tile_pairs<NT>; ++pair) {
    double b[in_pair<NT>][NT][2];
    load_right<false, NT>(b, right, pair);
    const int first = first_column<NT>(pair, q);
#pragma unroll
    for (int k = 0; k < in_pair<NT>; ++k) {
#pragma unroll
      for (int m = 0; m < row_tiles<NT>; ++m) {
        double upper[2], lower[2] = {0, 0};
#pragma unroll
        for (int u = 0; u < 2; ++u) {
          const int more = NT == 1 ? u : 2 * u + k;
          upper[u] = read_one<NT, part>(left, first, 16 * m + g, more);
          if constexpr (NT > 1) lower[u] = read_one<NT, part>(left, first, 16 * m + 8 + g, more);
        }
#pragma unroll
        for (int j = 0; j < NT; ++j) {
          multiply_add<(NT > 1)>(y.values[2 * m][j], y.values[2 * m + 1][j], upper, lower, b[k][j]);
        }
      }
    }
  }
}

/// f(row, first column, the lane's adjacent values there in turn: four, or two where N is 8) for
/// rows 8 from … of a fragment, called rows `first_row` … of a matrix.
template <int from, int count, int MT, int NT, class F>
__device__ void for_each_run(Fragment<MT, NT>& x, int first_row, F f) {
  const Lane lane = lane_of_warp();
#pragma unroll
  for (int i = 0; i < count; ++i) {
#pragma unroll
    for (int p = 0; p < tile_pairs<NT>; ++p) {
      const Row row{first_row + lane.g, 8 * i};
      const int column = first_column<NT>(p, lane.q);
      auto& tiles = x.values[from + i];
      if constexpr (NT == 1) {
        double* const run[] = {&tiles[0][0], &tiles[0][1]};
        f(row, column, run);
      } else {
        double* const run[] = {&tiles[2 * p][0], &tiles[2 * p + 1][0], &tiles[2 * p][1],
                               &tiles[2 * p + 1][1]};
        f(row, column, run);
      }
    }
  }
}
template <int MT, int NT, class F>
__device__ void for_all_runs(Fragment<MT, NT>& x, int first_row, F f) {
  for_each_run<0, (NT == 1 ? 1 : 2 * MT)>(x, first_row, f);
}

/// Rows `first_row` … of a matrix, or of its transpose, into rows 8 from … of a fragment.
template <bool transposed, int from, int count, Part part = Part::all, int MT, int NT, class Matrix>
__device__ void load_into(Fragment<MT, NT>& x, Matrix matrix, int first_row = 0) {
  for_each_run<from, count>(x, first_row, [matrix](Row row, int column, auto& run) {
    constexpr int width = sizeof(run) / sizeof(run[0]);
#pragma unroll
    for (int i = 0; i < width; i += 2) {
      double two[2];
      if constexpr (transposed) {
        for (int j = 0; j < 2; ++j) two[j] = read_one<NT, part>(matrix, column, row, i + j);
      } else {
        read_two<NT, part>(two, matrix, row.base, column + i, row.more);
      }
      *run[i] = two[0];
      *run[i + 1] = two[1];
    }
  });
}
/// f(value, its place in the matrix) for rows 8 from … of a fragment, all 16 of the matrix.
template <int from, int MT, int NT, class Memory, class F>
__device__ void for_each_place(Fragment<MT, NT>& x, const OperandMatrix<Memory>& matrix, F f) {
  static_assert(NT == 2);
#pragma unroll
  for (int i = 0; i < 2; ++i) {
#pragma unroll
    for (int j = 0; j < 2; ++j) {
#pragma unroll
      for (int u = 0; u < 2; ++u) f(x.values[from + i][j][u], matrix.place_of_column(i, j, u));
    }
  }
}
template <bool transposed, int from, int count, Part part = Part::all, int MT, int NT, class Memory>
__device__ void load_into(Fragment<MT, NT>& x, const OperandMatrix<Memory>& matrix,
                          int /*first_row*/ = 0) {
  static_assert(count == 2 && !transposed && part == Part::all);
  for_each_place<from>(x, matrix,
                       [&](double& value, int place) { value = read_at(matrix.memory, place); });
}
template <bool transposed, int MT, int NT, class Matrix>
__device__ Fragment<MT, NT> load_fragment(Matrix matrix, int first_row = 0) {
  Fragment<MT, NT> x = {};
  load_into<transposed, 0, (NT == 1 ? 1 : 2 * MT)>(x, matrix, first_row);
  return x;
}

/// Rows 8 from … of a fragment to rows `first_row` … of a matrix.
template <int from, int count, int MT, int NT, class Matrix>
__device__ void store_from(Matrix matrix, Fragment<MT, NT>& x, int first_row = 0) {
  for_each_run<from, count>(x, first_row, [matrix](Row row, int column, auto& run) {
    constexpr int width = sizeof(run) / sizeof(run[0]);
#pragma unroll
    for (int i = 0; i < width; i += 2) {
      write_two<NT>(matrix, row, column + i, *run[i], *run[i + 1]);
    }
  });
}
template <int from, int count, int MT, int NT, class Memory>
__device__ void store_from(const OperandMatrix<Memory>& matrix, Fragment<MT, NT>& x,
                           int /*first_row*/ = 0) {
  static_assert(count == 2);
  for_each_place<from>(x, matrix,
                       [&](double value, int place) { write_at(matrix.memory, place, value); });
}
template <int MT, int NT, class Matrix>
__device__ void store_fragment(Matrix matrix, Fragment<MT, NT>& x, int first_row = 0) {
  store_from<0, (NT == 1 ? 1 : 2 * MT)>(matrix, x, first_row);
}

/// times · x to rows × n elements at `to`; `packs` where n = N and the rows are aligned.
template <int MT, int NT, class T>
__device__ void store_rows(T* to, Fragment<MT, NT>& x, int rows, int n, bool packs,
                           double times = 1) {
  for_all_runs(x, 0, [=](int row, int column, auto& run) {
    constexpr int width = sizeof(run) / sizeof(run[0]);
    if (!packs && row >= rows) return;
    Pack<T, width> pack;
#pragma unroll
    for (int i = 0; i < width; ++i) pack.values[i] = static_cast<T>(*run[i] * times);
    if (packs) {
      T* const place = to + row * 8 * NT + column;
      if constexpr (NT < 4) {
        stream_pack(place, pack);
      } else {
        store_pack(place, pack);  // ptxas spills registers around the other one
      }
    } else {
#pragma unroll
      for (int i = 0; i < width; ++i) {
        if (column + i < n) to[row * n + column + i] = pack.values[i];
      }
    }
  });
}

}  // namespace scangrad::cuda
