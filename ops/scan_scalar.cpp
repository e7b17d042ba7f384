#include <scangrad/autograd/grad_mode.h>
#include <scangrad/ops/creation.h>
#include <scangrad/ops/elementwise.h>
#include <scangrad/ops/scan_frontend.h>
#include <scangrad/ops/shape.h>

#include <limits>

namespace scangrad {
namespace {

/// The derivatives of one step h_t = h_{t-1} ∘ x_t.
struct Slopes {
  Tensor state;    // ∂h_t/∂h_{t-1}
  Tensor element;  // ∂h_t/∂x_t
};

/// A scalar monoid and its adjoint; all over (outer, T, inner).
struct ScalarScan {
  const char* name;
  ScanKernel* Kernels::*kernel;
  double identity;  // ±infinity: of an integer dtype the extreme value
  /// From x, the states before each step and those after; null where both slopes are 1.
  Slopes (*slopes)(const Tensor& x, const Tensor& before, const Tensor& after);
};

/// Where x_t is the new extreme: it wins ties, and NaN wins always.
Tensor takes_over(const Tensor& x, const Tensor& after) {
  const auto guard = no_grad();
  const Tensor equal = eq(x, after);
  return is_floating(x.dtype()) ? logical_or(equal, isnan(x)) : equal;
}

Slopes product_slopes(const Tensor& x, const Tensor& before, const Tensor&) { return {x, before}; }
Slopes extreme_slopes(const Tensor& x, const Tensor&, const Tensor& after) {
  const Tensor takes = takes_over(x, after);
  return {cast(logical_not(takes), x.dtype()), cast(takes, x.dtype())};
}
/// Softmax weights; where all is −∞ so far, 0 rather than ∞ − ∞.
Slopes log_sum_slopes(const Tensor& x, const Tensor& before, const Tensor& after) {
  const Tensor nothing = eq(after, -std::numeric_limits<double>::infinity());
  const Tensor total = masked_fill(after, nothing, 0.0);
  return {exp(before - total), exp(x - total)};
}

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr ScalarScan sum_scan{"cumsum", &Kernels::cumsum, 0, nullptr};
constexpr ScalarScan product_scan{"cumprod", &Kernels::cumprod, 1, product_slopes};
constexpr ScalarScan max_scan{"cummax", &Kernels::cummax, -infinity, extreme_slopes};
constexpr ScalarScan min_scan{"cummin", &Kernels::cummin, infinity, extreme_slopes};
constexpr ScalarScan log_sum_scan{"logcumsumexp", &Kernels::logcumsumexp, -infinity,
                                  log_sum_slopes};

/// States that are the identity: filling an integer tensor with ±infinity gives its extreme value.
Tensor identity_states(const ScalarScan& scan, const Shape& shape, const TensorOptions& options) {
  const Tensor states = empty(shape, options);
  backend(options.device).fill(states, scan.identity);
  return states;
}

ScanResult scan_scalars(const ScalarScan& scan, const Tensor& x, const Tensor& initial,
                        const Tensor& cuts, ScanPlan plan);

/// The cotangent of h_t is q_t = g_t + w_{t+1} q_{t+1} with w the slope to the state before: a
/// linear scan the other way round, as in scan.cpp. dx_t is q_t times the slope to x_t.
Tensors scalar_gradients(const ScalarScan& scan, const Backward& context, ScanPlan plan) {
  const Tensor g = contiguous(context.grads[0]), g_last = contiguous(context.grads[1]);
  if (g.numel() == 0) return {zeros_like(g), g_last};
  const Tensor& cuts = context.saved[0];
  const Tensor back_cuts = adjoint_cuts(cuts, plan);
  if (scan.slopes == nullptr) {
    const auto [dx, d_initial] = scan_scalars(sum_scan, g, g_last, back_cuts,
                                              {!plan.reverse, plan.exclusive, plan.algorithm});
    return {dx, cut_initial_gradient(cuts, d_initial, plan)};
  }
  const Tensor &x = context.saved[1], &initial = context.saved[2], &states = context.saved[3];
  const Tensor identity = identity_states(scan, g_last.shape(), x.options());
  Tensor before = states, after = states;
  if (plan.exclusive) {
    // The state after a segment was not returned. Its gradient is 0, and any finite slope will do.
    after =
        cut_states(back_cuts, maximum(before, x), shifted(states, context.saved[4], plan.reverse));
  } else {
    const Tensor start = initial.defined() ? initial : identity;
    before = cut_states(cuts, unsqueeze(identity, 1), shifted(states, start, !plan.reverse));
  }
  const Slopes slopes = scan.slopes(x, before, after);
  const auto [carried, d_initial] =
      canonical_linear_scan(slopes.state, plan.exclusive ? g : slopes.state * g, g_last, back_cuts,
                            {!plan.reverse, true, ScanAlgorithm::automatic});
  const Tensor q = plan.exclusive ? carried : g + carried;
  return {slopes.element * q, cut_initial_gradient(cuts, d_initial, plan)};
}

ScanResult scan_scalars(const ScalarScan& scan, const Tensor& x, const Tensor& initial,
                        const Tensor& cuts, ScanPlan plan) {
  const Tensor states = empty_like(x);
  Shape state_shape = x.shape();
  state_shape.erase(1);
  Tensor last;
  if (x.numel() > 0) {
    last = empty(state_shape, x.options());
    kernel_for(scan.name, x.device(), scan.kernel)(states, last, x, {}, initial, cuts, plan);
  } else {
    last = initial.defined() ? clone(initial.detach())
                             : identity_states(scan, state_shape, x.options());
  }
  const Tensors saved = scan.slopes ? Tensors{cuts, x, initial, states, last} : Tensors{cuts};
  record(scan.name, {x, initial}, {states, last}, saved,
         [&scan, plan](const Backward& context) { return scalar_gradients(scan, context, plan); });
  return {states, last};
}

ScanResult run(const ScalarScan& scan, const Tensor& x, const ScanOptions& options) {
  const ScanLayout layout(scan.name, x.shape(), 0, options);
  return layout.result(
      scan_scalars(scan, layout.elements(x), layout.initial(x), layout.cuts(x), layout.plan()));
}

/// Sums and products of integers are i64.
Tensor widened(const Tensor& x) { return is_floating(x.dtype()) ? x : cast(x, DType::i64); }

/// The forward, inclusive scan with the positions: the last one so far that took over.
ValuesIndices run_with_indices(const ScalarScan& scan, const Tensor& x, std::int64_t dim) {
  check_dtype(scan.name, x, NumberTypes{});
  const Tensor values = run(scan, x, {.dim = dim}).states;
  const auto guard = no_grad();
  if (x.rank() == 0) return {values, zeros({}, {DType::i64, x.device()})};
  const int at = normalize_dim(scan.name, dim, x.rank());
  Shape along = Shape::filled(x.rank(), 1);
  along[at] = x.shape()[at];
  const Tensor positions =
      reshape(arange(0, static_cast<double>(along[at]), 1, {DType::i64, x.device()}), along);
  const Tensor taken =
      where(takes_over(x, values), positions, full({}, -1, {DType::i64, x.device()}));
  return {values, run(max_scan, taken, {.dim = dim}).states};
}

}  // namespace

ScanResult cumsum(const Tensor& x, const ScanOptions& options) {
  return run(sum_scan, widened(x), options);
}
ScanResult cumprod(const Tensor& x, const ScanOptions& options) {
  return run(product_scan, widened(x), options);
}
ScanResult logcumsumexp(const Tensor& x, const ScanOptions& options) {
  check_dtype("logcumsumexp", x, FloatTypes{});
  return run(log_sum_scan, x, options);
}
ScanResult cummax(const Tensor& x, const ScanOptions& options) {
  check_dtype("cummax", x, NumberTypes{});
  return run(max_scan, x, options);
}
ScanResult cummin(const Tensor& x, const ScanOptions& options) {
  check_dtype("cummin", x, NumberTypes{});
  return run(min_scan, x, options);
}

Tensor cumsum(const Tensor& x, std::int64_t dim) { return cumsum(x, {.dim = dim}).states; }
Tensor cumprod(const Tensor& x, std::int64_t dim) { return cumprod(x, {.dim = dim}).states; }
Tensor logcumsumexp(const Tensor& x, std::int64_t dim) {
  return logcumsumexp(x, {.dim = dim}).states;
}
ValuesIndices cummax(const Tensor& x, std::int64_t dim) {
  return run_with_indices(max_scan, x, dim);
}
ValuesIndices cummin(const Tensor& x, std::int64_t dim) {
  return run_with_indices(min_scan, x, dim);
}

}  // namespace scangrad
