#pragma once
#include <cstdint>

namespace scangrad {

/// Threads that `parallel_for` uses: OpenMP's, so OMP_NUM_THREADS sets them.
int num_threads();
void set_num_threads(int threads);

namespace detail {
void parallel_run(std::int64_t n, std::int64_t grain, void* context,
                  void (*run)(void*, std::int64_t, std::int64_t));
}

/// Calls `body(begin, end)` on disjoint ranges that cover [0, n), each (but the last) of a multiple
/// of `grain` items, on all threads. An exception in a body is rethrown here; calls inside a
/// parallel region run on the calling thread.
/// `static`: CPU kernels are compiled once per instruction set, and must not share this code.
template <class Body>
static inline void parallel_for(std::int64_t n, std::int64_t grain, const Body& body) {
  detail::parallel_run(n, grain, const_cast<Body*>(&body),
                       [](void* context, std::int64_t begin, std::int64_t end) {
                         (*static_cast<const Body*>(context))(begin, end);
                       });
}

}  // namespace scangrad
