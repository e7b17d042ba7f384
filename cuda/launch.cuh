#pragma once
#include <scangrad/core/strided.h>
#include <scangrad/cuda/runtime.h>
#include <scangrad/ops/kernels.h>

#include <algorithm>
#include <limits>
#include <type_traits>

// How kernels of this folder are started: a function of an index, or of a row, as a device lambda
// ([=] __device__), run for all of them. What one block computes together is here too.
namespace scangrad::cuda {

inline constexpr int block_threads = 256;

// A kernel that is started `early` comes while the one before it in the stream is at work, from
// where that lets it; what it does before it waits for that one's end is for free. GPUs before
// Hopper run one after the other.

__device__ inline void let_next_start() {
#if __CUDA_ARCH__ >= 900
  cudaTriggerProgrammaticLaunchCompletion();
#endif
}
__device__ inline void wait_for_kernel_before() {
#if __CUDA_ARCH__ >= 900
  cudaGridDependencySynchronize();
#endif
}
template <class... Parameters, class... Arguments>
void start_kernel(Device device, void (*kernel)(Parameters...), std::int64_t blocks, int threads,
                  std::size_t shared_bytes, bool early, const Arguments&... arguments) {
  const DeviceGuard guard(device.index);
  cudaFuncAttributes compiled;
  check_call(cudaFuncGetAttributes(&compiled, kernel), "cudaFuncGetAttributes");
  cudaLaunchAttribute attribute = {};
  attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  attribute.val.programmaticStreamSerializationAllowed = 1;
  cudaLaunchConfig_t launch = {};
  launch.gridDim = dim3(static_cast<unsigned>(blocks));
  launch.blockDim = dim3(static_cast<unsigned>(threads));
  launch.dynamicSmemBytes = shared_bytes;
  launch.stream = stream(device.index);
  launch.attrs = &attribute;
  // Code for GPUs before Hopper does not wait.
  launch.numAttrs = early && compiled.ptxVersion >= 90 ? 1 : 0;
  check_call(cudaLaunchKernelEx(&launch, kernel, arguments...), "cudaLaunchKernelEx");
  check_launch(device.index, std::source_location::current());
}

template <class F>
__global__ void each_kernel(std::int64_t n, F f) {
  const std::int64_t step = std::int64_t{gridDim.x} * blockDim.x;
  for (std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < n; i += step) f(i);
}

/// f(i) for i < n.
template <class F>
void for_each(Device device, std::int64_t n, const F& f,
              const std::source_location& where = std::source_location::current()) {
  const DeviceGuard guard(device.index);
  const std::int64_t blocks = (n + block_threads - 1) / block_threads;
  const std::int64_t most = std::int64_t{32} * multiprocessors(device.index);
  each_kernel<<<static_cast<unsigned>(std::min(blocks, most)), block_threads, 0,
                stream(device.index)>>>(n, f);
  check_launch(device.index, where);
}

/// One of CUB's algorithms, run(memory, bytes), which without memory only says how much it wants.
template <class Run>
void call_cub(Device device, const char* what, const Run& run) {
  std::size_t size = 0;
  check_call(run(nullptr, size), what);
  const Tensor memory = empty({static_cast<std::int64_t>(size) + 1}, {DType::bool_, device});
  check_call(run(memory.raw_data(), size), what);
}

template <class F>
__global__ void __launch_bounds__(block_threads) rows_kernel(std::int64_t rows, F f) {
  for (std::int64_t r = blockIdx.x; r < rows; r += gridDim.x) f(r);
}

/// f(r) for r < rows, each by a block of `block_threads` threads.
template <class F>
void for_each_row(Device device, std::int64_t rows, const F& f,
                  const std::source_location& where = std::source_location::current()) {
  const DeviceGuard guard(device.index);
  rows_kernel<<<static_cast<unsigned>(std::min<std::int64_t>(rows, 1 << 20)), block_threads, 0,
                stream(device.index)>>>(rows, f);
  check_launch(device.index, where);
}

/// value ∘ value ∘ … over the threads of a block, for all of them; always in the same order.
template <class C, class Combine>
__device__ C block_reduce(C value, C identity, Combine combine) {
  __shared__ C parts[block_threads / 32];
  for (int lane = 16; lane > 0; lane /= 2) {
    value = combine(value, static_cast<C>(__shfl_xor_sync(0xFFFFFFFFu, value, lane)));
  }
  __syncthreads();  // what an earlier reduction left has been read
  if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = value;
  __syncthreads();
  C total = identity;
  for (int i = 0; i < block_threads / 32; ++i) total = combine(total, parts[i]);
  return total;
}

template <class F>
__global__ void __launch_bounds__(block_threads) lanes_kernel(int lanes, F f) {
  const int shift = __ffs(lanes) - 1, thread = static_cast<int>(threadIdx.x);  // no division
  f(std::int64_t{blockIdx.x} * (block_threads >> shift) + (thread >> shift), thread & (lanes - 1));
}

/// f(r, lane) by `lanes` threads for each row: 1, 2, 4 … 32 neighbours in a warp, or a block. It is
/// called for some r ≥ rows too, so that whole blocks take part in reductions.
template <class F>
void for_each_row_lane(Device device, std::int64_t rows, int lanes, const F& f,
                       const std::source_location& where = std::source_location::current()) {
  const DeviceGuard guard(device.index);
  const std::int64_t a_block = block_threads / lanes;
  lanes_kernel<<<static_cast<unsigned>((rows + a_block - 1) / a_block), block_threads, 0,
                 stream(device.index)>>>(lanes, f);
  check_launch(device.index, where);
}

/// value ∘ value ∘ … over the lanes of a row, for all of them; always in the same order. All
/// threads of the block call it.
template <class C, class Combine>
__device__ C reduce_lanes(int lanes, C value, C identity, Combine combine) {
  if (lanes == block_threads) return block_reduce(value, identity, combine);
#pragma unroll
  for (int lane = 16; lane > 0; lane /= 2) {
    const C other = __shfl_xor_sync(0xFFFFFFFFu, value, lane);
    if (lane < lanes) value = combine(value, other);
  }
  return value;
}

/// Σ f(j) for j < n by the threads of a block, for all of them.
template <class C, class F>
__device__ C sum_over(std::int64_t n, F f) {
  C total = 0;
  for (std::int64_t j = threadIdx.x; j < n; j += block_threads) total += f(j);
  return block_reduce(total, C(0), [](C a, C b) { return a + b; });
}
/// The largest f(j) for j < n; −∞ if there is none. NaN is passed over.
template <class C, class F>
__device__ C max_over(std::int64_t n, F f) {
  constexpr C nothing = -std::numeric_limits<C>::infinity();
  C largest = nothing;
  for (std::int64_t j = threadIdx.x; j < n; j += block_threads) {
    const C value = f(j);
    largest = value > largest ? value : largest;
  }
  return block_reduce(largest, nothing, [](C a, C b) { return b > a ? b : a; });
}
/// f(j) for j < n, shared among the threads of a block.
template <class F>
__device__ void for_each_in_row(std::int64_t n, F f) {
  for (std::int64_t j = threadIdx.x; j < n; j += block_threads) f(j);
}

template <class Index, int N>
__device__ void add_offsets(const StridedLoop<N>& loop, Index i, std::int64_t (&at)[N]) {
  for (int dim = loop.rank - 1; dim > 0; --dim) {
    const Index size = static_cast<Index>(loop.sizes[dim]), rest = i / size,
                index = i - rest * size;
    for (int k = 0; k < N; ++k) at[k] += index * loop.strides[k][dim];
    i = rest;
  }
  for (int k = 0; k < N; ++k) at[k] += i * loop.strides[k][0];
}
/// Where element i of a loop lies in operand k.
template <int N>
__device__ void offsets_of(const StridedLoop<N>& loop, std::int64_t i, std::int64_t (&at)[N]) {
  for (int k = 0; k < N; ++k) at[k] = 0;
  if (loop.numel <= std::numeric_limits<std::uint32_t>::max()) {  // division is much cheaper
    add_offsets(loop, static_cast<std::uint32_t>(i), at);
  } else {
    add_offsets(loop, i, at);
  }
}

/// N adjacent elements that are loaded and stored together, 16 bytes at a time.
template <class T, int N>
struct alignas(N * sizeof(T) < 16 ? N * sizeof(T) : 16) Pack {
  T values[N];
};
/// Elements of a pack in memory, where `aligned` holds.
template <int N, class T>
__device__ Pack<T, N> load_pack(const T* from) {
  return *reinterpret_cast<const Pack<T, N>*>(from);
}
template <int N, class T>
__device__ void store_pack(T* to, const Pack<T, N>& pack) {
  *reinterpret_cast<Pack<T, N>*>(to) = pack;
}
/// The same of what this kernel does not read, so that caches keep the rest rather.
template <int N, class T>
__device__ void stream_pack(T* to, const Pack<T, N>& pack) {
  constexpr std::size_t bytes = sizeof(Pack<T, N>);
  using Words =
      std::conditional_t<bytes == 4, unsigned, std::conditional_t<bytes == 8, uint2, uint4>>;
  static_assert(bytes % sizeof(Words) == 0);
#pragma unroll
  for (std::size_t i = 0; i < bytes / sizeof(Words); ++i) {
    __stcs(reinterpret_cast<Words*>(to) + i, reinterpret_cast<const Words*>(&pack)[i]);
  }
}
/// Element v of a pack, v being known to the compiler: one instruction of bf16 too.
template <class T, int N>
__device__ compute_type<T> element(const Pack<T, N>& pack, int v) {
  if constexpr (std::is_same_v<T, bfloat16> && N % 2 == 0) {
    std::uint32_t pair;
    memcpy(&pair, &pack.values[v / 2 * 2], sizeof pair);
    return __uint_as_float(v % 2 == 0 ? pair << 16 : pair & 0xFFFF0000u);
  } else {
    return static_cast<compute_type<T>>(pack.values[v]);
  }
}
/// Whether packs of N may begin at `data`; nothing at null is never read.
template <int N, class T>
bool aligned(const T* data) {
  return reinterpret_cast<std::uintptr_t>(data) % alignof(Pack<T, N>) == 0;
}

/// N operands of one type.
template <class T, int N>
struct Operands {
  const T* data[N];
};

/// The data of a tensor that may be left out.
template <class T>
T* data_or_null(const Tensor& t) {
  return t.defined() ? t.data<T>() : nullptr;
}

/// Notes the first bad index.
__device__ inline void note_fault(const FaultWord& word, const char* op, const char* unit,
                                  std::int64_t index, std::int64_t limit) {
  if (atomicCAS(word.claimed, 0, 1) != 0) return;
  *word.fault = {1, op, unit, index, limit};
}

}  // namespace scangrad::cuda
