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

/// f(0) ∘ f(1) ∘ … in 32 strands that are joined at the end: vectors and independent chains of
/// additions, and the same rounding at every vector width. (A plain `omp simd reduction` of a
/// maximum, or of anything with a choice in it, is not a vector instruction.)
template <class C, class F, class Combine>
static inline C reduce_over(std::int64_t n, C identity, const F& f, const Combine& combine) {
  constexpr std::int64_t strands = 32;
  C partial[strands];
  for (C& p : partial) p = identity;
  std::int64_t j = 0;
  for (; j + strands <= n; j += strands) {
#pragma omp simd
    for (std::int64_t k = 0; k < strands; ++k) partial[k] = combine(partial[k], f(j + k));
  }
  for (std::int64_t k = 0; j < n; ++j, ++k) partial[k] = combine(partial[k], f(j));
  for (std::int64_t half = strands / 2; half > 0; half /= 2) {
    for (std::int64_t k = 0; k < half; ++k) partial[k] = combine(partial[k], partial[k + half]);
  }
  return partial[0];
}

/// Σ f(j) for j < n.
template <class C, class F>
static inline C sum_over(std::int64_t n, const F& f) {
  return reduce_over(n, C(0), f, [](C a, C b) { return a + b; });
}

/// The largest f(j) for j < n; −∞ if there is none. NaN is passed over.
template <class C, class F>
static inline C max_over(std::int64_t n, const F& f) {
  return reduce_over(n, -std::numeric_limits<C>::infinity(), f,
                     [](C a, C b) { return b > a ? b : a; });
}

/// f(j) for j < n.
template <class F>
static inline void for_each_in_row(std::int64_t n, const F& f) {
#pragma omp simd
  for (std::int64_t j = 0; j < n; ++j) f(j);
}

}  // namespace scangrad::SCANGRAD_CPU_NAMESPACE
