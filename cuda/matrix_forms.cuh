#pragma once
#include <scangrad/ops/matrix_form.h>
#include <scangrad/cuda/fragments.cuh>
#include <scangrad/cuda/matrix_pass.cuh>

// How the elements of a step, in shared memory, say what the state is multiplied by: each of these
// has the same functions. None writes the matrix to global memory.
namespace scangrad::cuda {

/// The elements are the matrix M.
struct Given {
  /// Whether M has a place of its own in shared memory, and a follower goes by steps; or M is made
  /// in the place of the elements, which the pass then does not see again.
  template <MatrixPass pass>
  static constexpr bool by_steps = false;
  /// Once, when the elements x of `count` steps, `most` or fewer, have arrived, `by` apart: makes
  /// of each its matrix m, `by_m` apart.
  template <int NT, int most, class T>
  __device__ static void prepare(T* /*x*/, int /*by*/, T* /*m*/, int /*by_m*/, int /*count*/,
                                 int /*n*/) {}
};

/// f(d) for the diagonals of `count` matrices, `most` or fewer, `by` apart. A lane has an element
/// of each diagonal, of several matrices side by side in a warp; d are pointers to its elements in
/// a few matrices, null where there is none, so that their chains of instructions can run beside
/// each other.
template <int NT, int most, class T, class F>
__device__ void for_diagonals(T* a, int by, int count, int n, F f) {
  constexpr int width = 8 * NT, at_once = 32 / width, all = (most + at_once - 1) / at_once;
  constexpr int groups = all < 4 ? all : 4;
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
  template <int NT, int most, class T>
  __device__ static void prepare(T* x, int by, T* /*m*/, int /*by_m*/, int count, int n) {
    for_diagonals<NT, most>(x, by, count, n, [](auto& d) {
#pragma unroll
      for (T* const its : d) {
        if (its != nullptr) *its += T(1);
      }
    });
  }
};

/// (L + D)(U + D). Backward wants the factors as well, which X is with D in place of its diagonal
/// d.
template <>
struct Makes<MatrixForm::ldu> {
  template <MatrixPass pass>
  static constexpr bool by_steps = pass == MatrixPass::backward;

  template <int NT, int most, class T>
  __device__ static void prepare(T* x, int by, T* m, int by_m, int count, int n) {
    const T inverse = T(1) / static_cast<T>(n);
    for_diagonals<NT, most>(x, by, count, n, [inverse](auto& d) {
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
    __syncwarp();
#pragma unroll 2
    for (int step = 0; step < count; ++step, x += by, m += by_m) {
      Fragment<row_tiles<NT>, NT> left = {}, product = {};
      load_into<false, 0, row_groups<NT>, Part::lower>(left, x);
      add_product<false, Part::upper>(product, left, x);
      __syncwarp();
      store_fragment(m, product);
    }
  }
  /// From the gradient d of M to that of the elements x; `memory` holds a matrix.
  /// dX below the diagonal is d(L + D) = dM (U + D)ᵀ, above it d(U + D) = (L + D)ᵀ dM, and on it,
  /// with t the half sum of both times D, t − mean t.
  template <int MT, int NT, class T, class S>
  __device__ static void pull_back(Fragment<MT, NT>& d, const T* x, S* memory, int n) {
    __syncwarp();
    store_fragment(memory, d);
    __syncwarp();
    Fragment<MT, NT> below = {}, above = {};
    add_product<true, Part::upper>(below, d, x);
    add_transposed_product<NT, Part::lower>(above, x, memory);
    double t = 0;  // of the one element of the diagonal that a lane may have
    for_each_place(below, [&](double& value, int i, int j, int u, int r, int c) {
      const double other = above.values[i][j][u];
      t = r == c ? value + other : t;
      value = r < c ? other : value;
    });
    const Lane lane = lane_of_warp();
    const int row = NT == 1 ? lane.g : lane.q / 2 * 8 + lane.g;
    t *= read_one<NT>(x, row, row) / 2;
    auto total = static_cast<float>(t);
    for (int by = 16; by > 0; by /= 2) total += __shfl_xor_sync(0xFFFFFFFFu, total, by);
    t -= static_cast<double>(total) / n;
    for_each_place(below,
                   [&](double& value, int, int, int, int r, int c) { value = r == c ? t : value; });
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

}  // namespace scangrad::cuda
