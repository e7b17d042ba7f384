#pragma once
// How blocks that scan neighbouring tiles of a sequence hear of each other within one kernel.
#include <scangrad/cuda/scan_monoids.cuh>

namespace scangrad::cuda {

/// Tiles come in groups of 32 and groups in supergroups of 32. Each tile publishes its product, the
/// last of a group the group's, and the last of a supergroup all up to there. What stands before a
/// tile is then the product of at most 1 + 31 + 31 of these, and always of the same ones in the
/// same order: the bits do not depend on which block is how far. (Merrill and Garland's decoupled
/// look-back, 2016, takes whatever is there already.) Nothing waits for more than products of
/// earlier tiles, and tiles are taken by ticket, so those are being worked on.
template <class M>
struct Chain {
  static constexpr int group = 32;
  unsigned* ticket = nullptr;    // null where every block scans whole sequences
  unsigned* ready = nullptr;     // (chains, slots): whether a product is there
  Segment<M>* totals = nullptr;  // (chains, slots, width): tiles', groups', supergroups'
  std::int64_t tiles = 0;        // of each chain
  int width = 1;                 // sequences of each chain; a power of two up to 32

  __host__ __device__ static std::int64_t slots(std::int64_t tiles) {
    return tiles + tiles / group + tiles / (group * group);
  }
  __device__ bool used() const { return ticket != nullptr; }
  /// The next tile, the same for all threads of the block.
  __device__ std::int64_t take() const {
    __shared__ unsigned taken;
    if (threadIdx.x == 0) taken = atomicAdd(ticket, 1u);
    __syncthreads();
    return taken;
  }

  /// What stands before `tile` of `chain`, given the tile's product `own`, in the thread's column
  /// threadIdx.x % width. By all threads of a block of at least two warps, once.
  __device__ Segment<M> before(std::int64_t chain, std::int64_t tile, const Segment<M>& own) const {
    __shared__ Segment<M> found[2][32];
    const int warp = static_cast<int>(threadIdx.x / 32), lane = static_cast<int>(threadIdx.x % 32);
    const std::int64_t in_group = tile % group, groups_before = tile / group;
    const std::int64_t in_super = groups_before % group, supers_before = groups_before / group;
    const std::int64_t first = chain * slots(tiles), first_group = first + tiles,
                       first_super = first_group + tiles / group;
    if (warp == 0) {
      if (tile + 1 < tiles) publish(first + tile, own);
      const Segment<M> near =
          product(first + tile - in_group, static_cast<int>(in_group), nothing<M>());
      if (in_group + 1 == group) publish(first_group + groups_before, combine(near, own));
      if (lane < width) found[0][lane] = near;
    } else if (warp == 1) {
      Segment<M> far = nothing<M>();
      if (supers_before > 0) {
        wait(first_super + supers_before - 1);
        far = totals[(first_super + supers_before - 1) * width + lane % width];
      }
      far = product(first_group + groups_before - in_super, static_cast<int>(in_super), far);
      if (lane < width) found[1][lane] = far;
    }
    __syncthreads();
    const Segment<M> all = combine(found[1][lane % width], found[0][lane % width]);
    if (warp == 0 && in_group + 1 == group && in_super + 1 == group) {
      publish(first_super + supers_before, combine(all, own));
    }
    return all;
  }

 private:
  __device__ void publish(std::int64_t slot, const Segment<M>& x) const {
    const int lane = static_cast<int>(threadIdx.x % 32);
    if (lane < width) totals[slot * width + lane] = x;
    __syncwarp();
    if (lane == 0) {
      asm volatile("st.release.gpu.u32 [%0], %1;" ::"l"(ready + slot), "r"(1u) : "memory");
    }
  }
  __device__ void wait(std::int64_t slot) const {
    unsigned there = 0;
    while (there == 0) {
      asm volatile("ld.acquire.gpu.u32 %0, [%1];" : "=r"(there) : "l"(ready + slot) : "memory");
    }
  }
  /// start ∘ the products in `count` < 32 slots, by a warp: a lane takes `width` of them for one
  /// column.
  __device__ Segment<M> product(std::int64_t slot, int count, const Segment<M>& start) const {
    const int lane = static_cast<int>(threadIdx.x % 32), column = lane % width;
    if (lane < count) wait(slot + lane);
    __syncwarp();
    Segment<M> x = lane < width ? start : nothing<M>();
#pragma unroll 8
    for (int i = 0; i < width; ++i) {
      const int n = lane - column + i;
      if (n < count) x = combine(x, totals[(slot + n) * width + column]);
    }
    return from_lane(scan_warp(x, width), 32 - width + column);
  }
};

/// A chain with its memory, which must live until the kernel has been started; ready to use in the
/// order of the stream.
template <class M>
struct ChainMemory {
  Tensor memory;
  Chain<M> chain;

  ChainMemory(Device device, std::int64_t chains, std::int64_t tiles, int width) {
    const std::int64_t slots = chains * Chain<M>::slots(tiles);
    constexpr std::int64_t word = sizeof(std::int64_t);
    const std::int64_t counters = ((1 + slots) * std::int64_t{sizeof(unsigned)} + word - 1) / word;
    const std::int64_t segments = slots * width * std::int64_t{sizeof(Segment<M>)} / word;
    memory = empty({counters + segments}, {DType::i64, device});
    std::int64_t* const data = memory.data<std::int64_t>();
    check_call(
        cudaMemsetAsync(data, 0, static_cast<std::size_t>(counters * word), stream(device.index)),
        "cudaMemsetAsync");
    auto* const first = reinterpret_cast<unsigned*>(data);
    chain = {first, first + 1, reinterpret_cast<Segment<M>*>(data + counters), tiles, width};
  }
};

}  // namespace scangrad::cuda
