#pragma once
#include <scangrad/ops/matrix_form.h>
#include <scangrad/cuda/fragments.cuh>

// How the elements of a step, in shared memory, say what the state is multiplied by: each of these
// has the same functions, and all but `Given` never write the matrix anywhere else.
namespace scangrad::cuda {

/// The elements are the matrix M.
struct Given {
  /// Once, when the elements have arrived.
  template <int NT, class T>
  __device__ static void prepare(T*, int /*n*/) {}
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

template <MatrixForm form>
struct Makes;

/// X + I, in place.
template <>
struct Makes<MatrixForm::identity> : Given {
  template <int NT, class T>
  __device__ static void prepare(T* a, int n) {
    const int i = static_cast<int>(threadIdx.x % 32);
    if (i < n) a[place_of<NT, T>(i, i)] += T(1);
  }
};

/// (L + D)(U + D), not multiplied out: X with D in place of its diagonal d holds both factors.
template <>
struct Makes<MatrixForm::ldu> {
  template <int NT, class T>
  __device__ static void prepare(T* a, int n) {
    const int i = static_cast<int>(threadIdx.x % 32);
    const T d = i < n ? a[place_of<NT, T>(i, i)] : T(0);
    T total = d;
    for (int lane = 16; lane > 0; lane /= 2) total += __shfl_xor_sync(0xFFFFFFFFu, total, lane);
    if (i < n) a[place_of<NT, T>(i, i)] = exp((d - total / static_cast<T>(n)) / 2);
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

}  // namespace scangrad::cuda
