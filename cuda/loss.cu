#include <scangrad/cuda/families.h>
#include <scangrad/cuda/rows.cuh>

namespace scangrad::cuda {
namespace {

/// The mean of the losses over the rows that count, and their number: all but those of −0, as which
/// ignored rows are marked and which no loss is. By one block: there are far fewer losses than
/// logits, and each kernel more takes as long as reading 6 MB. It is there before the losses are,
/// and then waits for them.
constexpr int mean_threads = 1024;
template <class C>
__global__ void __launch_bounds__(mean_threads)
    mean_kernel(std::int64_t rows, C* mean, C* count, const C* losses) {
  constexpr int V = 16 / static_cast<int>(sizeof(C)), batch = 8;  // packs in flight
  __shared__ double parts[2][mean_threads / 32];
  double sums[2] = {};  // of losses, of ones
  const auto add = [&](C loss, C& sum, int& counted) {
    sum += loss;
    counted += loss == C(0) && signbit(loss) ? 0 : 1;
  };
  const auto add_lanes = [&] {
    for (double& sum : sums) {
      sum = reduce_lanes(32, sum, 0.0, [](double a, double b) { return a + b; });
    }
  };
  wait_for_kernel_before();
  const std::int64_t packs = rows / V;
  for (std::int64_t first = threadIdx.x; first <= packs; first += batch * mean_threads) {
    Pack<C, V> loaded[batch];
    C sum = 0;  // short enough to be added up in float
    int counted = 0;
#pragma unroll
    for (int b = 0; b < batch; ++b) {
      const std::int64_t pack = first + b * mean_threads;
      if (pack < packs) loaded[b] = load_pack<V>(losses + pack * V);
      if (pack == packs) {
        for (std::int64_t r = packs * V; r < rows; ++r) add(losses[r], sum, counted);
      }
    }
#pragma unroll
    for (int b = 0; b < batch; ++b) {
      if (first + b * mean_threads >= packs) continue;
      for (int v = 0; v < V; ++v) add(loaded[b].values[v], sum, counted);
    }
    sums[0] += sum;
    sums[1] += counted;
  }
  add_lanes();
  for (int k = 0; k < 2; ++k) {
    if (threadIdx.x % 32 == 0) parts[k][threadIdx.x / 32] = sums[k];
  }
  __syncthreads();
  if (threadIdx.x >= 32) return;
  for (int k = 0; k < 2; ++k) sums[k] = parts[k][threadIdx.x];
  add_lanes();
  if (threadIdx.x != 0) return;
  *mean = static_cast<C>(sums[0] / sums[1]);
  *count = static_cast<C>(sums[1]);
}

/// log Σ eˣ − Σ_c q_c x_c, which is −Σ_c q_c log softmax(x)_c.
template <class T>
void cross_entropy_typed(const Tensor& losses, const Tensor& statistics, const Tensor& mean,
                         const Tensor& count, const Tensor& logits, const Tensor& targets,
                         std::int64_t ignore_index, double smoothing) {
  using C = compute_type<T>;
  const std::int64_t rows = logits.shape()[0], n = logits.shape()[1];
  const std::int64_t* const classes = targets.data<std::int64_t>();
  const T* const from = logits.data<T>();
  C* const to = losses.data<C>();
  C* const saved = statistics.data<C>();
  const C spread = static_cast<C>(smoothing);
  const IndexCheck where{"cross_entropy", "classes"};
  const FaultWord fault = fault_word(logits.device().index);
  const C uncounted = mean.defined() ? -C(0) : C(0);  // the losses are not a result then
  for_each_row_in_registers(
      logits.device(), rows, n, rows_in_packs<T>(n, from), Operands<T, 1>{{from}},
      [=] __device__(auto& row, std::int64_t r) {
        let_next_start();  // mean_kernel, which waits for the losses
        // Read before the row is waited for.
        const std::int64_t target = classes[r];
        const bool ignored = target == ignore_index, known = 0 <= target && target < n;
        const auto sums = softmax_sums(row, [](auto, C v) { return v; });
        const C shift = sums.largest, log_total = log(sums.total);
        const C average = spread != 0 ? row.sum([=](auto, C v) { return v - shift; }) / C(n) : C(0);
        if (!row.first_lane()) return;
        // Not earlier, or the row would wait for it; now it is near.
        const C chosen = known ? C(from[r * n + target]) : C(0);
        saved[2 * r] = shift;
        saved[2 * r + 1] = log_total;
        if (!ignored && !known) note_fault(fault, where.op, where.unit, target, n);
        to[r] = ignored  ? uncounted
                : !known ? C(0)
                         : log_total - ((C(1) - spread) * (chosen - shift) + spread * average);
      });
  if (!mean.defined()) return;
  start_kernel(logits.device(), mean_kernel<C>, 1, mean_threads, 0, true, rows, mean.data<C>(),
               count.data<C>(), to);
}

/// g (softmax(x) − q)
template <class T>
void cross_entropy_backward_typed(const Tensor& dlogits, const Tensor& g, const Tensor& count,
                                  const Tensor& logits, const Tensor& targets,
                                  const Tensor& statistics, std::int64_t ignore_index,
                                  double smoothing) {
  using C = compute_type<T>;
  const std::int64_t rows = logits.shape()[0], n = logits.shape()[1];
  const std::int64_t step = g.rank() == 0 ? 0 : g.strides()[0];
  const std::int64_t* const classes = targets.data<std::int64_t>();
  const T* const from = logits.data<T>();
  const C* const grads = g.data<C>();
  const C* const divisor = data_or_null<C>(count);
  const C* const saved = statistics.data<C>();
  T* const to = dlogits.data<T>();
  const C spread = static_cast<C>(smoothing), floor = spread / C(n);
  for_each_row_in_registers(logits.device(), rows, n, rows_in_packs<T>(n, from, to),
                            Operands<T, 1>{{from}}, [=] __device__(auto& row, std::int64_t r) {
                              if (classes[r] == ignore_index) {
                                return row.store(to + r * n, [](auto, C) { return C(0); });
                              }
                              const auto target = static_cast<decltype(row.n)>(classes[r]);
                              const C d = grads[r * step] / (divisor != nullptr ? *divisor : C(1));
                              const C shift = saved[2 * r], log_total = saved[2 * r + 1];
                              row.store(to + r * n, [=](auto j, C v) {
                                const C probability = exp_for<T>((v - shift) - log_total);
                                return d *
                                       (probability - floor - (j == target ? C(1) - spread : C(0)));
                              });
                            });
}

void cross_entropy(const Tensor& losses, const Tensor& statistics, const Tensor& mean,
                   const Tensor& count, const Tensor& logits, const Tensor& targets,
                   std::int64_t ignore_index, double smoothing) {
  dispatch(FloatTypes{}, logits.dtype(), [&](auto tag) {
    cross_entropy_typed<typename decltype(tag)::type>(losses, statistics, mean, count, logits,
                                                      targets, ignore_index, smoothing);
  });
}
void cross_entropy_backward(const Tensor& dlogits, const Tensor& g, const Tensor& count,
                            const Tensor& logits, const Tensor& targets, const Tensor& statistics,
                            std::int64_t ignore_index, double smoothing) {
  dispatch(FloatTypes{}, logits.dtype(), [&](auto tag) {
    cross_entropy_backward_typed<typename decltype(tag)::type>(dlogits, g, count, logits, targets,
                                                               statistics, ignore_index, smoothing);
  });
}

}  // namespace

void fill_loss(Kernels& table) {
  table.cross_entropy = cross_entropy;
  table.cross_entropy_backward = cross_entropy_backward;
}

}  // namespace scangrad::cuda
