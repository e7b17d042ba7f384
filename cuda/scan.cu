// Scans of matrices of any order, as plainly as can be: a block a sequence, which walks its steps
// one after another. Orders up to 32 go to matrix_scan.cuh instead, unless sequences are very
// short.
#include <scangrad/cuda/families.h>
#include <scangrad/cuda/matrix_scan.h>
#include <scangrad/ops/scan_functors.h>
#include <scangrad/cuda/scan_layout.cuh>

namespace scangrad::cuda {
namespace {

/// Sizes of a matrix scan: states (rows, n), elements' linear part (n, n).
struct MatrixSizes {
  std::int64_t rows, n;
  std::int64_t state() const { return rows * n; }
  std::int64_t element() const { return n * n; }
};
MatrixSizes sizes_of(const Tensor& states) {
  return {states.shape()[states.rank() - 2], states.shape().back()};
}

/// H ← H A + B, from the initial state or, without, I where `product`, else 0.
template <bool product, class T>
void matrix_scan_typed(const Tensor& states, const Tensor& last, const Tensor& a, const Tensor& b,
                       const Tensor& initial, const Tensor& cuts, ScanPlan plan) {
  using C = compute_type<T>;
  const Layout layout(states, cuts, plan);
  const MatrixSizes sizes = sizes_of(states);
  const std::int64_t n = sizes.n, state = sizes.state(), element = sizes.element();
  const Tensor scratch = empty({layout.sequences(), 2, state}, {dtype_of<C>, states.device()});
  C* const carried = scratch.data<C>();
  T* const h = states.data<T>();
  T* const end = last.data<T>();
  const T* const pa = a.data<T>();
  const T* const pb = data_or_null<T>(b);
  const T* const first = data_or_null<T>(initial);
  const bool exclusive = plan.exclusive;
  for_each_row(states.device(), layout.sequences(), [=] __device__(std::int64_t s) {
    C* current = carried + 2 * s * state;
    C* next = current + state;
    for_each_in_row(state, [=](std::int64_t e) {
      current[e] = first != nullptr ? C(first[s * state + e]) : C(product && e / n == e % n);
    });
    __syncthreads();
    for (std::int64_t k = 0; k < layout.count; ++k) {
      const std::int64_t at = layout.at(s, k);
      const T* const m = pa + at * element;
      if (layout.cut(s, k)) {
        for_each_in_row(state, [=](std::int64_t e) { current[e] = C(product && e / n == e % n); });
        __syncthreads();
      }
      for_each_in_row(state, [=](std::int64_t e) {
        const C* const row = current + e / n * n;
        C total = pb != nullptr ? C(pb[at * state + e]) : C(0);
        for (std::int64_t l = 0; l < n; ++l) total += row[l] * C(m[l * n + e % n]);
        next[e] = total;
        h[at * state + e] = static_cast<T>(exclusive ? current[e] : total);
      });
      __syncthreads();
      C* const done = current;
      current = next;
      next = done;
    }
    for_each_in_row(state,
                    [=](std::int64_t e) { end[s * state + e] = static_cast<T>(current[e]); });
  });
}

template <bool product>
void matrix_scan(const Tensor& states, const Tensor& last, const Tensor& a, const Tensor& b,
                 const Tensor& initial, const Tensor& cuts, ScanPlan plan) {
  if (fit_in_tiles(states)) return scan_in_tiles(states, last, a, b, initial, cuts, plan);
  dispatch(FloatTypes{}, states.dtype(), [&](auto tag) {
    matrix_scan_typed<product, typename decltype(tag)::type>(states, last, a, b, initial, cuts,
                                                             plan);
  });
}

/// H ← H M as 2^exponent times a mantissa: a ScaledScanKernel.
template <class T>
void scaled_scan_typed(const Tensor& states, const Tensor& exponents, const Tensor& last,
                       const Tensor& last_exponent, const Tensor& m, const Tensor& initial,
                       const Tensor& initial_exponent, const Tensor& cuts, ScanPlan plan) {
  using C = compute_type<T>;
  const Layout layout(states, cuts, plan);
  const MatrixSizes sizes = sizes_of(states);
  const std::int64_t n = sizes.n, size = sizes.state();
  const Tensor scratch = empty({layout.sequences(), 2, size}, {dtype_of<C>, states.device()});
  C* const carried = scratch.data<C>();
  T* const h = states.data<T>();
  T* const end = last.data<T>();
  std::int32_t* const e_all = exponents.data<std::int32_t>();
  std::int32_t* const e_end = last_exponent.data<std::int32_t>();
  const T* const pm = m.data<T>();
  const T* const first = data_or_null<T>(initial);
  const std::int32_t* const e_first = data_or_null<std::int32_t>(initial_exponent);
  const bool exclusive = plan.exclusive;
  for_each_row(states.device(), layout.sequences(), [=] __device__(std::int64_t s) {
    C* current = carried + 2 * s * size;
    C* next = current + size;
    std::int32_t exponent = first != nullptr && e_first != nullptr ? e_first[s] : 0;
    for_each_in_row(size, [=](std::int64_t i) {
      current[i] = first != nullptr ? C(first[s * size + i]) : C(i / n == i % n);
    });
    __syncthreads();
    for (std::int64_t k = 0; k < layout.count; ++k) {
      const std::int64_t at = layout.at(s, k);
      const T* const x = pm + at * size;
      if (layout.cut(s, k)) {
        for_each_in_row(size, [=](std::int64_t i) { current[i] = C(i / n == i % n); });
        exponent = 0;
        __syncthreads();
      }
      // Each thread writes, and reads back, the same elements of `next`.
      for_each_in_row(size, [=](std::int64_t i) {
        const C* const row = current + i / n * n;
        C total = 0;
        for (std::int64_t l = 0; l < n; ++l) total += row[l] * C(x[l * n + i % n]);
        next[i] = total;
      });
      const C most =
          max_over<C>(size, [=](std::int64_t i) { return next[i] < 0 ? -next[i] : next[i]; });
      const int shift = scan_functors::binary_exponent(most);
      const C factor = scan_functors::power_of_two<C>(-shift);
      if (exclusive && threadIdx.x == 0) e_all[at] = exponent;
      exponent += shift;
      if (!exclusive && threadIdx.x == 0) e_all[at] = exponent;
      for_each_in_row(size, [=](std::int64_t i) {
        next[i] *= factor;
        h[at * size + i] = static_cast<T>(exclusive ? current[i] : next[i]);
      });
      __syncthreads();
      C* const done = current;
      current = next;
      next = done;
    }
    if (threadIdx.x == 0) e_end[s] = exponent;
    for_each_in_row(size, [=](std::int64_t i) { end[s * size + i] = static_cast<T>(current[i]); });
  });
}

void scaled_scan(const Tensor& states, const Tensor& exponents, const Tensor& last,
                 const Tensor& last_exponent, const Tensor& m, const Tensor& initial,
                 const Tensor& initial_exponent, const Tensor& cuts, ScanPlan plan) {
  if (fit_in_tiles(states)) {
    return scan_scaled_in_tiles(states, exponents, last, last_exponent, m, initial,
                                initial_exponent, cuts, plan);
  }
  dispatch(FloatTypes{}, states.dtype(), [&](auto tag) {
    scaled_scan_typed<typename decltype(tag)::type>(states, exponents, last, last_exponent, m,
                                                    initial, initial_exponent, cuts, plan);
  });
}

// ---- backward

// With g_t the gradient of h_t, q_t = g_t + q_{t+1} a_{t+1}ᵀ is its whole cotangent, db_t = q_t and
// da_t = h_{t-1}ᵀ q_t: docs/scan.md.

template <bool product, class T>
void matrix_backward_typed(const Tensor& da, const Tensor& db, const Tensor& d_initial,
                           const Tensor& a, const Tensor& states, const Tensor& initial,
                           const Tensor& g, const Tensor& g_last, const Tensor& cuts,
                           ScanPlan plan) {
  using C = compute_type<T>;
  const Layout layout(states, cuts, plan);
  const MatrixSizes sizes = sizes_of(states);
  const std::int64_t rows = sizes.rows, n = sizes.n, state = sizes.state();
  const std::int64_t element = sizes.element();
  const Tensor scratch = empty({layout.sequences(), 2, state}, {dtype_of<C>, states.device()});
  C* const cotangents = scratch.data<C>();
  T* const to_a = data_or_null<T>(da);
  T* const to_b = data_or_null<T>(db);
  T* const to_initial = data_or_null<T>(d_initial);
  const T* const pa = a.data<T>();
  const T* const h = states.data<T>();
  const T* const first = data_or_null<T>(initial);
  const T* const pg = g.data<T>();
  const T* const end = g_last.data<T>();
  const bool exclusive = plan.exclusive;
  for_each_row(states.device(), layout.sequences(), [=] __device__(std::int64_t s) {
    C* q = cotangents + 2 * s * state;
    C* pulled = q + state;
    const std::int64_t final = layout.at(s, layout.count - 1);
    for_each_in_row(state, [=](std::int64_t e) {
      q[e] = C(end[s * state + e]) + (exclusive ? C(0) : C(pg[final * state + e]));
    });
    __syncthreads();
    for (std::int64_t k = layout.count - 1; k >= 0; --k) {
      const std::int64_t at = layout.at(s, k);
      const bool has_before = exclusive || k > 0;
      const std::int64_t before = exclusive ? at : k > 0 ? layout.at(s, k - 1) : 0;
      const T* const m = pa + at * element;
      const bool cut = layout.cut(s, k);
      const auto previous = [=](std::int64_t e) {
        if (cut) return C(product && e / n == e % n);
        if (has_before) return C(h[before * state + e]);
        return first != nullptr ? C(first[s * state + e]) : C(product && e / n == e % n);
      };
      if (to_b != nullptr) {
        for_each_in_row(state,
                        [=](std::int64_t e) { to_b[at * state + e] = static_cast<T>(q[e]); });
      }
      if (to_a != nullptr) {
        for_each_in_row(element, [=](std::int64_t e) {
          C total = 0;
          for (std::int64_t r = 0; r < rows; ++r)
            total += previous(r * n + e / n) * q[r * n + e % n];
          to_a[at * element + e] = static_cast<T>(total);
        });
      }
      for_each_in_row(state, [=](std::int64_t e) {
        const C* const row = q + e / n * n;
        C total = has_before && !(cut && exclusive) ? C(pg[before * state + e]) : C(0);
        for (std::int64_t c = 0; c < n && !cut; ++c) total += row[c] * C(m[e % n * n + c]);
        pulled[e] = total;
      });
      __syncthreads();
      C* const done = q;
      q = pulled;
      pulled = done;
    }
    if (to_initial == nullptr) return;
    for_each_in_row(state,
                    [=](std::int64_t e) { to_initial[s * state + e] = static_cast<T>(q[e]); });
  });
}

template <bool product>
void matrix_backward(const Tensor& da, const Tensor& db, const Tensor& d_initial, const Tensor& a,
                     const Tensor& states, const Tensor& initial, const Tensor& g,
                     const Tensor& g_last, const Tensor& cuts, ScanPlan plan) {
  if (fit_in_tiles(states)) {
    return scan_backward_in_tiles(da, db, d_initial, a, states, initial, g, g_last, cuts, plan,
                                  product);
  }
  dispatch(FloatTypes{}, states.dtype(), [&](auto tag) {
    matrix_backward_typed<product, typename decltype(tag)::type>(da, db, d_initial, a, states,
                                                                 initial, g, g_last, cuts, plan);
  });
}

bool scaled_backward(const Tensor& dm, const Tensor& d_initial, const Tensor& m,
                     const Tensor& states, const Tensor& exponents, const Tensor& last_exponent,
                     const Tensor& initial, const Tensor& initial_exponent, const Tensor& g,
                     const Tensor& g_last, const Tensor& cuts, ScanPlan plan) {
  if (!fit_in_tiles(states)) return false;
  scan_scaled_backward_in_tiles(dm, d_initial, m, states, exponents, last_exponent, initial,
                                initial_exponent, g, g_last, cuts, plan);
  return true;
}

}  // namespace

void fill_scan(Kernels& table) {
  table.matmul_scan = matrix_scan<true>;
  table.affine_scan = matrix_scan<false>;
  table.matmul_scan_scaled = scaled_scan;
  table.matmul_scan_scaled_backward = scaled_backward;
  table.matmul_scan_backward = matrix_backward<true>;
  table.affine_scan_backward = matrix_backward<false>;
}

}  // namespace scangrad::cuda
