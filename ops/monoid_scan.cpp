#include <scangrad/ops/elementwise.h>
#include <scangrad/ops/monoid_scan.h>
#include <scangrad/ops/scan_frontend.h>
#include <scangrad/ops/shape.h>

#include <vector>

namespace scangrad {
namespace {

Tensors gradients(const MonoidScan& scan, const Backward& context, ScanPlan plan) {
  check<GradError>(!context.create_graph,
                   "{}: there is no second derivative of a monoid's adjoint; use associative_scan",
                   scan.name);
  const Tensor g = contiguous(context.grads[0]), g_last = contiguous(context.grads[1]);
  const Tensor &x = context.saved[0], &initial = context.saved[1], &states = context.saved[2],
               &cuts = context.saved[3];
  if (states.numel() == 0) return {zeros_like(x), g_last};
  const Tensor dx = context.needs[0] ? empty_like(x) : Tensor{};
  const Tensor d_initial = context.needs[1] ? empty_like(g_last) : Tensor{};
  const auto kernel = x.device().is_cpu() ? scan.cpu_backward : scan.cuda_backward;
  kernel(dx, {}, d_initial, x, states, initial, g, g_last, cuts, plan);
  return {dx, d_initial};
}

}  // namespace

ScanResult MonoidScan::operator()(const Tensor& operand, const ScanOptions& options) const {
  check_dtype(name, operand, FloatTypes{});
  check<ShapeError>(operand.rank() >= 2 && operand.shape().back() == size,
                    "{}: shape {} is not [..., T, ..., {}], a dimension to scan and elements of {} "
                    "values",
                    name, operand.shape(), size, size);
  const ScanLayout layout(name, operand.shape(), 1, options);
  const ScanPlan plan = layout.plan();
  const Tensor x = layout.elements(operand), initial = layout.initial(operand),
               cuts = layout.cuts(operand);
  const auto kernel = x.device().is_cpu() ? cpu : cuda;
  check<UnsupportedError>(kernel != nullptr,
                          "{}: not compiled for {}; compile the call of monoid_scan with nvcc",
                          name, x.device());
  Shape state_shape = x.shape();  // (outer, inner, size)
  state_shape.erase(1);
  const Tensor states = empty_like(x);
  Tensor last;
  if (x.numel() > 0) {
    last = empty(state_shape, x.options());
    kernel(states, last, x, {}, initial, cuts, plan);
  } else if (initial.defined()) {
    last = clone(initial.detach());
  } else {
    std::vector<double> values(static_cast<std::size_t>(size));
    identity(values.data());
    last = clone(expand(cast(from(values, {size}, x.device()), x.dtype()), state_shape));
  }
  record(name, {x, initial}, {states, last}, {x, initial, states, cuts},
         [scan = *this, plan](const Backward& context) { return gradients(scan, context, plan); });
  return layout.result({states, last});
}

}  // namespace scangrad
