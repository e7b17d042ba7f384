// LU decompositions of small matrices in registers. A matrix of order n ≤ N has N lanes of a warp,
// a column each, and is continued by the identity. Rows are then loaded and stored by neighbouring
// lanes, the pivot of a column is found within one lane, and what the others need of its column
// comes by shuffles.
#include <scangrad/cuda/small_matrix.h>
#include <scangrad/cuda/launch.cuh>

#include <bit>

namespace scangrad::cuda {
namespace {

constexpr unsigned all_lanes = 0xFFFFFFFFu;

/// What lane `from` of a matrix has. All lanes of the warp take part, here and below.
template <int N, class T>
__device__ T of_lane(T value, int from) {
  return __shfl_sync(all_lanes, value, from, N);
}
/// In how many lanes of a matrix it is so.
template <int N>
__device__ int count_lanes(bool so) {
  const unsigned first = threadIdx.x % 32 / N * N;
  return __popc(__ballot_sync(all_lanes, so) >> first & all_lanes >> (32 - N));
}

/// P a = L U as one lane has it.
template <int N, class T>
struct Decomposition {
  T column[N];  // of L below the diagonal, where L is 1, and of U
  T pivot;      // the column's element of the diagonal
  int row;      // which one of a became row `lane` of P a
  bool odd;     // the number of row exchanges
};

/// Gaussian elimination with partial pivoting. Where a pivot is 0 the rest means nothing.
template <int N, class T>
__device__ Decomposition<N, T> decompose(const T* a, int n, int lane) {
  Decomposition<N, T> lu;
  lu.row = lane;
  lu.odd = false;
  T(&column)[N] = lu.column;
#pragma unroll
  for (int i = 0; i < N; ++i) column[i] = i < n && lane < n ? a[i * n + lane] : T(i == lane);
#pragma unroll
  for (int k = 0; k < N; ++k) {
    T largest = fabs(column[k]);
    int pivot = k;  // its row; what matters is lane k's
#pragma unroll
    for (int i = k + 1; i < N; ++i) {
      const T size = fabs(column[i]);
      pivot = size > largest ? i : pivot;
      largest = size > largest ? size : largest;
    }
    pivot = of_lane<N>(pivot, k);
    lu.odd ^= pivot != k;
    lu.row = of_lane<N>(lu.row, lane == k ? pivot : lane == pivot ? k : lane);
    const T upper = column[k];
#pragma unroll
    for (int i = k + 1; i < N; ++i) {
      column[k] = i == pivot ? column[i] : column[k];
      column[i] = i == pivot ? upper : column[i];
    }
    if (lane == k) lu.pivot = column[k];
    // The reciprocal of a subnormal number may overflow; what is divided by it is no larger.
    const T scale = fabs(column[k]) < std::numeric_limits<T>::min() ? T(0x1p64) : T(1);
    const T inverse = T(1) / (column[k] * scale);
    const T right = lane > k ? column[k] : T(0);  // of U's row k; columns before it are done
#pragma unroll
    for (int i = k + 1; i < N; ++i) {
      const T factor = of_lane<N>(column[i] * scale * inverse, k);
      column[i] = lane == k ? factor : column[i] - factor * right;
    }
  }
  return lu;
}

/// x ← U⁻¹ L⁻¹ x for one column in each lane.
template <int N, class T>
__device__ void substitute(const Decomposition<N, T>& lu, T (&x)[N]) {
#pragma unroll
  for (int k = 0; k < N; ++k) {
#pragma unroll
    for (int i = k + 1; i < N; ++i) x[i] -= of_lane<N>(lu.column[i], k) * x[k];
  }
#pragma unroll
  for (int k = N - 1; k >= 0; --k) {
    x[k] /= of_lane<N>(lu.pivot, k);
#pragma unroll
    for (int i = 0; i < k; ++i) x[i] -= of_lane<N>(lu.column[i], k) * x[k];
  }
}

/// `count` matrices of order n, one after another or all the same.
template <class T>
struct Matrices {
  const T* data;
  std::int64_t step;
};

/// out (count, n, m) ← a⁻¹ b.
template <int N, class T>
__global__ void __launch_bounds__(block_threads, 9 - std::countr_zero(N * sizeof(T)))
    solve_kernel(std::int64_t count, int n, int m, T* out, Matrices<T> a, Matrices<T> b,
                 FaultWord fault, const char* op) {
  const std::int64_t index = (std::int64_t{blockIdx.x} * block_threads + threadIdx.x) / N;
  const int lane = static_cast<int>(threadIdx.x % N);
  const bool exists = index < count;
  const std::int64_t own = exists ? index : count - 1;
  const auto lu = decompose<N>(a.data + own * a.step, n, lane);
  const bool singular = count_lanes<N>(lu.pivot == T(0)) > 0;
  if (singular && exists && lane == 0) note_fault(fault, op, nullptr, index, 0);
  const T* const right = b.data + own * b.step;
  T* const to = out + own * n * m;
  for (int first = 0; first < m; first += N) {  // one for all lanes, which shuffles count on
    const int j = first + lane;
    T x[N];
#pragma unroll
    for (int i = 0; i < N; ++i) {
      const int row = of_lane<N>(lu.row, i);
      x[i] = row < n && j < m ? right[row * m + j] : T(0);
    }
    substitute<N>(lu, x);
#pragma unroll
    for (int i = 0; i < N; ++i) {
      if (i < n && j < m && exists) to[i * m + j] = x[i];
    }
  }
}

template <int N, class T>
__global__ void __launch_bounds__(block_threads)
    slogdet_kernel(std::int64_t count, int n, T* signs, T* logs, const T* a) {
  const std::int64_t index = (std::int64_t{blockIdx.x} * block_threads + threadIdx.x) / N;
  const int lane = static_cast<int>(threadIdx.x % N);
  const auto lu = decompose<N>(a + min(index, count - 1) * n * n, n, lane);
  const bool singular = count_lanes<N>(lu.pivot == T(0)) > 0;
  const bool negative = count_lanes<N>(lu.pivot < T(0)) % 2 != lu.odd;
  const T log = reduce_lanes(N, ::log(fabs(lu.pivot)), T(0), [](T x, T y) { return x + y; });
  if (lane != 0 || index >= count) return;
  signs[index] = singular ? T(0) : negative ? T(-1) : T(1);
  logs[index] = singular ? -std::numeric_limits<T>::infinity() : log;
}

/// da (count, n, n) ← g a⁻ᵀ. A lane solves for a column of g a⁻¹, which is a row of da.
template <int N, class T>
__global__ void __launch_bounds__(block_threads, 9 - std::countr_zero(N * sizeof(T)))
    slogdet_backward_kernel(std::int64_t count, int n, bool packs, T* da, const T* a, const T* g,
                            FaultWord fault, const char* op) {
  constexpr int V = 16 / static_cast<int>(sizeof(T));
  const std::int64_t index = (std::int64_t{blockIdx.x} * block_threads + threadIdx.x) / N;
  const int lane = static_cast<int>(threadIdx.x % N);
  const bool exists = index < count;
  const std::int64_t own = exists ? index : count - 1;
  const auto lu = decompose<N>(a + own * n * n, n, lane);
  const T scale = g[own];
  const bool singular = count_lanes<N>(lu.pivot == T(0)) > 0;
  if (singular && scale != T(0) && exists && lane == 0) note_fault(fault, op, nullptr, index, 0);
  T x[N];
#pragma unroll
  for (int i = 0; i < N; ++i) x[i] = of_lane<N>(lu.row, i) == lane ? scale : T(0);
  substitute<N>(lu, x);
  if (lane >= n || !exists) return;
  T* const to = da + (own * n + lane) * n;
#pragma unroll
  for (int i = 0; i < N; i += V) {
    Pack<T, V> pack;
    for (int v = 0; v < V; ++v) pack.values[v] = scale == T(0) ? T(0) : x[i + v];
    if (packs && i < n) store_pack(to + i, pack);
    for (int v = 0; v < V && !packs; ++v) {
      if (i + v < n) to[i + v] = pack.values[v];
    }
  }
}

unsigned blocks_for(std::int64_t lanes) {
  return static_cast<unsigned>((lanes + block_threads - 1) / block_threads);
}

}  // namespace

void small_solve(const Tensor& out, const Tensor& a, const Tensor& b) {
  const std::int64_t count = out.size(0), n = out.size(1), m = out.size(2);
  const int device = out.device().index;
  const DeviceGuard guard(device);
  dispatch(TypeList<float, double>{}, out.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    with_padded_order(n, [&](auto order) {
      constexpr int N = decltype(order)::value;
      solve_kernel<N><<<blocks_for(count * N), block_threads, 0, stream(device)>>>(
          count, static_cast<int>(n), static_cast<int>(m), out.data<T>(),
          Matrices<T>{a.data<T>(), a.strides()[0]}, Matrices<T>{b.data<T>(), b.strides()[0]},
          fault_word(device), "solve");
    });
  });
  check_launch(device, std::source_location::current());
}

