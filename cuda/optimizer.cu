#include <scangrad/cuda/families.h>
#include <scangrad/ops/optimizer.h>
#include <scangrad/cuda/launch.cuh>

#include <array>

namespace scangrad::cuda {
namespace {

/// One parameter, its gradient and up to two moments, all contiguous and of one shape.
template <class T>
struct Slot {
  T* parameter;
  const T* gradient;
  compute_type<T>* moments[2];
  std::int64_t numel;
  bool packed;  // whether packs of 4 may be read
};
/// As many parameters as fit into a kernel's arguments, cut into chunks that blocks take in turn.
template <class T>
struct Batch {
  static constexpr int capacity = 64;
  static constexpr int chunk = 4 * block_threads;  // elements
  Slot<T> slots[capacity];
  std::int64_t first_chunks[capacity];
  std::int64_t chunks = 0;
  int count = 0;
};

/// A rule is a step of one element, step(factors, p, g, moments) → p; its factors are computed once
/// for a block, in double as on the CPU, from `control`, which may change between replays of a
/// captured step.
struct AdamW {
  static constexpr int moments = 2;
  AdamWConstants constants;

  template <class C>
  struct Factors {
    C gradient, keep, beta2, rest1, rest2, root, eps, step_size;
  };
  template <class C>
  __device__ Factors<C> factors(const double* control) const {
    const double rate = control[0] * constants.learning_rate_scale, step = control[1];
    return {static_cast<C>(control[2]),
            static_cast<C>(1 - rate * constants.weight_decay),
            static_cast<C>(constants.beta2),
            static_cast<C>(1 - constants.beta1),
            static_cast<C>(1 - constants.beta2),
            static_cast<C>(sqrt(1 - pow(constants.beta2, step))),
            static_cast<C>(constants.eps),
            static_cast<C>(rate / (1 - pow(constants.beta1, step)))};
  }
  template <class C>
  static __device__ C step(const Factors<C>& f, C p, C g, C (&moments)[2]) {
    g *= f.gradient;
    const C m = moments[0] += f.rest1 * (g - moments[0]);
    const C v = moments[1] = f.beta2 * moments[1] + f.rest2 * g * g;
    return p * f.keep - f.step_size * m / (sqrt(v) / f.root + f.eps);
  }
};

template <bool with_momentum>
struct Sgd {
  static constexpr int moments = with_momentum ? 1 : 0;
  SgdConstants constants;

