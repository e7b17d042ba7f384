#pragma once
#include <scangrad/cuda/launch.cuh>

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

struct Lane {
  int g, q;
};
__device__ inline Lane lane_of_warp() {
  const int lane = static_cast<int>(threadIdx.x % 32);
  return {lane / 4, lane % 4};
}

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

/// c (16 × 8) += a (16 × 8) b (8 × 8), c's upper and lower rows apart.
__device__ inline void multiply_add(double (&upper)[2], double (&lower)[2],
                                    const double (&a_upper)[2], const double (&a_lower)[2],
                                    const double (&b)[2]) {
#if __CUDA_ARCH__ >= 900
  asm("mma.sync.aligned.m16n8k8.row.col.f64.f64.f64.f64 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};"
      : "+d"(upper[0]), "+d"(upper[1]), "+d"(lower[0]), "+d"(lower[1])
      : "d"(a_upper[0]), "d"(a_lower[0]), "d"(a_upper[1]), "d"(a_lower[1]), "d"(b[0]), "d"(b[1]));
#else
  const auto half = [](double(&c)[2], double a, double by) {
    asm("mma.sync.aligned.m8n8k4.row.col.f64.f64.f64.f64 {%0,%1}, {%2}, {%3}, {%0,%1};"
        : "+d"(c[0]), "+d"(c[1])
        : "d"(a), "d"(by));
  };
  for (int k = 0; k < 2; ++k) {
    half(upper, a_upper[k], b[k]);
    half(lower, a_lower[k], b[k]);
  }
#endif
}

// ---- matrices in shared memory

/// Where element (r, c) of a padded matrix lies. Packs of 16 bytes are permuted within 128, so that
/// the reads below, of rows 4 apart and of columns, meet 32 different banks.
template <int NT, class T>
__device__ int place_of(int r, int c) {
  constexpr int N = 8 * NT, a_pack = 16 / static_cast<int>(sizeof(T));
  const int element = r * N + c;
  int turn = (r >> 2 & 3) << 1;
  if constexpr (N * sizeof(T) % 64 == 0) turn ^= (r >> 1 & 1) << 2;
  return (element / a_pack ^ turn) * a_pack + element % a_pack;
}

/// What is read of a matrix: the rest, above or below the diagonal, counts as 0.
enum class Part { all, lower, upper };
template <Part part>
__device__ double masked(double value, int r, int c) {
  if constexpr (part == Part::lower) return c > r ? 0 : value;
  if constexpr (part == Part::upper) return c < r ? 0 : value;
  return value;
}

template <int NT, Part part = Part::all, class T>
__device__ double read_one(const T* matrix, int r, int c) {
  return masked<part>(static_cast<double>(compute_type<T>(matrix[place_of<NT, T>(r, c)])), r, c);
}
/// Two adjacent elements, the first one in an even column.
template <int NT, Part part = Part::all, class T>
__device__ void read_two(double (&to)[2], const T* matrix, int r, int c) {
  const Pack<T, 2> pack = load_pack<2>(matrix + place_of<NT, T>(r, c));
  to[0] = masked<part>(static_cast<double>(compute_type<T>(pack.values[0])), r, c);
  to[1] = masked<part>(static_cast<double>(compute_type<T>(pack.values[1])), r, c + 1);
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
      for (int u = 0; u < 2; ++u) b[0][0][u] = read_one<NT, part>(matrix, first + u, g);
    }
  } else if constexpr (transposed) {
#pragma unroll
    for (int j = 0; j < NT; ++j) {
#pragma unroll
      for (int u = 0; u < 2; ++u) {
        double two[2];
        read_two<NT, part>(two, matrix, 16 * (j / 2) + 2 * g + j % 2, first + 2 * u);
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
        read_two<NT, part>(two, matrix, first + i, 16 * p + 2 * g);
        b[i % 2][2 * p][i / 2] = two[0];
        b[i % 2][2 * p + 1][i / 2] = two[1];
      }
    }
  }
}

/// y += x · b for the share that `load_right` gave of each pair of tiles.
template <int MT, int NT>
__device__ void add_pair(Fragment<MT, NT>& y, const Fragment<MT, NT>& x,
                         const double (&b)[in_pair<NT>][NT][2], int pair) {
#pragma unroll
  for (int k = 0; k < in_pair<NT>; ++k) {
#pragma unroll
    for (int m = 0; m < MT; ++m) {
      const int tile = 2 * pair + k;
#pragma unroll
      for (int j = 0; j < NT; ++j) {
        multiply_add(y.values[2 * m][j], y.values[2 * m + 1][j], x.values[2 * m][tile],
                     x.values[2 * m + 1][tile], b[k][j]);
      }
    }
  }
}
/// y += x · matrix, or x · matrixᵀ, or of a part of the matrix.
template <bool transposed, Part part = Part::all, int MT, int NT, class Matrix>
__device__ void add_product(Fragment<MT, NT>& y, const Fragment<MT, NT>& x, Matrix matrix) {
#pragma unroll
  for (int pair = 0; pair < tile_pairs<NT>; ++pair) {
    double b[in_pair<NT>][NT][2];
    load_right<transposed, NT, part>(b, matrix, pair);
    add_pair(y, x, b, pair);
  }
}

