#include <scangrad/ops/cpu/level.h>
#include <scangrad/ops/optimizer.h>

#include <cmath>

namespace scangrad::SCANGRAD_CPU_NAMESPACE {
namespace {

constexpr std::int64_t grain = 16384;  // elements of some four arrays at once

/// What a step reads from `control`.
struct Control {
  double learning_rate;
  double step;
  double gradient_factor;
};

Control read(const Tensor& control) {
  const double* values = control.data<double>();
  return {values[0], values[1], values[2]};
}

template <class T>
void adamw_tensor(T* parameter, const T* gradient, compute_type<T>* exp_avg,
                  compute_type<T>* exp_avg_sq, std::int64_t n, const Control& control,
                  const AdamWConstants& constants) {
  using C = compute_type<T>;
  const double rate = control.learning_rate * constants.learning_rate_scale;
  const double correction1 = 1 - std::pow(constants.beta1, control.step);
  const double correction2 = 1 - std::pow(constants.beta2, control.step);
  // Constants in double and once, arithmetic in C: as PyTorch rounds.
  const C factor = static_cast<C>(control.gradient_factor);
  const C keep = static_cast<C>(1 - rate * constants.weight_decay);
  const C beta2 = static_cast<C>(constants.beta2);
  const C rest1 = static_cast<C>(1 - constants.beta1);
  const C rest2 = static_cast<C>(1 - constants.beta2);
  const C root = static_cast<C>(std::sqrt(correction2));
  const C eps = static_cast<C>(constants.eps);
  const C step_size = static_cast<C>(rate / correction1);
  parallel_for(n, grain, [&](std::int64_t begin, std::int64_t end) {
#pragma omp simd
    for (std::int64_t i = begin; i < end; ++i) {
      const C g = static_cast<C>(gradient[i]) * factor;
      const C m = exp_avg[i] + rest1 * (g - exp_avg[i]);
      const C v = beta2 * exp_avg_sq[i] + rest2 * g * g;
      exp_avg[i] = m;
      exp_avg_sq[i] = v;
      const C p = static_cast<C>(parameter[i]) * keep;
      parameter[i] = static_cast<T>(p - step_size * m / (std::sqrt(v) / root + eps));
    }
  });
}

void adamw_step(const Tensors& parameters, const Tensors& gradients, const Tensors& exp_avg,
                const Tensors& exp_avg_sq, const Tensor& control, const AdamWConstants& constants) {
  const Control values = read(control);
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    dispatch(FloatTypes{}, parameters[i].dtype(), [&](auto tag) {
      using T = typename decltype(tag)::type;
      using C = compute_type<T>;
      adamw_tensor<T>(parameters[i].data<T>(), gradients[i].data<T>(), exp_avg[i].data<C>(),
                      exp_avg_sq[i].data<C>(), parameters[i].numel(), values, constants);
    });
  }
}

/// `buffer` is null where there is no momentum.
template <class T>
void sgd_tensor(T* parameter, const T* gradient, compute_type<T>* buffer, std::int64_t n,
                const Control& control, const SgdConstants& constants) {
  using C = compute_type<T>;
  const C factor = static_cast<C>(control.gradient_factor);
  const C decay = static_cast<C>(constants.weight_decay);
  const C rate = static_cast<C>(control.learning_rate * constants.learning_rate_scale);
  const C momentum = static_cast<C>(constants.momentum);
  parallel_for(n, grain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const C p = static_cast<C>(parameter[i]);
      const C g = static_cast<C>(gradient[i]) * factor + decay * p;
      C direction = g;
      if (buffer != nullptr) {
        buffer[i] = momentum * buffer[i] + g;
        direction = constants.nesterov ? g + momentum * buffer[i] : buffer[i];
      }
      parameter[i] = static_cast<T>(p - rate * direction);
    }
  });
}

void sgd_step(const Tensors& parameters, const Tensors& gradients, const Tensors& momentum_buffer,
              const Tensor& control, const SgdConstants& constants) {
  const Control values = read(control);
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    dispatch(FloatTypes{}, parameters[i].dtype(), [&](auto tag) {
      using T = typename decltype(tag)::type;
      auto* buffer = momentum_buffer.empty() ? nullptr : momentum_buffer[i].data<compute_type<T>>();
      sgd_tensor<T>(parameters[i].data<T>(), gradients[i].data<T>(), buffer, parameters[i].numel(),
                    values, constants);
    });
  }
}

void l2_norm(const Tensor& out, const Tensor& x) {
  // Blocks of a fixed size: the sum does not depend on the number of threads.
  constexpr std::int64_t block = 65536;
  const std::int64_t n = x.numel(), blocks = (n + block - 1) / block;
  const Tensor scratch = empty({blocks}, {DType::f64, x.device()});
  double* const sums = scratch.data<double>();
  dispatch(FloatTypes{}, x.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    const T* const from = x.data<T>();
    parallel_for(blocks, 1, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t b = begin; b < end; ++b) {
        const std::int64_t last = std::min(n, (b + 1) * block);
        double total = 0;
#pragma omp simd reduction(+ : total)
        for (std::int64_t i = b * block; i < last; ++i) {
          const double value = static_cast<compute_type<T>>(from[i]);
          total += value * value;
        }
        sums[b] = total;
      }
    });
  });
  double total = 0;
  for (std::int64_t b = 0; b < blocks; ++b) total += sums[b];
  *out.data<double>() = std::sqrt(total);
}

}  // namespace

void fill_optimizer(Kernels& table) {
  table.adamw_step = adamw_step;
  table.sgd_step = sgd_step;
  table.l2_norm = l2_norm;
}

}  // namespace scangrad::SCANGRAD_CPU_NAMESPACE
