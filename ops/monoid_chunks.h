#pragma once
// The scan of a user's monoid (ops/monoid_scan.h) on CUDA: a thread a sequence, or a chunk of one.
#include <scangrad/core/backend.h>
#include <scangrad/core/error.h>
#include <scangrad/ops/monoid_sequences.h>
#include <scangrad/ops/scan.h>

#include <algorithm>
#include <string>

#ifdef __CUDACC__
namespace scangrad::monoid_scan_kernels {

// Few long sequences are cut into chunks, some √T of √T steps, with a thread each: what a chunk
// does to any state that enters it; the states that enter, chunk by chunk; and the walk from there.

struct Chunks {
  std::int64_t length = 32, number;

  explicit Chunks(std::int64_t count) {
    while (length * length < count) length *= 2;
    number = (count + length - 1) / length;
  }
  /// By shape alone, so that bits do not depend on the device.
  static bool pay(const Tensor& states, ScanPlan plan) {
    return plan.algorithm != ScanAlgorithm::sequential && states.shape()[1] >= 256 &&
           states.shape()[0] * states.shape()[2] <= 2048;
  }
  SCANGRAD_FN std::int64_t begin(std::int64_t chunk) const { return chunk * length; }
  SCANGRAD_FN std::int64_t end(std::int64_t chunk, std::int64_t count) const {
    return chunk + 1 < number ? begin(chunk + 1) : count;
  }
};

/// Forward, a chunk multiplies what enters by the product of its elements.
template <class M, class T>
struct ChunkedForward {
  using C = compute_type<T>;
  static constexpr int memory = M::size + 1;  // values a chunk: the product, then what enters
  static constexpr int maps = 1;              // threads a chunk that find it
  ForwardSequence<M, T> sequence;
  Chunks chunks;
  C* data;  // (sequences, chunks, memory)

  SCANGRAD_FN void map(std::int64_t s, std::int64_t chunk, int) const {
    C* const product = data + (s * chunks.number + chunk) * memory;
    C state[M::size];
    M::identity(state);
    const bool fresh = sequence.walk(state, s, chunks.begin(chunk),
                                     chunks.end(chunk, sequence.steps.count), false);
    copy_block(product, state, M::size);
    product[M::size] = fresh ? C(1) : C(0);
  }
  SCANGRAD_FN void carry(std::int64_t s) const {
    C state[M::size], product[M::size], next[M::size];
    sequence.start(state, s);
    for (std::int64_t chunk = 0; chunk < chunks.number; ++chunk) {
      C* const at = data + (s * chunks.number + chunk) * memory;
      copy_block(product, at, M::size);
      copy_block(at, state, M::size);
      M::combine(next, state, product);
      copy_block(state, at[M::size] != C(0) ? product : next, M::size);
    }
  }
  SCANGRAD_FN void walk(std::int64_t s, std::int64_t chunk) const {
    C state[M::size];
    copy_block(state, data + (s * chunks.number + chunk) * memory, M::size);
    sequence.walk(state, s, chunks.begin(chunk), chunks.end(chunk, sequence.steps.count), true);
    if (chunk + 1 == chunks.number) sequence.finish(state, s);
  }
};

/// Backward, the cotangent before a chunk is J q + c of the one q after it, adjoints being linear.
/// A thread finds each row of Jᵀ, from a unit vector, and one more c, from 0.
template <class M, class T>
struct ChunkedBackward {
  using C = compute_type<T>;
  static constexpr int memory = (M::size + 1) * M::size + 1;
  static constexpr int maps = M::size + 1;
  BackwardSequence<M, T> sequence;
  Chunks chunks;
  C* data;

