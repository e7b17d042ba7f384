#include <scangrad/ops/cpu/rows.h>

namespace scangrad::SCANGRAD_CPU_NAMESPACE {
namespace {

namespace math = functors::math;

/// log Σ eˣ − Σ_c q_c x_c, which is −Σ_c q_c log softmax(x)_c.
void cross_entropy_rows(const Tensor& losses, const Tensor& statistics, const Tensor& mean,
                        const Tensor& count, const Tensor& logits, const Tensor& targets,
                        std::int64_t ignore_index, double smoothing) {
  const std::int64_t rows = logits.shape()[0], n = logits.shape()[1];
  const std::int64_t* const classes = targets.data<std::int64_t>();
  for (std::int64_t r = 0; r < rows; ++r) {
    const bool known = 0 <= classes[r] && classes[r] < n;
    if (!known && classes[r] != ignore_index)
      bad_index({"cross_entropy", "classes"}, classes[r], n);
  }
  dispatch(FloatTypes{}, logits.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    using C = compute_type<T>;
    const T* const from = logits.data<T>();
    C* const to = losses.data<C>();
    C* const saved = statistics.data<C>();
    const C spread = static_cast<C>(smoothing);
    parallel_over_rows(rows, n, [=](std::int64_t r) {
      const T* x = from + r * n;
      const C shift = max_over<C>(n, [=](auto j) { return C(x[j]); });
      const C log_total =
          std::log(sum_over<C>(n, [=](auto j) { return math::exp(C(x[j]) - shift); }));
      saved[2 * r] = shift;
      saved[2 * r + 1] = log_total;
      if (classes[r] == ignore_index) {
        to[r] = 0;
        return;
      }
      // Differences from `shift` first: they are small where the logits are large.
      C chosen = (C(1) - spread) * (C(x[classes[r]]) - shift);
      if (spread != 0) {
        chosen += spread * (sum_over<C>(n, [=](auto j) { return C(x[j]) - shift; }) / C(n));
      }
      to[r] = log_total - chosen;
    });
    if (!mean.defined()) return;
    double total = 0, counted = 0;
    for (std::int64_t r = 0; r < rows; ++r) {
      total += to[r];
      counted += classes[r] != ignore_index ? 1 : 0;
    }
    *mean.data<C>() = static_cast<C>(total / counted);
    *count.data<C>() = static_cast<C>(counted);
  });
}

/// g (softmax(x) − q)
void cross_entropy_backward_rows(const Tensor& dlogits, const Tensor& g, const Tensor& count,
                                 const Tensor& logits, const Tensor& targets,
                                 const Tensor& statistics, std::int64_t ignore_index,
                                 double smoothing) {
  const std::int64_t rows = logits.shape()[0], n = logits.shape()[1];
  const std::int64_t step = g.rank() == 0 ? 0 : g.strides()[0];
  const std::int64_t* const classes = targets.data<std::int64_t>();
  dispatch(FloatTypes{}, logits.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    using C = compute_type<T>;
    const T* const from = logits.data<T>();
    const C* const grads = g.data<C>();
    const C* const saved = statistics.data<C>();
    const C divisor = count.defined() ? *count.data<C>() : C(1);
    T* const to = dlogits.data<T>();
    const C spread = static_cast<C>(smoothing), floor = spread / C(n);
    parallel_over_rows(rows, n, [=](std::int64_t r) {
      const T* x = from + r * n;
      T* o = to + r * n;
      if (classes[r] == ignore_index) {
        for_each_in_row(n, [=](auto j) { o[j] = T(C(0)); });
        return;
      }
      const C d = grads[r * step] / divisor, shift = saved[2 * r], log_total = saved[2 * r + 1];
      const auto probability = [=](auto j) { return math::exp((C(x[j]) - shift) - log_total); };
      for_each_in_row(n, [=](auto j) { o[j] = T(d * (probability(j) - floor)); });
      o[classes[r]] = T(d * (probability(classes[r]) - floor - (C(1) - spread)));
    });
  });
}

}  // namespace

void fill_loss(Kernels& table) {
  table.cross_entropy = cross_entropy_rows;
  table.cross_entropy_backward = cross_entropy_backward_rows;
}

}  // namespace scangrad::SCANGRAD_CPU_NAMESPACE
