#pragma once
#include <scangrad/ops/cpu/level.h>
#include <scangrad/ops/vector_math.h>

#include <limits>

// Loops over one contiguous row, vectorised; what softmax, norms and losses are made of. `static`
// and in the level's namespace, as everything in this folder.
namespace scangrad::SCANGRAD_CPU_NAMESPACE {

/// f(r) for each of `rows` rows of n elements, on all threads.
template <class F>
static inline void parallel_over_rows(std::int64_t rows, std::int64_t n, const F& f) {
  const std::int64_t grain = std::max<std::int64_t>(1, 8192 / n);
  parallel_for(rows, grain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin; r < end; ++r) f(r);
  });
}

/// Σ f(j) for j < n.
template <class C, class F>
static inline C sum_over(std::int64_t n, const F& f) {
  C total = 0;
#pragma omp simd reduction(+ : total)
  for (std::int64_t j = 0; j < n; ++j) total += f(j);
  return total;
}

/// The largest f(j) for j < n; −∞ if there is none. NaN is passed over.
template <class C, class F>
static inline C max_over(std::int64_t n, const F& f) {
  using Limits = std::numeric_limits<C>;
  C largest = -Limits::infinity();
#pragma omp simd reduction(max : largest)
  for (std::int64_t j = 0; j < n; ++j) {
    const C value = f(j);
    largest = value > largest ? value : largest;
  }
  if (largest > Limits::lowest()) return largest;
  // The lanes of a max start from −∞ (gcc) or from the lowest finite number (clang), which may then
  // be no element.
  for (std::int64_t j = 0; j < n; ++j) {
    if (f(j) == Limits::lowest()) return Limits::lowest();
  }
  return -Limits::infinity();
}

/// f(j) for j < n.
template <class F>
static inline void for_each_in_row(std::int64_t n, const F& f) {
#pragma omp simd
  for (std::int64_t j = 0; j < n; ++j) f(j);
}

}  // namespace scangrad::SCANGRAD_CPU_NAMESPACE
