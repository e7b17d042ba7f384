#include <scangrad/ops/frontend.h>
#include <scangrad/ops/optimizer.h>

namespace scangrad {
namespace {

/// Throws unless `list` has a contiguous tensor of that dtype for each parameter.
void check_list(const char* op, const char* what, const Tensors& list, const Tensors& parameters,
                DType (*dtype)(DType parameter)) {
  check<ValueError>(list.size() == parameters.size(), "{}: there are {} {} for {} parameters", op,
                    list.size(), what, parameters.size());
  for (std::size_t i = 0; i < list.size(); ++i) {
    const DType wanted = dtype(parameters[i].dtype());
    check<ShapeError>(list[i].shape() == parameters[i].shape() && list[i].is_contiguous(),
                      "{}: {} {} is {}, but {}, contiguous, is needed", op, what, i,
                      list[i].shape(), parameters[i].shape());
    check<DTypeError>(list[i].dtype() == wanted, "{}: {} {} is {}, but {} is needed", op, what, i,
                      list[i].dtype(), wanted);
    check_same_device(op, list[i], parameters[i]);
  }
}

DType same(DType parameter) { return parameter; }
DType accumulating(DType parameter) { return parameter == DType::bf16 ? DType::f32 : parameter; }

/// Checks what all steps share, and declares the edit.
void begin_step(const char* op, const Tensors& parameters, const Tensors& gradients,
                const Tensor& control) {
  check<ShapeError>(control.shape() == Shape{3} && control.is_contiguous(),
                    "{}: control {} is not (3), contiguous", op, control.shape());
  check_dtype(op, control, TypeList<double>{});
  for (const Tensor& parameter : parameters) {
    check_dtype(op, parameter, FloatTypes{});
    check_same_device(op, parameter, control);
    check<ShapeError>(parameter.is_contiguous() && parameter.numel() > 0,
                      "{}: a parameter {} is empty or not contiguous", op, parameter.shape());
  }
  check_list(op, "gradients", gradients, parameters, same);
  for (const Tensor& parameter : parameters) begin_in_place(op, parameter);
}

}  // namespace

void adamw_step(const Tensors& parameters, const Tensors& gradients, const Tensors& exp_avg,
                const Tensors& exp_avg_sq, const Tensor& control, const AdamWConstants& constants) {
  const char* const op = "adamw_step";
  check_list(op, "first moments", exp_avg, parameters, accumulating);
  check_list(op, "second moments", exp_avg_sq, parameters, accumulating);
  begin_step(op, parameters, gradients, control);
  if (parameters.empty()) return;
  kernel_for(op, control.device(), &Kernels::adamw_step)(parameters, gradients, exp_avg, exp_avg_sq,
                                                         control, constants);
}

void sgd_step(const Tensors& parameters, const Tensors& gradients, const Tensors& momentum_buffer,
              const Tensor& control, const SgdConstants& constants) {
  const char* const op = "sgd_step";
  if (constants.momentum == 0) {
    check<ValueError>(momentum_buffer.empty(), "{}: there are {} buffers, but no momentum", op,
                      momentum_buffer.size());
  } else {
    check_list(op, "momentum buffers", momentum_buffer, parameters, accumulating);
  }
  begin_step(op, parameters, gradients, control);
  if (parameters.empty()) return;
  kernel_for(op, control.device(), &Kernels::sgd_step)(parameters, gradients, momentum_buffer,
                                                       control, constants);
}

void l2_norm(const Tensor& out, const Tensor& x) {
  check<ShapeError>(out.rank() == 0 && x.is_contiguous(),
                    "l2_norm: x must be contiguous, and out, {}, a scalar", out.shape());
  check_dtype("l2_norm", out, TypeList<double>{});
  check_dtype("l2_norm", x, FloatTypes{});
  check_same_device("l2_norm", out, x);
  begin_in_place("l2_norm", out, x);
  kernel_for("l2_norm", x.device(), &Kernels::l2_norm)(out, x);
}

}  // namespace scangrad
