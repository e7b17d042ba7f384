#include <scangrad/ops/creation.h>
#include <scangrad/ops/elementwise.h>
#include <scangrad/ops/join.h>
#include <scangrad/ops/linalg.h>
#include <scangrad/ops/matmul.h>
#include <scangrad/ops/matrix_form.h>
#include <scangrad/ops/reduce.h>
#include <scangrad/ops/scan_frontend.h>
#include <scangrad/ops/shape.h>

namespace scangrad {
namespace {

/// L + D and U + D of `ldu`, and D's diagonal.
struct Factors {
  Tensor lower, upper, root;
};
Factors ldu_factors(const Tensor& x) {
  const Tensor d = diagonal(x) * 0.5;
  const Tensor root = exp(d - mean(d, {-1}, true)), on_diagonal = diag_embed(root);
  return {tril(x, -1) + on_diagonal, triu(x, 1) + on_diagonal, root};
}

/// dX from dM: through M = A B of A = L + D, B = U + D, and through D, whose elements are
/// exp((d_i − mean d)/2).
Tensor elements_gradient(const Tensor& x, const Tensor& dm, MatrixForm form) {
  if (form == MatrixForm::identity) return dm;
  const auto [lower, upper, root] = ldu_factors(x);
  const Tensor da = matmul(dm, transpose(upper, -1, -2));
  const Tensor db = matmul(transpose(lower, -1, -2), dm);
  const Tensor of_logs = (diagonal(da) + diagonal(db)) * root * 0.5;
  return tril(da, -1) + triu(db, 1) + diag_embed(of_logs - mean(of_logs, {-1}, true));
}

/// Of what form_scan records: {x, initial, states, cuts}.
Tensors gradients(const Backward& context, MatrixForm form, ScanPlan plan) {
  const Tensor &x = context.saved[0], &initial = context.saved[1], &states = context.saved[2],
               &cuts = context.saved[3];
  if (context.create_graph) {
    const Tensors plain = matmul_scan_gradients({context.grads,
                                                 {form_matrices(x, form), initial, states, cuts},
                                                 {context.needs[0], false, context.needs[1]},
                                                 true},
                                                plan);
    return {context.needs[0] ? elements_gradient(x, plain[0], form) : Tensor{}, plain[2]};
  }
  const Tensor g = contiguous(context.grads[0]), g_last = contiguous(context.grads[1]);
  const Tensor dx = context.needs[0] ? empty_like(x) : Tensor{};
  const Tensor d_initial = context.needs[1] ? empty_like(g_last) : Tensor{};
  kernels(x.device())
      .form_scan_backward(dx, d_initial, x, form, states, initial, g, g_last, cuts, plan);
  return {dx, d_initial};
}

}  // namespace

Tensor form_matrices(const Tensor& x, MatrixForm form) {
  constexpr const char* op = "form_matrices";
  check_dtype(op, x, FloatTypes{});
  check<ShapeError>(x.rank() >= 2 && x.size(-1) == x.size(-2),
                    "{}: x of shape {} is not square matrices", op, x.shape());
  if (form == MatrixForm::identity) return x + eye(x.size(-1), x.options());
  const Factors factors = ldu_factors(x);
  return matmul(factors.lower, factors.upper);
}

ScanResult form_scan(const Tensor& x, MatrixForm form, const ScanOptions& options) {
  constexpr const char* op = "form_scan";
  check_dtype(op, x, FloatTypes{});
  check_square(op, x);
  FormScanKernel* const kernel = kernels(x.device()).form_scan;
  if (kernel != nullptr && x.numel() > 0) {
    const ScanLayout layout(op, x.shape(), 2, options);
    const Tensor elements = layout.elements(x), initial = layout.initial(x), cuts = layout.cuts(x);
    const ScanPlan plan = layout.plan();
    const Tensor states = empty_like(elements);
    Shape state_shape = states.shape();
    state_shape.erase(1);
    const Tensor last = empty(state_shape, x.options());
    if (kernel(states, last, elements, form, initial, cuts, plan)) {
      record(op, {elements, initial}, {states, last}, {elements, initial, states, cuts},
             [form, plan](const Backward& context) { return gradients(context, form, plan); });
      return layout.result({states, last});
    }
  }
  return matmul_scan(form_matrices(x, form), options);
}

}  // namespace scangrad
