#include <scangrad/cuda/families.h>
#include <scangrad/ops/optimizer.h>
#include <scangrad/cuda/launch.cuh>

namespace scangrad::cuda {
namespace {

/// `control` is read on the device: what it says may change between replays of a captured step.
template <class T>
void adamw_typed(const Tensor& parameter, const Tensor& gradient, const Tensor& exp_avg,
                 const Tensor& exp_avg_sq, const Tensor& control, AdamWConstants constants) {
  using C = compute_type<T>;
  T* const p = parameter.data<T>();
  const T* const g = gradient.data<T>();
  C* const m = exp_avg.data<C>();
  C* const v = exp_avg_sq.data<C>();
  const double* const values = control.data<double>();
  for_each(parameter.device(), parameter.numel(), [=] __device__(std::int64_t i) {
    const double rate = values[0] * constants.learning_rate_scale, step = values[1];
    const C root = static_cast<C>(sqrt(1 - pow(constants.beta2, step)));
    const C step_size = static_cast<C>(rate / (1 - pow(constants.beta1, step)));
    const C keep = static_cast<C>(1 - rate * constants.weight_decay);
    const C gradient_i = static_cast<C>(g[i]) * static_cast<C>(values[2]);
    const C mean = m[i] + static_cast<C>(1 - constants.beta1) * (gradient_i - m[i]);
    const C square = static_cast<C>(constants.beta2) * v[i] +
                     static_cast<C>(1 - constants.beta2) * gradient_i * gradient_i;
    m[i] = mean;
    v[i] = square;
    p[i] = static_cast<T>(static_cast<C>(p[i]) * keep -
                          step_size * mean / (sqrt(square) / root + static_cast<C>(constants.eps)));
  });
}

template <class T>
void sgd_typed(const Tensor& parameter, const Tensor& gradient, const Tensor& momentum_buffer,
               const Tensor& control, SgdConstants constants) {
  using C = compute_type<T>;
  T* const p = parameter.data<T>();
  const T* const g = gradient.data<T>();
  C* const buffer = data_or_null<C>(momentum_buffer);
  const double* const values = control.data<double>();
  for_each(parameter.device(), parameter.numel(), [=] __device__(std::int64_t i) {
    const C before = static_cast<C>(p[i]);
    const C gradient_i = static_cast<C>(g[i]) * static_cast<C>(values[2]) +
                         static_cast<C>(constants.weight_decay) * before;
    C direction = gradient_i;
    if (buffer != nullptr) {
      const C momentum = static_cast<C>(constants.momentum);
      buffer[i] = momentum * buffer[i] + gradient_i;
      direction = constants.nesterov ? gradient_i + momentum * buffer[i] : buffer[i];
    }
    p[i] = static_cast<T>(before -
                          static_cast<C>(values[0] * constants.learning_rate_scale) * direction);
  });
}

template <class T>
void l2_norm_typed(const Tensor& out, const Tensor& x) {
  constexpr std::int64_t block = 16384;
  const std::int64_t n = x.numel(), blocks = (n + block - 1) / block;
  const Tensor scratch = empty({blocks}, {DType::f64, x.device()});
  const T* const from = x.data<T>();
  double* const sums = scratch.data<double>();
  double* const to = out.data<double>();
  for_each_row(x.device(), blocks, [=] __device__(std::int64_t b) {
    const double total = sum_over<double>(min(block, n - b * block), [=](auto i) {
      const double value = static_cast<compute_type<T>>(from[b * block + i]);
      return value * value;
    });
    if (threadIdx.x == 0) sums[b] = total;
  });
  for_each_row(x.device(), 1, [=] __device__(std::int64_t) {
    const double total = sum_over<double>(blocks, [=](auto b) { return sums[b]; });
    if (threadIdx.x == 0) *to = sqrt(total);
  });
}

void adamw_step(const Tensors& parameters, const Tensors& gradients, const Tensors& exp_avg,
                const Tensors& exp_avg_sq, const Tensor& control, const AdamWConstants& constants) {
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    dispatch(FloatTypes{}, parameters[i].dtype(), [&](auto tag) {
      adamw_typed<typename decltype(tag)::type>(parameters[i], gradients[i], exp_avg[i],
                                                exp_avg_sq[i], control, constants);
    });
  }
}
void sgd_step(const Tensors& parameters, const Tensors& gradients, const Tensors& momentum_buffer,
              const Tensor& control, const SgdConstants& constants) {
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    dispatch(FloatTypes{}, parameters[i].dtype(), [&](auto tag) {
      sgd_typed<typename decltype(tag)::type>(
          parameters[i], gradients[i], momentum_buffer.empty() ? Tensor{} : momentum_buffer[i],
          control, constants);
    });
  }
}
void l2_norm(const Tensor& out, const Tensor& x) {
  dispatch(FloatTypes{}, x.dtype(),
           [&](auto tag) { l2_norm_typed<typename decltype(tag)::type>(out, x); });
}

}  // namespace

void fill_optimizer(Kernels& table) {
  table.adamw_step = adamw_step;
  table.sgd_step = sgd_step;
  table.l2_norm = l2_norm;
}

}  // namespace scangrad::cuda
