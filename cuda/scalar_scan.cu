// Scans of scalars: a thread a sequence, which walks its steps one after another.
#include <scangrad/cuda/families.h>
#include <scangrad/ops/scan_functors.h>
#include <scangrad/cuda/scan_layout.cuh>

namespace scangrad::cuda {
namespace {

/// `Step` is state ← step(state, a, b).
template <class T, class Step>
void scalar_scan(const Tensor& states, const Tensor& last, const Tensor& a, const Tensor& b,
                 const Tensor& initial, const Tensor& cuts, ScanPlan plan, compute_type<T> start,
                 const Step& step) {
  using C = compute_type<T>;
  const Layout layout(states, cuts, plan);
  T* const h = states.data<T>();
  T* const end = last.data<T>();
  const T* const pa = a.data<T>();
  const T* const pb = data_or_null<T>(b);
  const T* const first = data_or_null<T>(initial);
  const bool exclusive = plan.exclusive;
  for_each(states.device(), layout.sequences(), [=] __device__(std::int64_t s) {
    C state = first == nullptr ? start : C(first[s]);
    for (std::int64_t k = 0; k < layout.count; ++k) {
      const std::int64_t at = layout.at(s, k);
      if (layout.cut(s, k)) state = start;
      if (exclusive) h[at] = static_cast<T>(state);
      state = step(state, C(pa[at]), pb == nullptr ? C(0) : C(pb[at]));
      if (!exclusive) h[at] = static_cast<T>(state);
    }
    end[s] = static_cast<T>(state);
  });
}

template <class F>
struct CombineStep {
  template <class C>
  __device__ C operator()(C state, C a, C) const {
    return F::combine(state, a);
  }
};
struct LinearStep {
  template <class C>
  __device__ C operator()(C state, C a, C b) const {
    return state * a + b;
  }
};

template <class F, class Types>
void monoid_scan(const Tensor& states, const Tensor& last, const Tensor& a, const Tensor& b,
                 const Tensor& initial, const Tensor& cuts, ScanPlan plan) {
  dispatch(Types{}, states.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    scalar_scan<T>(states, last, a, b, initial, cuts, plan, F::template identity<compute_type<T>>(),
                   CombineStep<F>{});
  });
}

void linear_scan(const Tensor& states, const Tensor& last, const Tensor& a, const Tensor& b,
                 const Tensor& initial, const Tensor& cuts, ScanPlan plan) {
  dispatch(FloatTypes{}, states.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    scalar_scan<T>(states, last, a, b, initial, cuts, plan, 0, LinearStep{});
  });
}

// ---- backward

// With g_t the gradient of h_t, q_t = g_t + q_{t+1} a_{t+1}ᵀ is its whole cotangent, db_t = q_t and
// da_t = h_{t-1}ᵀ q_t: docs/scan.md.

template <class T>
void linear_backward_typed(const Tensor& da, const Tensor& db, const Tensor& d_initial,
                           const Tensor& a, const Tensor& states, const Tensor& initial,
                           const Tensor& g, const Tensor& g_last, const Tensor& cuts,
                           ScanPlan plan) {
  using C = compute_type<T>;
  const Layout layout(states, cuts, plan);
  T* const to_a = data_or_null<T>(da);
  T* const to_b = data_or_null<T>(db);
  T* const to_initial = data_or_null<T>(d_initial);
  const T* const pa = a.data<T>();
  const T* const h = states.data<T>();
  const T* const first = data_or_null<T>(initial);
  const T* const pg = g.data<T>();
  const T* const end = g_last.data<T>();
  const bool exclusive = plan.exclusive;
  for_each(states.device(), layout.sequences(), [=] __device__(std::int64_t s) {
    C q = C(end[s]);
    if (!exclusive) q += C(pg[layout.at(s, layout.count - 1)]);
    for (std::int64_t k = layout.count - 1; k >= 0; --k) {
      const std::int64_t at = layout.at(s, k);
      const bool has_before = exclusive || k > 0;
      const std::int64_t before = exclusive ? at : k > 0 ? layout.at(s, k - 1) : 0;
      const bool cut = layout.cut(s, k);
      const C previous = cut                ? C(0)
                         : has_before       ? C(h[before])
                         : first != nullptr ? C(first[s])
                                            : C(0);
      if (to_b != nullptr) to_b[at] = static_cast<T>(q);
      if (to_a != nullptr) to_a[at] = static_cast<T>(previous * q);
      // Nothing flows back into another segment; an exclusive scan returned the identity there.
      const C g_before = has_before && !(cut && exclusive) ? C(pg[before]) : C(0);
      q = cut ? g_before : q * C(pa[at]) + g_before;
    }
    if (to_initial != nullptr) to_initial[s] = static_cast<T>(q);
  });
}

void linear_backward(const Tensor& da, const Tensor& db, const Tensor& d_initial, const Tensor& a,
                     const Tensor& states, const Tensor& initial, const Tensor& g,
                     const Tensor& g_last, const Tensor& cuts, ScanPlan plan) {
  dispatch(FloatTypes{}, states.dtype(), [&](auto tag) {
    linear_backward_typed<typename decltype(tag)::type>(da, db, d_initial, a, states, initial, g,
                                                        g_last, cuts, plan);
  });
}

}  // namespace

void fill_scalar_scan(Kernels& table) {
  using namespace scan_functors;
  table.cumsum = monoid_scan<Sum, NumberTypes>;
  table.cumprod = monoid_scan<Product, NumberTypes>;
  table.cummax = monoid_scan<Largest, NumberTypes>;
  table.cummin = monoid_scan<Smallest, NumberTypes>;
  table.logcumsumexp = monoid_scan<LogSumExp, FloatTypes>;
  table.linear_scan = linear_scan;
  table.linear_scan_backward = linear_backward;
}

}  // namespace scangrad::cuda
