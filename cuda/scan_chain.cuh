#pragma once
// How blocks that scan neighbouring tiles of a sequence hear of each other within one kernel.
#include <scangrad/cuda/scan_steps.cuh>

namespace scangrad::cuda {

/// A product on its way between blocks, in words of 16 bytes, each written and read as one. A word
/// says itself whether it is there, so that nothing has to be fenced, and one load is all a reader
/// waits for.
template <class M>
struct Message {
  static constexpr int words = (sizeof(typename M::Element) + 7) / 8;
  struct alignas(16) Word {
    unsigned long long part, state;  // 8 bytes of the element; 1 when there, 3 when also `fresh`
  };
  Word data[words];

  __device__ void send(const Segment<M>& x) {
    unsigned long long parts[words] = {}, state = x.fresh ? 3 : 1;
    memcpy(parts, &x.total, sizeof(x.total));
#pragma unroll
    for (int i = 0; i < words; ++i) {
      asm volatile(
          "{ .reg .b128 w; mov.b128 w, {%1, %2}; st.relaxed.gpu.global.b128 [%0], w; }" ::"l"(data +
                                                                                              i),
          "l"(parts[i]), "l"(state)
          : "memory");
    }
  }
  /// What is there now.
  __device__ Message look() const {
    Message now;
#pragma unroll
    for (int i = 0; i < words; ++i) {
      asm volatile("{ .reg .b128 w; ld.relaxed.gpu.global.b128 w, [%2]; mov.b128 {%0, %1}, w; }"
                   : "=l"(now.data[i].part), "=l"(now.data[i].state)
                   : "l"(data + i)
                   : "memory");
    }
    return now;
  }
  __device__ bool there() const {
    bool all = true;
    for (const Word& word : data) all = all && word.state != 0;
    return all;
  }
  __device__ Segment<M> segment() const {
    unsigned long long parts[words];
    for (int i = 0; i < words; ++i) parts[i] = data[i].part;
    Segment<M> x;
    memcpy(&x.total, parts, sizeof(x.total));
    x.fresh = static_cast<int>(data[0].state >> 1);
    return x;
  }
};

/// Messages are cleared by a kernel of their own, while that of the scan is being started and loads
/// its first tiles.
template <class Word>
__global__ void clear_kernel(Word* words, std::int64_t n) {
  let_next_start();
  const std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i < n) words[i] = {};
}

/// Tiles come in groups. Each tile but a group's last sends its product, and that one the product
/// of all up to there. What stands before a tile is then the product of one message of the group
/// before and those of its own group, and always of the same ones in the same order: the bits do
/// not depend on which block is how far. (Merrill and Garland's decoupled look-back, 2016, takes
/// whatever is there already.) Nothing waits for more than products of earlier tiles, which are
/// those of earlier blocks: a GPU starts the blocks of a grid in order, as CUB's scan supposes too.
template <class M>
struct Chain {
  Message<M>* messages = nullptr;  // (chains, groups, group, width), as below; null for no chain
  std::int64_t tiles = 0;          // of each chain
  int width = 1;                   // sequences of each chain
  int log_group = 0;               // of the tiles in a group

  __host__ __device__ std::int64_t groups() const { return ((tiles - 1) >> log_group) + 1; }
  __device__ bool used() const { return messages != nullptr; }

  /// all ← what stands before `tile` of `chain`, given the tile's product `own`, both of the
  /// thread's V columns; `across` and `parts` as in TileProducts. By all threads of a block, once.
  template <int V>
  __device__ void before(Segment<M> (&all)[V], std::int64_t chain, std::int64_t tile,
                         const Segment<M> (&own)[V], int across, Segment<M>* parts) const {
    wait_for_kernel_before();  // which clears the messages
    const int thread = static_cast<int>(threadIdx.x), column = thread % across * V;
    const int group = 1 << log_group, place = static_cast<int>(tile) & (group - 1);
    // A group's messages are what stands before it, and its tiles' products but the last's.
    Message<M>* const first =
        messages + (chain * groups() + (tile >> log_group)) * group * width + column;
    const bool sends = thread < across && tile + 1 < tiles, closes = place + 1 == group;
    if (sends && !closes) {
#pragma unroll
      for (int v = 0; v < V; ++v) first[(place + 1) * width + v].send(own[v]);
    }
    // Each share of the threads takes as many neighbouring messages.
    const int shares = scan_threads / across, each = place / shares + 1;
    const int begin = thread / across * each, end = min(begin + each, place + 1);
    Segment<M> x[V];
#pragma unroll
    for (int v = 0; v < V; ++v) x[v] = nothing<M>();
    for (int i = tile < group ? max(begin, 1) : begin; i < end; ++i) {
      Message<M> now[V];
#pragma unroll
      for (int v = 0; v < V; ++v) now[v] = first[i * width + v].look();
#pragma unroll
      for (int v = 0; v < V; ++v) {
        while (!now[v].there()) now[v] = first[i * width + v].look();
        x[v] = combine(x[v], now[v].segment());
      }
    }
    const TileProducts<M, V> products(x, across, parts);
#pragma unroll
    for (int v = 0; v < V; ++v) {
      all[v] = products.tile[v];
      if (sends && closes) first[group * width + v].send(combine(all[v], own[v]));
    }
  }
};

/// A chain with its memory, which must live until the kernel has been started.
template <class M>
struct ChainMemory {
  Tensor memory;
  Chain<M> chain;

  ChainMemory(Device device, std::int64_t chains, std::int64_t tiles, int width) {
    // Group after group waits for the one before. That takes as long as some 256 tiles do, of all
    // chains together.
    int log_group = 0;
    while (chains << log_group < 256 && std::int64_t{1} << log_group < tiles) ++log_group;
    chain = {nullptr, tiles, width, log_group};
    const std::int64_t bytes = chains * (chain.groups() << log_group) * width *
                               static_cast<std::int64_t>(sizeof(Message<M>));
    memory = empty({bytes}, {DType::bool_, device});
    chain.messages = static_cast<Message<M>*>(memory.raw_data());
    const std::int64_t words = bytes / static_cast<std::int64_t>(sizeof(uint4));
    clear_kernel<<<static_cast<unsigned>((words + 255) / 256), 256, 0, stream(device.index)>>>(
        reinterpret_cast<uint4*>(chain.messages), words);
  }
};

/// Starts a scan's kernel, early if it has a chain, for whose memory it waits itself.
template <class M, class... Parameters, class... Rest>
void start_scan(Device device, void (*kernel)(Parameters...), std::int64_t blocks,
                std::size_t shared_bytes, const Chain<M>& chain, const Rest&... rest) {
  check_call(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                  static_cast<int>(shared_bytes)),
             "cudaFuncSetAttribute");
  start_kernel(device, kernel, blocks, scan_threads, shared_bytes, chain.messages != nullptr,
               rest..., chain);
}

}  // namespace scangrad::cuda