/// y += leftᵀ · right, both in shared memory, for square matrices: the sum is over rows.
template <int NT, Part part = Part::all, class T, class S>
__device__ void add_transposed_product(Fragment<row_tiles<NT>, NT>& y, const T* left,
                                       const S* right) {
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
          const int r = NT == 1 ? first + u : first + 2 * u + k;
          upper[u] = read_one<NT, part>(left, r, 16 * m + g);
          if constexpr (NT > 1) lower[u] = read_one<NT, part>(left, r, 16 * m + 8 + g);
        }
#pragma unroll
        for (int j = 0; j < NT; ++j) {
          multiply_add(y.values[2 * m][j], y.values[2 * m + 1][j], upper, lower, b[k][j]);
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
      const int row = first_row + 8 * i + lane.g, column = first_column<NT>(p, lane.q);
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
  for_each_run<from, count>(x, first_row, [matrix](int row, int column, auto& run) {
    constexpr int width = sizeof(run) / sizeof(run[0]);
#pragma unroll
    for (int i = 0; i < width; i += 2) {
      double two[2];
      if constexpr (transposed) {
        two[0] = read_one<NT, part>(matrix, column + i, row);
        two[1] = read_one<NT, part>(matrix, column + i + 1, row);
      } else {
        read_two<NT, part>(two, matrix, row, column + i);
      }
      *run[i] = two[0];
      *run[i + 1] = two[1];
    }
  });
}
template <bool transposed, int MT, int NT, class Matrix>
__device__ Fragment<MT, NT> load_fragment(Matrix matrix, int first_row = 0) {
  Fragment<MT, NT> x = {};
  load_into<transposed, 0, (NT == 1 ? 1 : 2 * MT)>(x, matrix, first_row);
  return x;
}

/// Rows 8 from … of a fragment to rows `first_row` … of a matrix.
template <int from, int count, int MT, int NT, class S>
__device__ void store_from(S* matrix, Fragment<MT, NT>& x, int first_row = 0) {
  for_each_run<from, count>(x, first_row, [matrix](int row, int column, auto& run) {
    constexpr int width = sizeof(run) / sizeof(run[0]);
#pragma unroll
    for (int i = 0; i < width; i += 2) {
      store_pack(matrix + place_of<NT, S>(row, column + i),
                 Pack<S, 2>{static_cast<S>(*run[i]), static_cast<S>(*run[i + 1])});
    }
  });
}
template <int MT, int NT, class S>
__device__ void store_fragment(S* matrix, Fragment<MT, NT>& x, int first_row = 0) {
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
      store_pack(to + row * 8 * NT + column, pack);
    } else {
#pragma unroll
      for (int i = 0; i < width; ++i) {
        if (column + i < n) to[row * n + column + i] = pack.values[i];
      }
    }
  });
}

// ---- from global to shared memory

template <int size>
__device__ void copy_asynchronously(void* shared, const void* global) {
  const auto to = static_cast<unsigned>(__cvta_generic_to_shared(shared));
  if constexpr (size == 16) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(to), "l"(global) : "memory");
  } else {
    asm volatile("cp.async.ca.shared.global [%0], [%1], %2;" ::"r"(to), "l"(global), "n"(size)
                 : "memory");
  }
}
__device__ inline void close_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }
/// Waits for this thread's copies but for the latest `left` groups.
template <int left>
__device__ void await_copies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(left) : "memory");
}

/// A lane begins to copy its share of `count` padded matrices, of rows × n elements each, from
/// where `from(i)` says the i-th lies. Their padding is 0 already.
template <int NT, class T, class From>
__device__ void begin_loads(T* matrices, int stride, int count, From from, int rows, int n,
                            bool packs) {
  constexpr int N = 8 * NT, a_pack = 16 / static_cast<int>(sizeof(T)), row_packs = N / a_pack,
                all = N * row_packs;
  const int lane = static_cast<int>(threadIdx.x % 32);
  if (packs) {
#pragma unroll 4
    for (int i = lane; i < count * all; i += 32) {
      const int which = i / all, pack = i % all;
      copy_asynchronously<16>(
          matrices + which * stride + place_of<NT, T>(pack / row_packs, pack % row_packs * a_pack),
          from(which) + pack * a_pack);
    }
    return;
  }
  for (int which = 0; which < count; ++which) {
    for (int i = lane; i < rows * n; i += 32) {
      T* const to = matrices + which * stride + place_of<NT, T>(i / n, i % n);
      if constexpr (sizeof(T) >= 4) {
        copy_asynchronously<sizeof(T)>(to, from(which) + i);
      } else {
        *to = from(which)[i];
      }
    }
  }
}
/// `diagonal` times the identity, of rows × n, by a warp.
template <int NT, class T>
__device__ void store_identity(T* matrix, int rows, int n, float diagonal) {
  for (int i = static_cast<int>(threadIdx.x % 32); i < rows * n; i += 32) {
    const int r = i / n, c = i % n;
    matrix[place_of<NT, T>(r, c)] = static_cast<T>(r == c ? diagonal : 0.0f);
  }
}

}  // namespace scangrad::cuda
