#pragma once
#include <scangrad/cuda/launch.cuh>

// Small matrices in shared memory, of order n ≤ 8 NT, NT = 1, 2 or 4, padded with zeros to 8 NT, as
// fragments (fragments.cuh) are read from them and written to them.
namespace scangrad::cuda {

/// A lane's place in a warp, (lane / 4, lane % 4).
struct Lane {
  int g, q;
};
__device__ inline Lane lane_of_warp() {
  const int lane = static_cast<int>(threadIdx.x % 32);
  return {lane / 4, lane % 4};
}

/// Where element (r + more, c) of a padded matrix lies; the bits of `more` are not in r. Packs of
/// 16 bytes are permuted within 128, so that the reads below, of rows 4 apart and of columns, meet
/// 32 different banks. What r and what `more` does to a place is apart, so that a lane of whose
/// rows only `more` differs, a constant, needs one or two addresses for all of them.
template <int NT, class T>
__device__ int place_of(int r, int c, int more = 0) {
  constexpr int N = 8 * NT, a_pack = 16 / static_cast<int>(sizeof(T));
  const auto pack_of = [](int row, int column) {
    const int turn = (row >> 2 & 3) << 1 ^ (N * sizeof(T) % 64 == 0 ? (row >> 1 & 1) << 2 : 0);
    return (row * N + column) / a_pack ^ turn;
  };
  const int its = pack_of(more, 0);
  return ((pack_of(r, c) ^ (its & 7)) + (its & ~7)) * a_pack + c % a_pack;
}

/// A row, and which part of its number is the same for all lanes (place_of).
struct Row {
  int base, more;
  __device__ operator int() const { return base + more; }
};

/// What is read of a matrix: the rest, above or below the diagonal, counts as 0.
enum class Part { all, lower, upper };
template <Part part, class C>
__device__ C masked(C value, int r, int c) {
  if constexpr (part == Part::all) return value;
  const bool counts = part == Part::lower ? c <= r : c >= r;
  if constexpr (std::is_same_v<C, float>) {
    // In one instruction of a mask that loops keep, and before it becomes two of float64.
    unsigned bits = __float_as_uint(value);
    asm("and.b32 %0, %0, %1;" : "+r"(bits) : "r"(counts ? ~0u : 0u));
    return __uint_as_float(bits);
  } else {
    return counts ? value : C(0);
  }
}

template <int NT, Part part = Part::all, class T>
__device__ double read_one(const T* matrix, int r, int c, int more = 0) {
  const T value = matrix[place_of<NT, T>(r, c, more)];
  return static_cast<double>(masked<part>(compute_type<T>(value), r + more, c));
}
/// Two adjacent elements, the first one in an even column.
template <int NT, Part part = Part::all, class T>
__device__ void read_two(double (&to)[2], const T* matrix, int r, int c, int more = 0) {
  const Pack<T, 2> pack = load_pack<2>(matrix + place_of<NT, T>(r, c, more));
  for (int i = 0; i < 2; ++i) {
    to[i] = static_cast<double>(masked<part>(compute_type<T>(pack.values[i]), r + more, c + i));
  }
}

template <class S>
__device__ double read_shared(unsigned address) {
  if constexpr (sizeof(S) == 8) {
    double value;
    asm volatile("ld.shared.f64 %0, [%1];" : "=d"(value) : "r"(address));
    return value;
  } else {
    float value;
    asm volatile("ld.shared.f32 %0, [%1];" : "=f"(value) : "r"(address));
    return value;
  }
}
template <class S>
__device__ void read_two_shared(double (&to)[2], unsigned address) {
  if constexpr (sizeof(S) == 8) {
    asm volatile("ld.shared.v2.f64 {%0, %1}, [%2];" : "=d"(to[0]), "=d"(to[1]) : "r"(address));
  } else {
    float two[2];
    asm volatile("ld.shared.v2.f32 {%0, %1}, [%2];" : "=f"(two[0]), "=f"(two[1]) : "r"(address));
    for (int i = 0; i < 2; ++i) to[i] = two[i];
  }
}

/// A matrix in shared memory by its address there, which where loops are short is much quicker than
/// a pointer, of which the compiler makes one again and again.
template <class S>
struct SharedMatrix {
  unsigned address;

  template <int NT>
  __device__ unsigned address_of(int r, int c, int more) const {
    return address + static_cast<unsigned>(sizeof(S)) * place_of<NT, S>(r, c, more);
  }
};
template <int NT, Part part = Part::all, class S>
__device__ double read_one(SharedMatrix<S> matrix, int r, int c, int more = 0) {
  static_assert(part == Part::all);
  return read_shared<S>(matrix.template address_of<NT>(r, c, more));
}
template <int NT, Part part = Part::all, class S>
__device__ void read_two(double (&to)[2], SharedMatrix<S> matrix, int r, int c, int more = 0) {
  static_assert(part == Part::all);
  read_two_shared<S>(to, matrix.template address_of<NT>(r, c, more));
}
template <int NT, class S>
__device__ void write_two(SharedMatrix<S> matrix, Row r, int c, double first, double second) {
  const unsigned to = matrix.template address_of<NT>(r.base, c, r.more);
  if constexpr (sizeof(S) == 8) {
    asm volatile("st.shared.v2.f64 [%0], {%1, %2};" ::"r"(to), "d"(first), "d"(second) : "memory");
  } else {
    asm volatile("st.shared.v2.f32 [%0], {%1, %2};" ::"r"(to), "f"(static_cast<float>(first)),
                 "f"(static_cast<float>(second))
                 : "memory");
  }
}
template <int NT, class S>
__device__ void write_two(S* matrix, Row r, int c, double first, double second) {
  store_pack(matrix + place_of<NT, S>(r.base, c, r.more),
             Pack<S, 2>{static_cast<S>(first), static_cast<S>(second)});
}

// ---- as right operands

/// Where a lane's elements of an OperandMatrix are.
struct OperandPlaces {
  int pair[2];       // of the right operand in tiles (k, 0): two, of its rows there
  int column[2][2];  // of row 8 i + g, u-th column of tile 0, as a fragment has them: [i][u]
};
/// A matrix of order 16 in `memory`, a double* or a SharedMatrix<double>, as the lanes of a warp
/// read it as the right operand of a product: the two rows that a lane has of a tile lie side by
/// side. So what is read, and what is given, goes from and to the very registers that products
/// want, where rows of adjacent elements would have to be moved about. Pairs are permuted such that
/// lanes meet different banks both ways.
template <class Memory>
struct OperandMatrix {
  static constexpr int of_tile = 64;  // elements
  Memory memory;
  OperandPlaces places;

