#pragma once
#include <scangrad/core/backend.h>
#include <scangrad/core/error.h>
#include <scangrad/ops/scan_run.h>
#include <scangrad/ops/vector_math.h>

// The scan of a monoid of the user's own, as a differentiable operation: on the CPU, and on CUDA
// where this header is compiled by nvcc (which needs --expt-relaxed-constexpr). A monoid is a
// struct:
//
//   struct Rotation {  // e^{iθ}, as (real, imaginary)
//     static constexpr const char* name = "rotation_scan";  // in errors
//     static constexpr int size = 2;                        // values of an element
//     template <class C> SCANGRAD_FN static void identity(C* out);
//     /// out = l ∘ r, first l, then r; out is neither of them. Associative.
//     template <class C> SCANGRAD_FN static void combine(C* out, const C* l, const C* r);
//     /// The adjoint: the gradients of l and r, from g, that of l ∘ r. All are distinct.
//     template <class C>
//     SCANGRAD_FN static void adjoint(C* dl, C* dr, const C* l, const C* r, const C* g);
//   };
//   auto [states, last] = sg::monoid_scan<Rotation>(x, {.dim = 1});
//
// C is float (for bf16 too) or double. A program should call it for one monoid from .cu files only
// or from .cpp files only: they make two versions of one function. examples/ has two monoids that
// work.
namespace scangrad {

/// What monoid_scan hands to the library.
struct MonoidScan {
  const char* name;
  std::int64_t size;
  void (*identity)(double* out);
  // For the CPU and CUDA; null where they were not compiled.
  ScanKernel *cpu, *cuda;
  ScanBackwardKernel *cpu_backward, *cuda_backward;

  ScanResult operator()(const Tensor& x, const ScanOptions& options) const;
};

namespace monoid_scan_kernels {

/// The user's monoid M as ops/scan_algorithms.h wants one.
template <class M, class Scalar>
struct Block {
  using C = Scalar;
  C* scratch = nullptr;

  std::int64_t size_a() const { return M::size; }
  std::int64_t size_b() const { return 0; }
  std::int64_t state_size() const { return M::size; }
  std::int64_t scratch_size() const { return M::size; }
  void start(C* state) const { M::identity(state); }
  void identity(SCANGRAD_CPU_NAMESPACE::Element<C> out) const { M::identity(out.a); }
  void step(C* next, const C* state, SCANGRAD_CPU_NAMESPACE::Element<const C> x) const {
    M::combine(next, state, x.a);
  }
  void combine(SCANGRAD_CPU_NAMESPACE::Element<C> out, SCANGRAD_CPU_NAMESPACE::Element<const C> l,
               SCANGRAD_CPU_NAMESPACE::Element<const C> r) const {
    M::combine(scratch, l.a, r.a);
    SCANGRAD_CPU_NAMESPACE::copy_values(out.a, scratch, M::size);
  }
};

/// Where sequence s has its step k.
struct Steps {
  std::int64_t count, inner, groups;
  const bool* cuts;  // (outer, T, groups); null for none
  bool reverse, exclusive;

  Steps(const Tensor& states, const Tensor& cuts_, ScanPlan plan)
      : count(states.shape()[1]),
        inner(states.shape()[2]),
        groups(cuts_.defined() ? cuts_.shape()[2] : 1),
        cuts(cuts_.defined() ? cuts_.data<bool>() : nullptr),
        reverse(plan.reverse),
        exclusive(plan.exclusive) {}
  SCANGRAD_FN std::int64_t row(std::int64_t s, std::int64_t k) const {
    return s / inner * count + (reverse ? count - 1 - k : k);
  }
  SCANGRAD_FN std::int64_t at(std::int64_t s, std::int64_t k) const {
    return row(s, k) * inner + s % inner;
  }
  SCANGRAD_FN bool cut(std::int64_t s, std::int64_t k) const {
    return cuts != nullptr && cuts[row(s, k) * groups + s % inner / (inner / groups)];
  }
};

template <class C, class T>
SCANGRAD_FN void copy_block(C* to, const T* from, int size) {
  for (int i = 0; i < size; ++i) to[i] = static_cast<C>(from[i]);
}

/// A sequence from its last step to its first: with q the cotangent of the state after a step, the
/// adjoint of state ∘ x gives that of the state before it and the gradient of x.
template <class M, class T>
struct BackwardSequence {
  using C = compute_type<T>;
  Steps steps;
  T *dx, *d_initial;
  const T *x, *states, *initial, *g, *g_last;