  SCANGRAD_FN void map(std::int64_t s, std::int64_t chunk, int row) const {
    C* const at = data + (s * chunks.number + chunk) * memory;
    const std::int64_t begin = chunks.begin(chunk), end = chunks.end(chunk, sequence.steps.count);
    C q[M::size];
    for (int i = 0; i < M::size; ++i) q[i] = i == row ? C(1) : C(0);
    sequence.walk(q, s, begin, end, row == M::size, false);
    copy_block(at + row * M::size, q, M::size);
    if (row < M::size) return;
    bool cut = false;
    for (std::int64_t k = begin; k < end; ++k) cut = cut || sequence.steps.cut(s, k);
    at[memory - 1] = cut ? C(1) : C(0);
  }
  SCANGRAD_FN void carry(std::int64_t s) const {
    C q[M::size], next[M::size];
    sequence.start(q, s);
    for (std::int64_t chunk = chunks.number - 1; chunk >= 0; --chunk) {
      C* const at = data + (s * chunks.number + chunk) * memory;
      copy_block(next, at + M::size * M::size, M::size);
      for (int row = 0; at[memory - 1] == C(0) && row < M::size; ++row) {
        for (int i = 0; i < M::size; ++i) next[i] += q[row] * at[row * M::size + i];
      }
      copy_block(at, q, M::size);
      copy_block(q, next, M::size);
    }
  }
  SCANGRAD_FN void walk(std::int64_t s, std::int64_t chunk) const {
    C q[M::size];
    copy_block(q, data + (s * chunks.number + chunk) * memory, M::size);
    sequence.walk(q, s, chunks.begin(chunk), chunks.end(chunk, sequence.steps.count), true, true);
    if (chunk == 0) sequence.finish(q, s);
  }
};

/// The three steps as functions of a thread's number.
template <class Chunked>
struct MapChunks {
  Chunked chunked;
  SCANGRAD_FN void operator()(std::int64_t i) const {
    const std::int64_t chunk = i / Chunked::maps;
    chunked.map(chunk / chunked.chunks.number, chunk % chunked.chunks.number,
                static_cast<int>(i % Chunked::maps));
  }
};
template <class Chunked>
struct CarryChunks {
  Chunked chunked;
  SCANGRAD_FN void operator()(std::int64_t s) const { chunked.carry(s); }
};
template <class Chunked>
struct WalkChunks {
  Chunked chunked;
  SCANGRAD_FN void operator()(std::int64_t i) const {
    chunked.walk(i / chunked.chunks.number, i % chunked.chunks.number);
  }
};

template <class Sequence>
__global__ void each_sequence(std::int64_t count, Sequence sequence) {
  const std::int64_t step = std::int64_t{gridDim.x} * blockDim.x;
  std::int64_t s = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  for (; s < count; s += step) sequence(s);
}

/// A thread a sequence, or a chunk of one.
struct OnCuda {
  template <class Sequence>
  static void each(Device device, std::int64_t count, const Sequence& sequence) {
    int current = 0;
    cudaGetDevice(&current);
    cudaSetDevice(device.index);
    constexpr int threads = 64;
    const std::int64_t blocks = std::min<std::int64_t>((count + threads - 1) / threads, 1 << 20);
    each_sequence<<<static_cast<unsigned>(blocks), threads, 0,
                    static_cast<cudaStream_t>(backend(device).stream(device.index))>>>(count,
                                                                                       sequence);
    const cudaError_t status = cudaGetLastError();
    cudaSetDevice(current);
    if (status != cudaSuccess) {
      throw DeviceError(std::string("monoid_scan: ") + cudaGetErrorString(status));
    }
  }
  template <template <class, class> class Chunked, class M, class T, class Sequence>
  static void run(const Tensor& states, ScanPlan plan, const Sequence& sequence) {
    using InChunks = Chunked<M, T>;
    using C = compute_type<T>;
    const Device device = states.device();
    const std::int64_t sequences = states.shape()[0] * states.shape()[2];
    if (!Chunks::pay(states, plan)) return each(device, sequences, sequence);
    const Chunks chunks(states.shape()[1]);
    const std::int64_t all = sequences * chunks.number;
    const Tensor memory = empty({all * InChunks::memory}, {dtype_of<C>, device});
    const InChunks chunked{sequence, chunks, memory.data<C>()};
    each(device, all * InChunks::maps, MapChunks<InChunks>{chunked});
    each(device, sequences, CarryChunks<InChunks>{chunked});
    each(device, all, WalkChunks<InChunks>{chunked});
  }
  /// A ScanKernel.
  template <class M>
  static void scan(const Tensor& states, const Tensor& last, const Tensor& x, const Tensor&,
                   const Tensor& initial, const Tensor& cuts, ScanPlan plan) {
    dispatch(FloatTypes{}, states.dtype(), [&](auto type) {
      using T = typename decltype(type)::type;
      run<ChunkedForward, M, T>(states, plan,
                                ForwardSequence<M, T>{{states, cuts, plan},
                                                      states.data<T>(),
                                                      last.data<T>(),
                                                      x.data<T>(),
                                                      data_of<T>(initial)});
    });
  }
  template <class M, class T>
  static void scan_backward(const Tensor& states, ScanPlan plan,
                            const BackwardSequence<M, T>& sequence) {
    run<ChunkedBackward, M, T>(states, plan, sequence);
  }
};

}  // namespace scangrad::monoid_scan_kernels
#endif
