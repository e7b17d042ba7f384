#pragma once
#include <scangrad/cuda/fragments.cuh>

// How a block of a cluster hands 16 rows of a state to the next one: a warp stores them straight
// into the other's shared memory, where a barrier counts the bytes that arrive (sm_90). By way of
// global memory it would take ten times as long, since a multiprocessor's loads wait in line behind
// all that it has asked for before.
namespace scangrad::cuda {

// ---- barriers in shared memory, by their addresses, that count the bytes that arrive

#if __CUDA_ARCH__ >= 900
__device__ inline void initialise_barrier(unsigned barrier) {
  asm volatile("mbarrier.init.shared.b64 [%0], 1;" ::"r"(barrier) : "memory");
}
/// By one thread for each phase, whether or not some have arrived.
__device__ inline void expect_bytes(unsigned barrier, int count) {
  asm volatile("mbarrier.arrive.expect_tx.shared.b64 _, [%0], %1;" ::"r"(barrier), "r"(count)
               : "memory");
}
/// By all threads of a warp, until the bytes of the phase are there.
__device__ inline void await_bytes(unsigned barrier, unsigned phase) {
  unsigned there = 0;
  while (there == 0) {
    asm volatile(
        "{ .reg .pred p; mbarrier.try_wait.parity.shared.b64 p, [%1], %2; selp.u32 %0, 1, 0, p; }"
        : "=r"(there)
        : "r"(barrier), "r"(phase % 2)
        : "memory");
  }
  __syncwarp();
}
/// One thread has the copy engine fetch what lies in global memory, 16 bytes or a multiple of them:
/// that does not wait in line behind what the multiprocessor's threads have asked for.
__device__ inline void copy_in_bulk(unsigned shared, const void* global, int bytes,
                                    unsigned barrier) {
  asm volatile(
      "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::
          "r"(shared),
      "l"(__cvta_generic_to_global(global)), "r"(bytes), "r"(barrier)
      : "memory");
}
/// After a thread has read or written shared memory that copies in bulk are to overwrite.
__device__ inline void leave_to_copies() {
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}
#endif

/// Where the rows arrive that a warp is given, in shared memory: two places, used in turn, each
/// with its barrier.
struct Handover {
  unsigned places, barriers;  // addresses: (2, pieces, lanes) of 16 bytes; (2) of 8

  /// Where a lane gives its pieces in another block: the first of them, and the barrier.
  struct Place {
    unsigned first, barrier;
  };
#if __CUDA_ARCH__ >= 900
  __device__ unsigned barrier(unsigned number) const { return barriers + 8 * (number % 2); }
  template <int pieces>
  __device__ unsigned place(unsigned number) const {
    return places + (number % 2 * pieces * 32 + threadIdx.x % 32) * 16;
  }

  __device__ void initialise() const {
    for (unsigned i = 0; i < 2; ++i) initialise_barrier(barrier(i));
  }
  /// For the number-th pieces that the same warp of block `rank` takes.
  template <int pieces>
  __device__ Place place_in(unsigned rank, unsigned number) const {
    const auto there = [rank](unsigned address) {
      unsigned result;
      asm("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(result) : "r"(address), "r"(rank));
      return result;
    };
    return {there(place<pieces>(number)), there(barrier(number))};
  }
  template <int pieces>
  __device__ static void give(const double (&values)[pieces][2], Place to) {
#pragma unroll
    for (int i = 0; i < pieces; ++i) {
      asm volatile(
          "st.async.shared::cluster.mbarrier::complete_tx::bytes.v2.f64 [%0], {%1, %2}, [%3];" ::
              "r"(to.first + i * 32 * 16),
          "d"(values[i][0]), "d"(values[i][1]), "r"(to.barrier)
          : "memory");
    }
  }
  /// Once for each number, by one warp, whether or not pieces have arrived.
  template <int pieces>
  __device__ void expect(unsigned number) const {
    if (threadIdx.x % 32 == 0) expect_bytes(barrier(number), pieces * 32 * 16);
  }
  /// The lane's pieces, when they are there.
  template <int pieces>
  __device__ void take(double (&values)[pieces][2], unsigned number) const {
    await_bytes(barrier(number), number / 2);
#pragma unroll
    for (int i = 0; i < pieces; ++i) {
      asm volatile("ld.shared.v2.f64 {%0, %1}, [%2];"
                   : "=d"(values[i][0]), "=d"(values[i][1])
                   : "r"(place<pieces>(number) + i * 32 * 16));
    }
  }
#endif
};

/// All threads of a cluster.
__device__ inline void meet_cluster() {
#if __CUDA_ARCH__ >= 900
  asm volatile("barrier.cluster.arrive; barrier.cluster.wait;" ::: "memory");
#endif
}

}  // namespace scangrad::cuda
