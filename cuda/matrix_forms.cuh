#pragma once
#include <scangrad/ops/matrix_form.h>
#include <scangrad/cuda/fragments.cuh>

// How the elements of a step, in shared memory, say what the state is multiplied by: each of these
// has the same functions. None writes the matrix to global memory.
namespace scangrad::cuda {

/// The elements are the matrix M.
struct Given {
  /// Once, when the elements of `count` steps have arrived, `by` apart.
  template <int NT, class T>
  __device__ static void prepare(T* /*a*/, int /*by*/, int /*count*/, int /*n*/) {}
  /// y += x M, or x Mᵀ.
  template <bool transposed, int MT, int NT, class T>
  __device__ static void add_product(Fragment<MT, NT>& y, const Fragment<MT, NT>& x, const T* a) {
    cuda::add_product<transposed>(y, x, a);
  }
  /// The first rows of y, which is 0, become M or Mᵀ.
  template <bool transposed, int MT, int NT, class T>
  __device__ static void begin(Fragment<MT, NT>& y, const T* a) {
    load_into<transposed, 0, row_groups<NT>>(y, a);
  }
  /// From the gradient d of M to that of the elements; `memory` holds a matrix.
  template <int MT, int NT, class T, class S>
  __device__ static void pull_back(Fragment<MT, NT>& /*d*/, const T*, S* /*memory*/, int /*n*/) {}
};

/// f(d) for the diagonals of `count` matrices, `by` apart. A lane has an element of each diagonal,
/// of several matrices side by side in a warp; d are pointers to its elements in a few matrices,
/// null where there is none, so that their chains of instructions can run beside each other.
template <int NT, class T, class F>
__device__ void for_diagonals(T* a, int by, int count, int n, F f) {
  constexpr int width = 8 * NT, at_once = 32 / width, groups = 4;
  const int lane = static_cast<int>(threadIdx.x % 32), row = lane % width;
  for (int first = lane / width; __any_sync(0xFFFFFFFFu, first < count);
       first += groups * at_once) {
    T* d[groups];
#pragma unroll
    for (int i = 0; i < groups; ++i) {
      const int step = first + i * at_once;
      d[i] = row < n && step < count ? a + step * by + place_of<NT, T>(row, row) : nullptr;
    }
    f(d);
  }
}

template <MatrixForm form>
struct Makes;

/// X + I, in place.
template <>
struct Makes<MatrixForm::identity> : Given {
  template <int NT, class T>
  __device__ static void prepare(T* a, int by, int count, int n) {
    for_diagonals<NT>(a, by, count, n, [](auto& d) {
#pragma unroll
      for (T* const its : d) {
        if (its != nullptr) *its += T(1);
      }
    });
  }
};

/// (L + D)(U + D), not multiplied out: X with D in place of its diagonal d holds both factors.
template <>
struct Makes<MatrixForm::ldu> {
  template <int NT, class T>
  __device__ static void prepare(T* a, int by, int count, int n) {
    const T inverse = T(1) / static_cast<T>(n);
    for_diagonals<NT>(a, by, count, n, [inverse](auto& d) {
      constexpr int groups = sizeof(d) / sizeof(d[0]);
      T own[groups], total[groups];
#pragma unroll
      for (int i = 0; i < groups; ++i) own[i] = total[i] = d[i] != nullptr ? *d[i] : T(0);
#pragma unroll
      for (int lane = 4 * NT; lane > 0; lane /= 2) {
#pragma unroll
        for (T& its : total) its += __shfl_xor_sync(0xFFFFFFFFu, its, lane);
      }
#pragma unroll
      for (int i = 0; i < groups; ++i) {
        if (d[i] != nullptr) *d[i] = exp((own[i] - total[i] * inverse) / 2);
      }
    });
  }
  template <bool transposed, int MT, int NT, class T>
  __device__ static void add_product(Fragment<MT, NT>& y, const Fragment<MT, NT>& x, const T* a) {
    Fragment<MT, NT> half = {};
    cuda::add_product<transposed, transposed ? Part::upper : Part::lower>(half, x, a);
    cuda::add_product<transposed, transposed ? Part::lower : Part::upper>(y, half, a);
  }
  template <bool transposed, int MT, int NT, class T>
  __device__ static void begin(Fragment<MT, NT>& y, const T* a) {
    Fragment<MT, NT> half = {};
    load_into<transposed, 0, row_groups<NT>, transposed ? Part::upper : Part::lower>(half, a);
    cuda::add_product<transposed, transposed ? Part::lower : Part::upper>(y, half, a);
  }
  /// dX below the diagonal is d(L + D) = dM (U + D)ᵀ, above it d(U + D) = (L + D)ᵀ dM, and on it,
  /// with t the half sum of both times D, t − mean t.
  template <int MT, int NT, class T, class S>
  __device__ static void pull_back(Fragment<MT, NT>& d, const T* a, S* memory, int n) {
    __syncwarp();
    store_fragment(memory, d);
    __syncwarp();
    Fragment<MT, NT> below = {}, above = {};
    cuda::add_product<true, Part::upper>(below, d, a);
    add_transposed_product<NT, Part::lower>(above, a, memory);
    double total = 0;
    for_each_place(below, [&](double& value, int i, int j, int u, int r, int c) {
      if (r == c) {
        value = (value + above.values[i][j][u]) / 2 * read_one<NT>(a, r, r);
        total += value;
      } else if (r < c) {
        value = above.values[i][j][u];
      }
    });
    for (int lane = 16; lane > 0; lane /= 2) total += __shfl_xor_sync(0xFFFFFFFFu, total, lane);
    for_each_place(below, [&](double& value, int, int, int, int r, int c) {
      if (r == c) value -= total / n;
    });
    d = below;
  }

 private:
  /// f(values[i][j][u], i, j, u, row, column).
  template <int MT, int NT, class F>
  __device__ static void for_each_place(Fragment<MT, NT>& x, F f) {
    const Lane lane = lane_of_warp();
#pragma unroll
    for (int i = 0; i < row_groups<NT>; ++i) {
#pragma unroll
      for (int j = 0; j < NT; ++j) {
#pragma unroll
        for (int u = 0; u < 2; ++u) {
          f(x.values[i][j][u], i, j, u, 8 * i + lane.g, column_of<NT>(j, u, lane.q));
        }
      }
    }
  }
};

/// (L + D)(U + D) multiplied out, in place: where nobody asks for the factors, one product a step
/// instead of two wherever the matrix is used.
struct LduProduct : Given {
  template <int NT, class T>
  __device__ static void prepare(T* a, int by, int count, int n) {
    using Factors = Makes<MatrixForm::ldu>;
    Factors::prepare<NT>(a, by, count, n);
    __syncwarp();
#pragma unroll 2
    for (int step = 0; step < count; ++step, a += by) {
      Fragment<row_tiles<NT>, NT> m = {};
      Factors::begin<false>(m, a);
      __syncwarp();
      store_fragment(a, m);
    }
  }
};

}  // namespace scangrad::cuda
