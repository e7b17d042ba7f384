#include <scangrad/autograd/grad_mode.h>
#include <scangrad/ops/creation.h>
#include <scangrad/ops/elementwise.h>
#include <scangrad/ops/scan_frontend.h>
#include <scangrad/ops/shape.h>

namespace scangrad {
namespace {

/// 2^{e_{t-1} − e_t} of each step, (outer, T, inner, 1, 1): what its renormalisation multiplied by.
Tensor step_scales(const Tensor& exponents, const Tensor& first, const Tensor& last,
                   const Tensor& cuts, ScanPlan plan, const TensorOptions& like) {
  const auto guard = no_grad();
  Tensor before = exponents, after = exponents;
  if (plan.exclusive) {
    // The exponent after a segment was not returned, nor the state: it has no gradient to scale.
    after = cut_states(adjoint_cuts(cuts, plan), before, shifted(exponents, last, plan.reverse));
  } else {
    const Tensor zero = zeros({}, exponents.options());
    const Tensor start = first.defined() ? first : zeros(last.shape(), exponents.options());
    before = cut_states(cuts, zero, shifted(exponents, start, !plan.reverse));
  }
  const Tensor two = full({}, 2, like);
  return unsqueeze(unsqueeze(pow(two, cast(before - after, like.dtype)), -1), -1);
}

/// The steps m_t · scale_t make a plain scan, whose states are the mantissas: S_t = S_{t-1} (m_t
/// scale_t). So its gradients are theirs.
Tensors scaled_gradients(const Backward& context, ScanPlan plan) {
  const Tensor &m = context.saved[0], &initial = context.saved[1], &states = context.saved[2],
               &cuts = context.saved[3], &exponents = context.saved[4],
               &last_exponent = context.saved[5], &first = context.saved[6];
  ScaledScanBackwardKernel* const fused = kernels(m.device()).matmul_scan_scaled_backward;
  if (fused != nullptr && !context.create_graph) {
    const Tensor g = contiguous(context.grads[0]), g_last = contiguous(context.grads[1]);
    const Tensor dm = context.needs[0] ? empty_like(m) : Tensor{};
    const Tensor d_initial = context.needs[1] ? empty_like(g_last) : Tensor{};
    if (fused(dm, d_initial, m, states, exponents, last_exponent, initial, first, g, g_last, cuts,
              plan)) {
      return {dm, d_initial};
    }
  }
  const Tensor scales = step_scales(exponents, first, last_exponent, cuts, plan, m.options());
  const Tensors plain = matmul_scan_gradients({context.grads,
                                               {m * scales, initial, states, cuts},
                                               {context.needs[0], false, context.needs[1]},
                                               context.create_graph},
                                              plan);
  return {context.needs[0] ? plain[0] * scales : Tensor{}, plain[2]};
}

}  // namespace

ScaledScanResult matmul_scan_scaled(const Tensor& m, const ScanOptions& options,
                                    const Tensor& initial_exponent) {
  constexpr const char* op = "matmul_scan_scaled";
  check_dtype(op, m, FloatTypes{});
  check_square(op, m);
  const ScanLayout layout(op, m.shape(), 2, options);
  const ScanPlan plan = layout.plan();
  const Tensor x = layout.elements(m), initial = layout.initial(m), cuts = layout.cuts(m);
  const Shape leading = m.shape().slice(0, m.rank() - 2);
  Shape exponent_shape = leading;
  exponent_shape.erase(normalize_dim(op, options.dim, m.rank()));
  const TensorOptions exponent_options{DType::i32, m.device()};
  if (initial_exponent.defined()) {
    check<ValueError>(initial.defined(), "{}: initial_exponent is given without options.initial",
                      op);
    check<ShapeError>(initial_exponent.shape() == exponent_shape,
                      "{}: initial_exponent has shape {}, not {}", op, initial_exponent.shape(),
                      exponent_shape);
    check_dtype(op, initial_exponent, TypeList<std::int32_t>{});
    check_same_device(op, initial_exponent, m);
  }
  const Shape& steps = x.shape();  // (outer, T, inner, n, n)
  const Tensor first = initial_exponent.defined()
                           ? contiguous(reshape(initial_exponent, {steps[0], steps[2]}))
                           : Tensor{};
  if (m.numel() == 0) {  // nothing to normalise
    const auto [states, last] = matmul_scan(m, options);
    const Tensor last_exponent =
        first.defined() ? reshape(first, exponent_shape) : zeros(exponent_shape, exponent_options);
    return {states, zeros(leading, exponent_options), last, last_exponent};
  }
  const Tensor states = empty_like(x), exponents = empty(steps.slice(0, 3), exponent_options);
  const Tensor last = empty({steps[0], steps[2], steps[3], steps[4]}, x.options());
  const Tensor last_exponent = empty({steps[0], steps[2]}, exponent_options);
  kernel_for(op, m.device(), &Kernels::matmul_scan_scaled)(states, exponents, last, last_exponent,
                                                           x, initial, first, cuts, plan);
  record(op, {x, initial}, {states, last},
         {x, initial, states, cuts, exponents, last_exponent, first},
         [plan](const Backward& context) { return scaled_gradients(context, plan); });
  const ScanResult result = layout.result({states, last});
  return {result.states, reshape(exponents, leading), result.last,
          reshape(last_exponent, exponent_shape)};
}

}  // namespace scangrad