  /// The state before step k.
  SCANGRAD_FN void before(C* state, std::int64_t s, std::int64_t k) const {
    if (steps.cut(s, k)) {
      M::identity(state);
    } else if (steps.exclusive || k > 0) {
      copy_block(state, states + steps.at(s, steps.exclusive ? k : k - 1) * M::size, M::size);
    } else if (initial != nullptr) {
      copy_block(state, initial + s * M::size, M::size);
    } else {
      M::identity(state);
    }
  }
  SCANGRAD_FN void add_gradient(C* q, std::int64_t s, std::int64_t k) const {
    const T* const from = g + steps.at(s, k) * M::size;
    for (int i = 0; i < M::size; ++i) q[i] += static_cast<C>(from[i]);
  }
  SCANGRAD_FN void operator()(std::int64_t s) const {
    C q[M::size], state[M::size], element[M::size], d_state[M::size], d_element[M::size];
    copy_block(q, g_last + s * M::size, M::size);
    if (!steps.exclusive) add_gradient(q, s, steps.count - 1);
    for (std::int64_t k = steps.count - 1; k >= 0; --k) {
      const std::int64_t at = steps.at(s, k) * M::size;
      before(state, s, k);
      copy_block(element, x + at, M::size);
      M::adjoint(d_state, d_element, state, element, q);
      if (dx != nullptr) copy_block(dx + at, d_element, M::size);
      const bool cut = steps.cut(s, k);  // nothing flows back into another segment
      for (int i = 0; i < M::size; ++i) q[i] = cut ? C(0) : d_state[i];
      if (steps.exclusive && !cut) add_gradient(q, s, k);
      if (!steps.exclusive && k > 0) add_gradient(q, s, k - 1);
    }
    if (d_initial != nullptr) copy_block(d_initial + s * M::size, q, M::size);
  }
};

template <class T>
T* data_of(const Tensor& t) {
  return t.defined() ? t.data<T>() : nullptr;
}

struct OnCpu {
  template <class Sequence>
  static void each(Device, std::int64_t count, const Sequence& sequence) {
    parallel_for(count, 1, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t s = begin; s < end; ++s) sequence(s);
    });
  }
  /// A ScanKernel.
  template <class M>
  static void scan(const Tensor& states, const Tensor& last, const Tensor& x, const Tensor&,
                   const Tensor& initial, const Tensor& cuts, ScanPlan plan) {
    dispatch(FloatTypes{}, states.dtype(), [&](auto type) {
      using T = typename decltype(type)::type;
      using Monoid = Block<M, compute_type<T>>;
      SCANGRAD_CPU_NAMESPACE::run(SCANGRAD_CPU_NAMESPACE::ScanTensors<Monoid, T>(
          Monoid{}, states, last, x, {}, initial, cuts, plan));
    });
  }
};

#ifdef __CUDACC__
/// A sequence from its first step to its last.
template <class M, class T>
struct Forward {
  using C = compute_type<T>;
  Steps steps;
  T *states, *last;
  const T *x, *initial;

  SCANGRAD_FN void operator()(std::int64_t s) const {
    C state[M::size], element[M::size], next[M::size];
    M::identity(state);
    if (initial != nullptr) copy_block(state, initial + s * M::size, M::size);
    for (std::int64_t k = 0; k < steps.count; ++k) {
      const std::int64_t at = steps.at(s, k) * M::size;
      if (steps.cut(s, k)) M::identity(state);
      copy_block(element, x + at, M::size);
      M::combine(next, state, element);
      copy_block(states + at, steps.exclusive ? state : next, M::size);
      copy_block(state, next, M::size);
    }
    copy_block(last + s * M::size, state, M::size);
  }
};