  template <class C>
  struct Factors {
    C gradient, decay, momentum, rate;
    bool nesterov;
  };
  template <class C>
  __device__ Factors<C> factors(const double* control) const {
    return {static_cast<C>(control[2]), static_cast<C>(constants.weight_decay),
            static_cast<C>(constants.momentum),
            static_cast<C>(control[0] * constants.learning_rate_scale), constants.nesterov};
  }
  template <class C>
  static __device__ C step(const Factors<C>& f, C p, C g, C (&moments)[2]) {
    g = g * f.gradient + f.decay * p;
    if (!with_momentum) return p - f.rate * g;
    const C b = moments[0] = f.momentum * moments[0] + g;
    return p - f.rate * (f.nesterov ? g + f.momentum * b : b);
  }
};

/// `count` adjacent elements from i on.
template <int count, class T, class Rule, class Factors>
__device__ void step_pack(const Slot<T>& slot, std::int64_t i, const Factors& factors) {
  using C = compute_type<T>;
  auto p = load_pack<count>(slot.parameter + i);
  const auto g = load_pack<count>(slot.gradient + i);
  Pack<C, count> moments[2];
  for (int k = 0; k < Rule::moments; ++k) moments[k] = load_pack<count>(slot.moments[k] + i);
  for (int j = 0; j < count; ++j) {
    C own[2] = {};
    for (int k = 0; k < Rule::moments; ++k) own[k] = moments[k].values[j];
    p.values[j] = T(Rule::step(factors, C(p.values[j]), C(g.values[j]), own));
    for (int k = 0; k < Rule::moments; ++k) moments[k].values[j] = own[k];
  }
  store_pack(slot.parameter + i, p);
  for (int k = 0; k < Rule::moments; ++k) store_pack(slot.moments[k] + i, moments[k]);
}

/// Blocks of a multiprocessor at a time: the grid is these, so that the rule's factors, with their
/// powers in double, are computed as seldom as can be.
template <class T>
inline constexpr int resident_blocks = sizeof(T) == 8 ? 4 : 5;

template <class T, class Rule>
__global__ void __launch_bounds__(block_threads, resident_blocks<T>)
    step_kernel(const __grid_constant__ Batch<T> batch, const Rule rule, const double* control) {
  using C = compute_type<T>;
  __shared__ typename Rule::template Factors<C> shared;
  if (threadIdx.x == 0) shared = rule.template factors<C>(control);
  __syncthreads();
  const auto factors = shared;
  for (std::int64_t chunk = blockIdx.x; chunk < batch.chunks; chunk += gridDim.x) {
    int at = 0;  // the last slot that begins at or before this chunk
    for (int half = Batch<T>::capacity / 2; half > 0; half /= 2) {
      if (at + half < batch.count && batch.first_chunks[at + half] <= chunk) at += half;
    }
    const Slot<T>& slot = batch.slots[at];
    const std::int64_t first = (chunk - batch.first_chunks[at]) * Batch<T>::chunk;
    const std::int64_t i = first + 4 * threadIdx.x;
    if (slot.packed && i + 4 <= slot.numel) {
      step_pack<4, T, Rule>(slot, i, factors);
      continue;
    }
    // Without packs, adjacent threads take adjacent elements; a packed slot's last few are one
    // thread's.
    const std::int64_t step = slot.packed ? 1 : block_threads;
    const std::int64_t begin = slot.packed ? i : first + threadIdx.x;
    for (std::int64_t j = begin; j < min(begin + 4 * step, slot.numel); j += step) {
      step_pack<1, T, Rule>(slot, j, factors);
    }
  }
}

/// All parameters of T in as few launches as their number allows.
template <class T, class Rule>
void step_all(const Tensors& parameters, const Tensors& gradients,
              const std::array<const Tensors*, 2>& moments, const Tensor& control,
              const Rule& rule) {
  const int device = control.device().index;
  const DeviceGuard guard(device);
  Batch<T> batch;
  const auto launch = [&] {
    if (batch.count == 0) return;
    const std::int64_t most = std::int64_t{resident_blocks<T>} * multiprocessors(device);
    step_kernel<<<static_cast<unsigned>(std::min(batch.chunks, most)), block_threads, 0,
                  stream(device)>>>(batch, rule, control.data<double>());
    check_launch(device, std::source_location::current());
    batch.chunks = batch.count = 0;
  };
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    if (parameters[i].dtype() != dtype_of<T>) continue;
    Slot<T> slot = {parameters[i].data<T>(), gradients[i].data<T>(), {}, parameters[i].numel(), {}};
    slot.packed = aligned<4>(slot.parameter) && aligned<4>(slot.gradient);
    for (int k = 0; k < Rule::moments; ++k) {
      slot.moments[k] = (*moments[k])[i].template data<compute_type<T>>();
      slot.packed = slot.packed && aligned<4>(slot.moments[k]);
    }
    batch.first_chunks[batch.count] = batch.chunks;
    batch.slots[batch.count++] = slot;
    batch.chunks += (slot.numel + Batch<T>::chunk - 1) / Batch<T>::chunk;
    if (batch.count == Batch<T>::capacity) launch();
  }
  launch();
}

template <class Rule>
void step_all_dtypes(const Tensors& parameters, const Tensors& gradients,
                     const std::array<const Tensors*, 2>& moments, const Tensor& control,
                     const Rule& rule) {
  step_all<float>(parameters, gradients, moments, control, rule);
  step_all<double>(parameters, gradients, moments, control, rule);
  step_all<bfloat16>(parameters, gradients, moments, control, rule);
}

/// Blocks of the range to scratch, then their sums.
template <class T>
void l2_norm_typed(const Tensor& out, const Tensor& x) {
  using C = compute_type<T>;
  constexpr std::int64_t block = 16384;
  const std::int64_t n = x.numel(), blocks = (n + block - 1) / block;
  const Tensor scratch = empty({blocks}, {DType::f64, x.device()});
  const T* const from = x.data<T>();
  double* const sums = scratch.data<double>();
  double* const to = out.data<double>();
  const bool packed = aligned<4>(from);
  for_each_row(x.device(), blocks, [=] __device__(std::int64_t b) {
    const T* const begin = from + b * block;
    const std::int64_t count = min(block, n - b * block), packs = packed ? count / 4 : 0;
    const double of_packs = sum_over<double>(packs, [=](auto i) {
      const auto pack = load_pack<4>(begin + 4 * i);
      double total = 0;
      for (int j = 0; j < 4; ++j) {
        const double value = C(pack.values[j]);
        total += value * value;
      }
      return total;
    });
    const double of_rest = sum_over<double>(count - 4 * packs, [=](auto i) {
      const double value = C(begin[4 * packs + i]);
      return value * value;
    });
    if (threadIdx.x == 0) sums[b] = of_packs + of_rest;
  });
  for_each_row(x.device(), 1, [=] __device__(std::int64_t) {
    const double total = sum_over<double>(blocks, [=](auto b) { return sums[b]; });
    if (threadIdx.x == 0) *to = sqrt(total);
  });
}

void adamw_step(const Tensors& parameters, const Tensors& gradients, const Tensors& exp_avg,
                const Tensors& exp_avg_sq, const Tensor& control, const AdamWConstants& constants) {
  step_all_dtypes(parameters, gradients, {&exp_avg, &exp_avg_sq}, control, AdamW{constants});
}
void sgd_step(const Tensors& parameters, const Tensors& gradients, const Tensors& momentum_buffer,
              const Tensor& control, const SgdConstants& constants) {
  if (momentum_buffer.empty()) {
    step_all_dtypes(parameters, gradients, {}, control, Sgd<false>{constants});
  } else {
    step_all_dtypes(parameters, gradients, {&momentum_buffer}, control, Sgd<true>{constants});
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
