#include <scangrad/cuda/families.h>
#include <scangrad/cuda/rows.cuh>

namespace scangrad::cuda {
namespace {

namespace math = functors::math;

/// log Σ eˣ − Σ_c q_c x_c, which is −Σ_c q_c log softmax(x)_c.
template <class T>
void cross_entropy_typed(const Tensor& losses, const Tensor& statistics, const Tensor& logits,
                         const Tensor& targets, std::int64_t ignore_index, double smoothing) {
  using C = compute_type<T>;
  const std::int64_t rows = logits.shape()[0], n = logits.shape()[1];
  const std::int64_t* const classes = targets.data<std::int64_t>();
  const T* const from = logits.data<T>();
  C* const to = losses.data<C>();
  C* const saved = statistics.data<C>();
  const C spread = static_cast<C>(smoothing);
  const IndexCheck where{"cross_entropy", "classes"};
  const FaultWord fault = fault_word(logits.device().index);
  for_each_row_in_registers(
      logits.device(), rows, n, rows_in_packs<T>(n, from), Operands<T, 1>{{from}},
      [=] __device__(auto& row, std::int64_t r) {
        const auto sums = softmax_sums(row, [](auto, C v) { return v; });
        const C shift = sums.largest, log_total = log(sums.total);
        const C mean = spread != 0 ? row.sum([=](auto, C v) { return v - shift; }) / C(n) : C(0);
        if (!row.first_lane()) return;
        const std::int64_t target = classes[r];
        const bool ignored = target == ignore_index, known = 0 <= target && target < n;
        saved[2 * r] = shift;
        saved[2 * r + 1] = log_total;
        if (!ignored && !known) note_fault(fault, where.op, where.unit, target, n);
        to[r] =
            ignored || !known
                ? C(0)
                : log_total - ((C(1) - spread) * (C(from[r * n + target]) - shift) + spread * mean);
      });
}

/// g (softmax(x) − q)
template <class T>
void cross_entropy_backward_typed(const Tensor& dlogits, const Tensor& g, const Tensor& logits,
                                  const Tensor& targets, const Tensor& statistics,
                                  std::int64_t ignore_index, double smoothing) {
  using C = compute_type<T>;
  const std::int64_t rows = logits.shape()[0], n = logits.shape()[1];
  const std::int64_t* const classes = targets.data<std::int64_t>();
  const T* const from = logits.data<T>();
  const C* const grads = g.data<C>();
  const C* const saved = statistics.data<C>();
  T* const to = dlogits.data<T>();
  const C spread = static_cast<C>(smoothing), floor = spread / C(n);
  for_each_row_in_registers(logits.device(), rows, n, rows_in_packs<T>(n, from, to),
                            Operands<T, 1>{{from}}, [=] __device__(auto& row, std::int64_t r) {
                              const std::int64_t target = classes[r];
                              const C d = target == ignore_index ? C(0) : grads[r];
                              const C shift = saved[2 * r], log_total = saved[2 * r + 1];
                              row.store(to + r * n, [=](std::int64_t j, C v) {
                                if (target == ignore_index) return C(0);
                                const C probability = math::exp((v - shift) - log_total);
                                return d *
                                       (probability - floor - (j == target ? C(1) - spread : C(0)));
                              });
                            });
}

void cross_entropy(const Tensor& losses, const Tensor& statistics, const Tensor& logits,
                   const Tensor& targets, std::int64_t ignore_index, double smoothing) {
  dispatch(FloatTypes{}, logits.dtype(), [&](auto tag) {
    cross_entropy_typed<typename decltype(tag)::type>(losses, statistics, logits, targets,
                                                      ignore_index, smoothing);
  });
}
void cross_entropy_backward(const Tensor& dlogits, const Tensor& g, const Tensor& logits,
                            const Tensor& targets, const Tensor& statistics,
                            std::int64_t ignore_index, double smoothing) {
  dispatch(FloatTypes{}, logits.dtype(), [&](auto tag) {
    cross_entropy_backward_typed<typename decltype(tag)::type>(dlogits, g, logits, targets,
                                                               statistics, ignore_index, smoothing);
  });
}

}  // namespace

void fill_loss(Kernels& table) {
  table.cross_entropy = cross_entropy;
  table.cross_entropy_backward = cross_entropy_backward;
}

}  // namespace scangrad::cuda