  __device__ int place_of_pair(int k, int j) const { return places.pair[k] + j * of_tile; }
  __device__ int place_of_column(int i, int j, int u) const {
    return places.column[i][u] + j * of_tile;
  }
};
/// The lane's places.
__device__ inline OperandPlaces operand_places() {
  const auto [g, q] = lane_of_warp();
  const auto place = [](int k, int to_g, int to_q) {
    return 2 * (64 * k + ((4 * to_g + to_q) ^ (to_g >> 1 ^ k << 2)));
  };
  OperandPlaces places;
  for (int k = 0; k < 2; ++k) places.pair[k] = place(k, g, q);
  for (int i = 0; i < 2; ++i) {
    for (int u = 0; u < 2; ++u) {
      places.column[i][u] = place(g % 2, 2 * q + u, 2 * i + (g >> 2)) + (g >> 1) % 2;
    }
  }
  // Hides what they are made of, lest they be made again and again.
  asm volatile(""
               : "+r"(places.pair[0]), "+r"(places.pair[1]), "+r"(places.column[0][0]),
                 "+r"(places.column[0][1]), "+r"(places.column[1][0]), "+r"(places.column[1][1]));
  return places;
}
__device__ inline double read_at(const double* memory, int place) { return memory[place]; }
__device__ inline double read_at(SharedMatrix<double> memory, int place) {
  return read_shared<double>(memory.address + 8 * place);
}
__device__ inline void read_two_at(double (&to)[2], const double* memory, int place) {
  const Pack<double, 2> pack = load_pack<2>(memory + place);
  for (int i = 0; i < 2; ++i) to[i] = pack.values[i];
}
__device__ inline void read_two_at(double (&to)[2], SharedMatrix<double> memory, int place) {
  read_two_shared<double>(to, memory.address + 8 * place);
}
__device__ inline void write_at(double* memory, int place, double value) { memory[place] = value; }
__device__ inline void write_at(SharedMatrix<double> memory, int place, double value) {
  asm volatile("st.shared.f64 [%0], %1;" ::"r"(memory.address + 8 * place), "d"(value) : "memory");
}

// ---- from global memory

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

/// Matrices of rows × n in global memory, each `by` elements from the one before.
template <class T>
struct Matrices {
  const T* first;
  std::int64_t by;
  int count, rows;
};
/// A lane begins to copy its share of the matrices of N sources, the first of which has the most,
/// to (count, N) padded ones, whose padding is 0 already.
template <int NT, int N, class T>
__device__ void begin_loads(T* to, const Matrices<T> (&sources)[N], int n, bool packs) {
  constexpr int order = 8 * NT, elements = order * order;
  constexpr int a_pack = 16 / static_cast<int>(sizeof(T)), row_packs = order / a_pack,
                all = order * row_packs;
  const int lane = static_cast<int>(threadIdx.x % 32);
  if (packs) {
    // A lane has the same packs of each matrix, whose places are found once.
    constexpr int at_once = all < 32 ? 32 / all : 1, each = all < 32 ? 1 : all / 32;
    const int pack = lane % all, r = pack / row_packs, c = pack % row_packs * a_pack;
    const T* from[N];
    for (int k = 0; k < N; ++k) {
      from[k] = sources[k].first + lane / all * sources[k].by + pack * a_pack;
    }
    to += lane / all * N * elements;
#pragma unroll(N > 1 ? 1 : 4)
    for (int i = lane / all; i < sources[0].count; i += at_once) {
#pragma unroll
      for (int k = 0; k < N; ++k) {
        if (k == 0 || i < sources[k].count) {
#pragma unroll
          for (int j = 0; j < each; ++j) {
            copy_asynchronously<16>(to + k * elements + place_of<NT, T>(r, c, j * (32 / row_packs)),
                                    from[k] + j * 32 * a_pack);
          }
        }
        from[k] += at_once * sources[k].by;
      }
      to += at_once * N * elements;
    }
    return;
  }
  for (int k = 0; k < N; ++k) {
    const Matrices<T>& source = sources[k];
    for (int i = 0; i < source.count; ++i) {
      T* const its = to + (i * N + k) * elements;
      const T* const from = source.first + i * source.by;
      for (int e = lane; e < source.rows * n; e += 32) {
        T* const place = its + place_of<NT, T>(e / n, e % n);
        if constexpr (sizeof(T) >= 4) {
          copy_asynchronously<sizeof(T)>(place, from + e);
        } else {
          *place = from[e];
        }
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
