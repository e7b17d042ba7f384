#include <scangrad/ops/cpu/rows.h>

namespace scangrad::SCANGRAD_CPU_NAMESPACE {
namespace {

/// The data of a tensor that may be left out.
template <class T>
T* data_or_null(const Tensor& t) {
  return t.defined() ? t.data<T>() : nullptr;
}

/// layer_norm where `centred`, else rms_norm.
template <bool centred>
void norm_rows(const Tensor& out, const Tensor& mean, const Tensor& rstd, const Tensor& x,
               const Tensor& weight, const Tensor& bias, double eps) {
  dispatch(FloatTypes{}, x.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    using C = compute_type<T>;
    const std::int64_t n = x.shape().back();
    const T* const from = x.data<T>();
    const T* const w = data_or_null<T>(weight);
    const T* const b = data_or_null<T>(bias);
    T* const to = out.data<T>();
    C* const means = data_or_null<C>(mean);
    C* const rstds = rstd.data<C>();
    parallel_over_rows(x.numel() / n, n, [=](std::int64_t r) {
      const T* i = from + r * n;
      T* o = to + r * n;
      C m = 0;
      if constexpr (centred) {
        m = sum_over<C>(n, [=](auto j) { return C(i[j]); }) / C(n);
        means[r] = m;
      }
      const C variance =
          sum_over<C>(n, [=](auto j) { return (C(i[j]) - m) * (C(i[j]) - m); }) / C(n);
      const C s = C(1) / std::sqrt(variance + C(eps));
      rstds[r] = s;
      if (w != nullptr && b != nullptr) {
        for_each_in_row(n, [=](auto j) { o[j] = T((C(i[j]) - m) * s * C(w[j]) + C(b[j])); });
      } else if (w != nullptr) {
        for_each_in_row(n, [=](auto j) { o[j] = T((C(i[j]) - m) * s * C(w[j])); });
      } else if (b != nullptr) {
        for_each_in_row(n, [=](auto j) { o[j] = T((C(i[j]) - m) * s + C(b[j])); });
      } else {
        for_each_in_row(n, [=](auto j) { o[j] = T((C(i[j]) - m) * s); });
      }
    });
  });
}

/// One row of the input's gradient: with y the normalised row and h = g w,
/// s (h − mean(h) − y mean(h y)), the first mean only where `centred`.
template <bool centred, class T, class C>
void input_gradient(T* o, const T* g, const T* x, const T* w, C m, C s, std::int64_t n) {
  const auto h = [=](auto j) { return w == nullptr ? C(g[j]) : C(g[j]) * C(w[j]); };
  const auto y = [=](auto j) { return (C(x[j]) - m) * s; };
  const C mean_hy = sum_over<C>(n, [=](auto j) { return h(j) * y(j); }) / C(n);
  const C mean_h = centred ? sum_over<C>(n, h) / C(n) : C(0);
  for_each_in_row(n, [=](auto j) { o[j] = T(s * (h(j) - mean_h - y(j) * mean_hy)); });
}

template <bool centred>
void norm_backward_rows(const Tensor& dx, const Tensor& dweight, const Tensor& dbias,
                        const Tensor& g, const Tensor& x, const Tensor& weight, const Tensor& mean,
                        const Tensor& rstd) {
  dispatch(FloatTypes{}, x.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    using C = compute_type<T>;
    const std::int64_t n = x.shape().back();
    const std::int64_t rows = x.numel() / n;
    const T* const from = x.data<T>();
    const T* const grads = g.data<T>();
    const T* const w = data_or_null<T>(weight);
    const C* const means = data_or_null<C>(mean);
    const C* const rstds = rstd.data<C>();
    T* const to_x = data_or_null<T>(dx);
    T* const to_w = data_or_null<T>(dweight);
    T* const to_b = data_or_null<T>(dbias);

    // The parameters' gradients are summed over fixed blocks of rows, then over the blocks, so that
    // the result does not depend on the number of threads.
    const std::int64_t block = std::max<std::int64_t>(16, (rows + 63) / 64);
    const std::int64_t blocks = (rows + block - 1) / block;
    const bool sums = to_w != nullptr || to_b != nullptr;
    const Tensor partial = zeros({sums ? blocks : 0, 2, n}, {dtype_of<C>, x.device()});
    C* const parts = partial.data<C>();
    const std::int64_t grain = std::max<std::int64_t>(1, 8192 / (block * n));
    parallel_for(blocks, grain, [=](std::int64_t begin, std::int64_t end) {
      for (std::int64_t k = begin; k < end; ++k) {
        C* const part_w = sums ? parts + k * 2 * n : nullptr;
        C* const part_b = sums ? part_w + n : nullptr;
        for (std::int64_t r = k * block; r < std::min(rows, (k + 1) * block); ++r) {
          const T* d = grads + r * n;
          const T* i = from + r * n;
          const C m = centred ? means[r] : C(0), s = rstds[r];
          if (to_x != nullptr) input_gradient<centred>(to_x + r * n, d, i, w, m, s, n);
          if (sums) {
            for_each_in_row(n, [=](auto j) {
              part_w[j] += C(d[j]) * (C(i[j]) - m) * s;
              part_b[j] += C(d[j]);
            });
          }
        }
      }
    });
    for (std::int64_t k = 1; k < (sums ? blocks : 0); ++k) {
      for_each_in_row(2 * n, [=](auto j) { parts[j] += parts[k * 2 * n + j]; });
    }
    if (to_w != nullptr) for_each_in_row(n, [=](auto j) { to_w[j] = T(parts[j]); });
    if (to_b != nullptr) for_each_in_row(n, [=](auto j) { to_b[j] = T(parts[n + j]); });
  });
}

}  // namespace

void fill_norm(Kernels& table) {
  table.layer_norm = norm_rows<true>;
  table.layer_norm_backward = norm_backward_rows<true>;
  table.rms_norm = norm_rows<false>;
  table.rms_norm_backward = norm_backward_rows<false>;
}

}  // namespace scangrad::SCANGRAD_CPU_NAMESPACE
