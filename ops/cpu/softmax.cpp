#include <scangrad/ops/cpu/rows.h>

namespace scangrad::SCANGRAD_CPU_NAMESPACE {
namespace {

namespace math = functors::math;

/// out_j = e^{value(j) − shift} / Σ of these for j < n; `shift` is the largest value.
template <class T, class C, class Value>
void softmax_row(T* out, std::int64_t n, C shift, const Value& value) {
  if constexpr (std::is_same_v<T, C>) {  // the exponentials wait in the output
    for_each_in_row(n, [=](auto j) { out[j] = math::exp(value(j) - shift); });
    const C scale = C(1) / sum_over<C>(n, [=](auto j) { return out[j]; });
    for_each_in_row(n, [=](auto j) { out[j] *= scale; });
  } else {  // which would round them
    const C scale = C(1) / sum_over<C>(n, [=](auto j) { return math::exp(value(j) - shift); });
    for_each_in_row(n, [=](auto j) { out[j] = T(math::exp(value(j) - shift) * scale); });
  }
}

void softmax_rows(const Tensor& out, const Tensor& x) {
  dispatch(FloatTypes{}, x.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    using C = compute_type<T>;
    const std::int64_t n = x.shape().back();
    const T* const from = x.data<T>();
    T* const to = out.data<T>();
    parallel_over_rows(x.numel() / n, n, [=](std::int64_t r) {
      const T* i = from + r * n;
      const auto value = [=](auto j) { return C(i[j]); };
      // A NaN is passed over by the maximum, but not by the sum: the whole row becomes NaN.
      softmax_row(to + r * n, n, max_over<C>(n, value), value);
    });
  });
}

/// The same of the n entries of a row that its mask leaves; 0 where it leaves none.
template <class T, class C, class Value>
void masked_softmax_row(T* out, std::int64_t n, const Value& value) {
  constexpr C nothing = -std::numeric_limits<C>::infinity();
  const C shift = max_over<C>(n, value);
  if (shift != nothing) return softmax_row(out, n, shift, value);
  // All of it masked, or NaN, which must not turn into 0.
  for_each_in_row(n, [=](auto j) { out[j] = T(value(j) == nothing ? C(0) : value(j)); });
}

void masked_softmax_rows(const Tensor& out, const Tensor& x, const Tensor& mask, bool causal) {
  const int rank = x.rank();
  const std::int64_t n = x.shape().back();
  const std::int64_t queries = causal ? x.shape()[rank - 2] : 1;
  const Shape shape = x.shape();
  const Strides steps = mask.defined() ? mask.strides() : Strides::filled(rank, 0);
  const auto mask_row = [=](std::int64_t r) {
    std::int64_t offset = 0;
    for (int dim = rank - 2; dim >= 0; --dim) {
      offset += r % shape[dim] * steps[dim];
      r /= shape[dim];
    }
    return offset;
  };
  dispatch(FloatTypes{}, x.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    using C = compute_type<T>;
    const T* const from = x.data<T>();
    T* const to = out.data<T>();
    const bool boolean = mask.defined() && mask.dtype() == DType::bool_;
    const bool* const seen = boolean ? mask.data<bool>() : nullptr;
    const T* const added = mask.defined() && !boolean ? mask.data<T>() : nullptr;
    const std::int64_t step = steps[rank - 1];
    parallel_over_rows(x.numel() / n, n, [=](std::int64_t r) {
      const T* i = from + r * n;
      T* o = to + r * n;
      const std::int64_t count = causal ? std::min(n, r % queries + 1) : n;
      if (seen != nullptr) {
        const bool* m = seen + mask_row(r);
        masked_softmax_row<T, C>(o, count, [=](auto j) {
          return m[j * step] ? C(i[j]) : -std::numeric_limits<C>::infinity();
        });
      } else if (added != nullptr) {
        const T* m = added + mask_row(r);
        masked_softmax_row<T, C>(o, count, [=](auto j) { return C(i[j]) + C(m[j * step]); });
      } else {
        masked_softmax_row<T, C>(o, count, [=](auto j) { return C(i[j]); });
      }
      for_each_in_row(n - count, [=](auto j) { o[count + j] = T(C(0)); });
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
  table.masked_softmax = masked_softmax_rows;
  table.softmax_backward = softmax_backward_rows;
  table.log_softmax = log_softmax_rows;
  table.log_softmax_backward = log_softmax_backward_rows;
}

}  // namespace scangrad::SCANGRAD_CPU_NAMESPACE