template <class Sequence>
__global__ void each_sequence(std::int64_t count, Sequence sequence) {
  const std::int64_t step = std::int64_t{gridDim.x} * blockDim.x;
  std::int64_t s = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  for (; s < count; s += step) sequence(s);
}

/// A thread a sequence.
struct OnCuda {
  template <class Sequence>
  static void each(Device device, std::int64_t count, const Sequence& sequence) {
    int current = 0;
    cudaGetDevice(&current);
    cudaSetDevice(device.index);
    constexpr int threads = 64;
    const std::int64_t blocks = std::min<std::int64_t>((count + threads - 1) / threads, 1 << 20);
    each_sequence<<<static_cast<unsigned>(blocks), threads, 0,
                    static_cast<cudaStream_t>(backend(device).stream(device.index))>>>(count,
                                                                                       sequence);
    const cudaError_t status = cudaGetLastError();
    cudaSetDevice(current);
    if (status != cudaSuccess) {
      throw DeviceError(std::string("monoid_scan: ") + cudaGetErrorString(status));
    }
  }
  /// A ScanKernel.
  template <class M>
  static void scan(const Tensor& states, const Tensor& last, const Tensor& x, const Tensor&,
                   const Tensor& initial, const Tensor& cuts, ScanPlan plan) {
    dispatch(FloatTypes{}, states.dtype(), [&](auto type) {
      using T = typename decltype(type)::type;
      each(states.device(), states.shape()[0] * states.shape()[2],
           Forward<M, T>{{states, cuts, plan},
                         states.data<T>(),
                         last.data<T>(),
                         x.data<T>(),
                         data_of<T>(initial)});
    });
  }
};
#endif

/// A ScanBackwardKernel.
template <class M, class On>
struct BackwardKernel {
  static void run(const Tensor& dx, const Tensor&, const Tensor& d_initial, const Tensor& x,
                  const Tensor& states, const Tensor& initial, const Tensor& g,
                  const Tensor& g_last, const Tensor& cuts, ScanPlan plan) {
    dispatch(FloatTypes{}, states.dtype(), [&](auto type) {
      using T = typename decltype(type)::type;
      On::each(states.device(), states.shape()[0] * states.shape()[2],
               BackwardSequence<M, T>{{states, cuts, plan},
                                      data_of<T>(dx),
                                      data_of<T>(d_initial),
                                      x.data<T>(),
                                      states.data<T>(),
                                      data_of<T>(initial),
                                      g.data<T>(),
                                      g_last.data<T>()});
    });
  }
};

}  // namespace monoid_scan_kernels

/// The scan of x (…, T, …, M::size), f32, f64 or bf16 (whose states are carried in f32), with the
/// monoid M: H_t = H_{t-1} ∘ x_t, `dim` one of the dimensions before the last. Every option and
/// algorithm (on CUDA each sequence is walked by one thread). Differentiable once: the adjoint is a
/// kernel; associative_scan has all derivatives. Throws as other scans, UnsupportedError for a
/// CUDA tensor where the call was not compiled by nvcc, and GradError for second derivatives.
template <class M>
ScanResult monoid_scan(const Tensor& x, const ScanOptions& options = {}) {
  namespace kernels = monoid_scan_kernels;
  MonoidScan scan{M::name,
                  M::size,
                  [](double* out) { M::identity(out); },
                  kernels::OnCpu::scan<M>,
                  nullptr,
                  kernels::BackwardKernel<M, kernels::OnCpu>::run,
                  nullptr};
#ifdef __CUDACC__
  scan.cuda = kernels::OnCuda::scan<M>;
  scan.cuda_backward = kernels::BackwardKernel<M, kernels::OnCuda>::run;
#endif
  return scan(x, options);
}

}  // namespace scangrad