void small_slogdet(const Tensor& sign, const Tensor& logabsdet, const Tensor& a) {
  const std::int64_t n = a.shape().back(), count = sign.numel();
  const int device = a.device().index;
  const DeviceGuard guard(device);
  dispatch(TypeList<float, double>{}, a.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    with_padded_order(n, [&](auto order) {
      constexpr int N = decltype(order)::value;
      slogdet_kernel<N><<<blocks_for(count * N), block_threads, 0, stream(device)>>>(
          count, static_cast<int>(n), sign.data<T>(), logabsdet.data<T>(), a.data<T>());
    });
  });
  check_launch(device, std::source_location::current());
}

void small_slogdet_backward(const Tensor& da, const Tensor& a, const Tensor& g) {
  const std::int64_t n = a.shape().back(), count = g.numel();
  const int device = a.device().index;
  const DeviceGuard guard(device);
  dispatch(TypeList<float, double>{}, a.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    constexpr int V = 16 / static_cast<int>(sizeof(T));
    const bool packs = n % V == 0 && aligned<V>(da.data<T>());
    with_padded_order(n, [&](auto order) {
      constexpr int N = decltype(order)::value;
      slogdet_backward_kernel<N><<<blocks_for(count * N), block_threads, 0, stream(device)>>>(
          count, static_cast<int>(n), packs, da.data<T>(), a.data<T>(), g.data<T>(),
          fault_word(device), "solve");
    });
  });
  check_launch(device, std::source_location::current());
}

}  // namespace scangrad::cuda
