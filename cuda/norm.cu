#include <scangrad/cuda/families.h>
#include <scangrad/cuda/launch.cuh>

// A block a row; the parameters' gradients, which go down the columns, in fixed blocks of rows.
namespace scangrad::cuda {
namespace {

template <bool centred, class T>
void norm_typed(const Tensor& out, const Tensor& mean, const Tensor& rstd, const Tensor& x,
                const Tensor& weight, const Tensor& bias, double eps) {
  using C = compute_type<T>;
  const std::int64_t n = x.shape().back();
  const T* const from = x.data<T>();
  const T* const w = data_or_null<T>(weight);
  const T* const b = data_or_null<T>(bias);
  T* const to = out.data<T>();
  C* const means = data_or_null<C>(mean);
  C* const rstds = rstd.data<C>();
  for_each_row(x.device(), x.numel() / n, [=] __device__(std::int64_t r) {
    const T* i = from + r * n;
    C m = 0;
    if (centred) m = sum_over<C>(n, [=](auto j) { return C(i[j]); }) / C(n);
    const C variance = sum_over<C>(n, [=](auto j) { return (C(i[j]) - m) * (C(i[j]) - m); }) / C(n);
    const C s = C(1) / sqrt(variance + C(eps));
    if (threadIdx.x == 0) {
      if (centred) means[r] = m;
      rstds[r] = s;
    }
    for_each_in_row(n, [=](auto j) {
      C y = (C(i[j]) - m) * s;
      if (w != nullptr) y *= C(w[j]);
      if (b != nullptr) y += C(b[j]);
      to[r * n + j] = T(y);
    });
  });
}

/// With y the normalised row and h = g w: s (h − mean(h) − y mean(h y)), the first mean only where
/// `centred`.
template <bool centred, class T>
void input_gradient(const Tensor& dx, const Tensor& g, const Tensor& x, const Tensor& weight,
                    const Tensor& mean, const Tensor& rstd) {
  using C = compute_type<T>;
  const std::int64_t n = x.shape().back();
  const T* const from = x.data<T>();
  const T* const grads = g.data<T>();
  const T* const w = data_or_null<T>(weight);
  const C* const means = data_or_null<C>(mean);
  const C* const rstds = rstd.data<C>();
  T* const to = dx.data<T>();
  for_each_row(x.device(), x.numel() / n, [=] __device__(std::int64_t r) {
    const C m = centred ? means[r] : C(0), s = rstds[r];
    const auto h = [=](auto j) { return C(grads[r * n + j]) * (w == nullptr ? C(1) : C(w[j])); };
    const auto y = [=](auto j) { return (C(from[r * n + j]) - m) * s; };
    const C mean_hy = sum_over<C>(n, [=](auto j) { return h(j) * y(j); }) / C(n);
    const C mean_h = centred ? sum_over<C>(n, h) / C(n) : C(0);
    for_each_in_row(n, [=](auto j) { to[r * n + j] = T(s * (h(j) - mean_h - y(j) * mean_hy)); });
  });
}

template <bool centred, class T>
void parameter_gradients(const Tensor& dweight, const Tensor& dbias, const Tensor& g,
                         const Tensor& x, const Tensor& mean, const Tensor& rstd) {
  using C = compute_type<T>;
  constexpr std::int64_t block = 64;  // rows added up by one thread, in order
  const std::int64_t n = x.shape().back(), rows = x.numel() / n;
  const std::int64_t blocks = (rows + block - 1) / block;
  const Tensor partial = empty({2, blocks, n}, {dtype_of<C>, x.device()});
  const T* const from = x.data<T>();
  const T* const grads = g.data<T>();
  const C* const means = data_or_null<C>(mean);
  const C* const rstds = rstd.data<C>();
  C* const parts = partial.data<C>();
  for_each(x.device(), blocks * n, [=] __device__(std::int64_t i) {
    const std::int64_t first = i / n * block, last = min(first + block, rows), j = i % n;
    C dw = 0, db = 0;
    for (std::int64_t r = first; r < last; ++r) {
      const C d = C(grads[r * n + j]);
      dw += d * (C(from[r * n + j]) - (centred ? means[r] : C(0))) * rstds[r];
      db += d;
    }
    parts[i] = dw;
    parts[blocks * n + i] = db;
  });
  T* const to_w = data_or_null<T>(dweight);
  T* const to_b = data_or_null<T>(dbias);
  for_each_row(x.device(), n, [=] __device__(std::int64_t j) {
    const C dw = sum_over<C>(blocks, [=](auto k) { return parts[k * n + j]; });
    const C db = sum_over<C>(blocks, [=](auto k) { return parts[(blocks + k) * n + j]; });
    if (threadIdx.x != 0) return;
    if (to_w != nullptr) to_w[j] = T(dw);
    if (to_b != nullptr) to_b[j] = T(db);
  });
}

template <bool centred>
void norm(const Tensor& out, const Tensor& mean, const Tensor& rstd, const Tensor& x,
          const Tensor& weight, const Tensor& bias, double eps) {
  dispatch(FloatTypes{}, x.dtype(), [&](auto tag) {
    norm_typed<centred, typename decltype(tag)::type>(out, mean, rstd, x, weight, bias, eps);
  });
}

template <bool centred>
void norm_backward(const Tensor& dx, const Tensor& dweight, const Tensor& dbias, const Tensor& g,
                   const Tensor& x, const Tensor& weight, const Tensor& mean, const Tensor& rstd) {
  dispatch(FloatTypes{}, x.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    if (dx.defined()) input_gradient<centred, T>(dx, g, x, weight, mean, rstd);
    if (dweight.defined() || dbias.defined()) {
      parameter_gradients<centred, T>(dweight, dbias, g, x, mean, rstd);
    }
  });
}

}  // namespace

void fill_norm(Kernels& table) {
  table.layer_norm = norm<true>;
  table.layer_norm_backward = norm_backward<true>;
  table.rms_norm = norm<false>;
  table.rms_norm_backward = norm_backward<false>;
}

}  // namespace scangrad::cuda
