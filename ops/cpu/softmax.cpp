#include <scangrad/ops/cpu/rows.h>

namespace scangrad::SCANGRAD_CPU_NAMESPACE {
namespace {

namespace math = functors::math;

void softmax_rows(const Tensor& out, const Tensor& x) {
  dispatch(FloatTypes{}, x.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    using C = compute_type<T>;
    const std::int64_t n = x.shape().back();
    const T* const from = x.data<T>();
    T* const to = out.data<T>();
    parallel_over_rows(x.numel() / n, n, [=](std::int64_t r) {
      const T* i = from + r * n;
      T* o = to + r * n;
      // A NaN is passed over here, but not by the sum: the whole row becomes NaN.
      const C shift = max_over<C>(n, [=](auto j) { return C(i[j]); });
      if constexpr (std::is_same_v<T, C>) {  // the exponentials wait in the output
        for_each_in_row(n, [=](auto j) { o[j] = math::exp(i[j] - shift); });
        const C scale = C(1) / sum_over<C>(n, [=](auto j) { return o[j]; });
        for_each_in_row(n, [=](auto j) { o[j] *= scale; });
      } else {  // which would round them
        const C total = sum_over<C>(n, [=](auto j) { return math::exp(C(i[j]) - shift); });
        const C scale = C(1) / total;
        for_each_in_row(n, [=](auto j) { o[j] = T(math::exp(C(i[j]) - shift) * scale); });
      }
    });
  });
}

/// y (g − Σ g y)
void softmax_backward_rows(const Tensor& out, const Tensor& g, const Tensor& y) {
  dispatch(FloatTypes{}, y.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    using C = compute_type<T>;
    const std::int64_t n = y.shape().back();
    const T* const grads = g.data<T>();
    const T* const probabilities = y.data<T>();
    T* const to = out.data<T>();
    parallel_over_rows(y.numel() / n, n, [=](std::int64_t r) {
      const T* d = grads + r * n;
      const T* p = probabilities + r * n;
      T* o = to + r * n;
      const C mean = sum_over<C>(n, [=](auto j) { return C(d[j]) * C(p[j]); });
      for_each_in_row(n, [=](auto j) { o[j] = T(C(p[j]) * (C(d[j]) - mean)); });
    });
  });
}

void log_softmax_rows(const Tensor& out, const Tensor& x) {
  dispatch(FloatTypes{}, x.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    using C = compute_type<T>;
    const std::int64_t n = x.shape().back();
    const T* const from = x.data<T>();
    T* const to = out.data<T>();
    parallel_over_rows(x.numel() / n, n, [=](std::int64_t r) {
      const T* i = from + r * n;
      T* o = to + r * n;
      const C shift = max_over<C>(n, [=](auto j) { return C(i[j]); });
      const C log_total =
          std::log(sum_over<C>(n, [=](auto j) { return math::exp(C(i[j]) - shift); }));
      // In this order: shift + log_total would round the logarithm away where the shift is large.
      for_each_in_row(n, [=](auto j) { o[j] = T((C(i[j]) - shift) - log_total); });
    });
  });
}

/// g − eʸ Σ g
void log_softmax_backward_rows(const Tensor& out, const Tensor& g, const Tensor& y) {
  dispatch(FloatTypes{}, y.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    using C = compute_type<T>;
    const std::int64_t n = y.shape().back();
    const T* const grads = g.data<T>();
    const T* const logs = y.data<T>();
    T* const to = out.data<T>();
    parallel_over_rows(y.numel() / n, n, [=](std::int64_t r) {
      const T* d = grads + r * n;
      const T* l = logs + r * n;
      T* o = to + r * n;
      const C total = sum_over<C>(n, [=](auto j) { return C(d[j]); });
      for_each_in_row(n, [=](auto j) { o[j] = T(C(d[j]) - math::exp(C(l[j])) * total); });
    });
  });
}

}  // namespace

void fill_softmax(Kernels& table) {
  table.softmax = softmax_rows;
  table.softmax_backward = softmax_backward_rows;
  table.log_softmax = log_softmax_rows;
  table.log_softmax_backward = log_softmax_backward_rows;
}

}  // namespace scangrad::SCANGRAD_CPU_NAMESPACE
