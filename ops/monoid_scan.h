#pragma once
#include <scangrad/core/error.h>
#include <scangrad/ops/monoid_chunks.h>
#include <scangrad/ops/monoid_sequences.h>
#include <scangrad/ops/scan_run.h>

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

struct OnCpu {
  template <class M, class T>
  static void scan_backward(const Tensor& states, ScanPlan,
                            const BackwardSequence<M, T>& sequence) {
    const std::int64_t count = states.shape()[0] * states.shape()[2];
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

/// A ScanBackwardKernel.
template <class M, class On>
struct BackwardKernel {
  static void run(const Tensor& dx, const Tensor&, const Tensor& d_initial, const Tensor& x,
                  const Tensor& states, const Tensor& initial, const Tensor& g,
                  const Tensor& g_last, const Tensor& cuts, ScanPlan plan) {
    dispatch(FloatTypes{}, states.dtype(), [&](auto type) {
      using T = typename decltype(type)::type;
      On::template scan_backward<M, T>(states, plan,
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
/// algorithm (on CUDA a thread walks each sequence, or, of few long ones, a chunk). Differentiable
/// once: the adjoint is a kernel; associative_scan has all derivatives. Throws as other scans,
/// UnsupportedError for a CUDA tensor where the call was not compiled by nvcc, and GradError for
/// second derivatives.
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
