#include <scangrad/cuda/families.h>
#include <scangrad/cuda/rows.cuh>

namespace scangrad::cuda {
namespace {

namespace math = functors::math;

/// The mean of the losses over the rows that are not ignored, and their number. By one block: there
/// are far fewer losses than logits, and each kernel more takes as long as reading 6 MB.
constexpr int mean_threads = 1024;
template <class C>
__global__ void __launch_bounds__(mean_threads)
    mean_kernel(std::int64_t rows, C* mean, C* count, const C* losses, const std::int64_t* classes,
                std::int64_t ignore_index) {
  constexpr int batch = 16;  // loads in flight
  __shared__ double parts[2][mean_threads / 32];
  double sums[2] = {};  // of losses, of ones
  const auto add_lanes = [&] {
    for (double& sum : sums) {
      sum = reduce_lanes(32, sum, 0.0, [](double a, double b) { return a + b; });
    }
  };
  for (std::int64_t first = threadIdx.x; first < rows; first += batch * mean_threads) {
    C loss[batch];
    bool counts[batch];
#pragma unroll
    for (int b = 0; b < batch; ++b) {
      const std::int64_t r = first + b * mean_threads;
      loss[b] = r < rows ? losses[r] : C(0);
      counts[b] = r < rows && classes[r] != ignore_index;
    }
#pragma unroll
    for (int b = 0; b < batch; ++b) {
      sums[0] += loss[b];
      sums[1] += counts[b] ? 1 : 0;
    }
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
  const int device = logits.device().index;
  const FaultWord fault = fault_word(device);
  for_each_row_in_registers(
      logits.device(), rows, n, rows_in_packs<T>(n, from), Operands<T, 1>{{from}},
      [=] __device__(auto& row, std::int64_t r) {
        // Read before the row is waited for.
        const std::int64_t target = classes[r];
        const bool ignored = target == ignore_index, known = 0 <= target && target < n;
        const C chosen = known ? C(from[r * n + target]) : C(0);
        const auto sums = softmax_sums(row, [](auto, C v) { return v; });
        const C shift = sums.largest, log_total = log(sums.total);
        const C average = spread != 0 ? row.sum([=](auto, C v) { return v - shift; }) / C(n) : C(0);
        if (!row.first_lane()) return;
        saved[2 * r] = shift;
        saved[2 * r + 1] = log_total;
        if (!ignored && !known) note_fault(fault, where.op, where.unit, target, n);
        to[r] = ignored || !known
                    ? C(0)
                    : log_total - ((C(1) - spread) * (chosen - shift) + spread * average);
      });
  if (!mean.defined()) return;
  const DeviceGuard guard(device);
  mean_kernel<<<1, mean_threads, 0, stream(device)>>>(rows, mean.data<C>(), count.data<C>(), to,
                                                      classes, ignore_index);
  check_launch(device, std::source_location::current());
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
                              const std::int64_t target = classes[r];
                              const C d = grads[r * step] / (divisor != nullptr ? *divisor : C(1));
                              const C shift = saved[2 * r], log_total = saved[2 * r + 1];
                              row.store(to + r * n, [=](std::int64_t j, C v) {
                                if (target == ignore_index) return C(0);
                                const C probability = math::exp((v - shift) - log_total);
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
