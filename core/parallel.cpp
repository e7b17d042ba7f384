#include <scangrad/core/parallel.h>

#include <omp.h>

#include <algorithm>
#include <exception>

namespace scangrad {

int num_threads() { return omp_get_max_threads(); }
void set_num_threads(int threads) { omp_set_num_threads(std::max(threads, 1)); }

namespace detail {

void parallel_run(std::int64_t n, std::int64_t grain, void* context,
                  void (*run)(void*, std::int64_t, std::int64_t)) {
  if (n <= 0) return;
  const std::int64_t blocks = (n + grain - 1) / grain;
  const int threads = static_cast<int>(std::min<std::int64_t>(num_threads(), blocks));
  if (threads <= 1 || omp_in_parallel()) return run(context, 0, n);

  std::exception_ptr error;
#pragma omp parallel num_threads(threads)
  {
    const std::int64_t rank = omp_get_thread_num(), team = omp_get_num_threads();
    const std::int64_t begin = blocks * rank / team * grain;
    const std::int64_t end = std::min(n, blocks * (rank + 1) / team * grain);
    try {
      if (begin < end) run(context, begin, end);
    } catch (...) {
#pragma omp critical(scangrad_parallel_error)
      if (!error) error = std::current_exception();
    }
  }
  if (error) std::rethrow_exception(error);
}

}  // namespace detail
}  // namespace scangrad
