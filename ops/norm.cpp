#include <scangrad/autograd/grad_mode.h>
#include <scangrad/ops/elementwise.h>
#include <scangrad/ops/frontend.h>
#include <scangrad/ops/norm.h>
#include <scangrad/ops/reduce.h>
#include <scangrad/ops/shape.h>

namespace scangrad {
namespace {

/// What layer_norm and rms_norm differ in.
struct Norm {
  const char* name;
  const char* backward_name;
  NormKernel* Kernels::*forward;
  NormBackwardKernel* Kernels::*backward;
  bool centred;
};
constexpr Norm layer{"layer_norm", "layer_norm_backward", &Kernels::layer_norm,
                     &Kernels::layer_norm_backward, true};
constexpr Norm rms{"rms_norm", "rms_norm_backward", &Kernels::rms_norm, &Kernels::rms_norm_backward,
                   false};

void check_parameter(const Norm& norm, const char* what, const Tensor& x, const Tensor& t) {
  if (!t.defined()) return;
  check_same_device(norm.name, x, t);
  check_same_dtype(norm.name, x, t);
  check<ShapeError>(t.shape() == Shape{x.shape().back()},
                    "{}: {} {} does not fit the last dimension of x {}", norm.name, what, t.shape(),
                    x.shape());
}

/// The gradients in differentiable operations, from x itself.
Tensors composed_backward(const Norm& norm, double eps, const Tensor& g, const Tensor& x,
                          const Tensor& weight, const std::vector<bool>& needs) {
  const Tensor centred = norm.centred ? x - mean(x, {-1}, true) : x;
  const Tensor rstd = rsqrt(mean(square(centred), {-1}, true) + eps);
  const Tensor y = centred * rstd;  // x normalised
  const Shape parameter{x.shape().back()};
  Tensors grads(3);
  if (needs[0]) {
    const Tensor gw = weight.defined() ? g * weight : g;
    Tensor inner = gw - y * mean(gw * y, {-1}, true);
    if (norm.centred) inner = inner - mean(gw, {-1}, true);
    grads[0] = inner * rstd;
  }
  if (needs[1]) grads[1] = sum_to(g * y, parameter);
  if (needs[2]) grads[2] = sum_to(g, parameter);
  return grads;
}

Tensors fused_backward(const Norm& norm, const Backward& b) {
  const Tensor& x = b.saved[0];
  const Shape parameter{x.shape().back()};
  Tensors grads(3);
  if (b.needs[0]) grads[0] = empty_like(x);
  if (b.needs[1]) grads[1] = zeros(parameter, x.options());
  if (b.needs[2]) grads[2] = zeros(parameter, x.options());
  if (x.numel() > 0) {
    kernel_for(norm.backward_name, x.device(), norm.backward)(
        grads[0], grads[1], grads[2], contiguous(b.grad()), x, b.saved[1], b.saved[2], b.saved[3]);
  }
  return grads;
}

Tensor normalise(const Norm& norm, const Tensor& input, const Tensor& weight_in,
                 const Tensor& bias_in, double eps) {
  check_dtype(norm.name, input, FloatTypes{});
  check<ShapeError>(input.rank() > 0, "{}: x is a scalar and has no last dimension", norm.name);
  check_parameter(norm, "weight", input, weight_in);
  check_parameter(norm, "bias", input, bias_in);
  const Tensor x = contiguous(input);
  const Tensor weight = weight_in.defined() ? contiguous(weight_in) : weight_in;
  const Tensor bias = bias_in.defined() ? contiguous(bias_in) : bias_in;

  Tensor y = empty_like(x);
  const DType statistics = x.dtype() == DType::f64 ? DType::f64 : DType::f32;
  const TensorOptions options{statistics, x.device()};
  const Shape rows = x.shape().slice(0, x.rank() - 1);
  const Tensor mean = norm.centred ? empty(rows, options) : Tensor{};
  const Tensor rstd = empty(rows, options);
  if (x.numel() > 0) {
    kernel_for(norm.name, x.device(), norm.forward)(y, mean, rstd, x, weight, bias, eps);
  }
  const Norm* const which = norm.centred ? &layer : &rms;
  return record(norm.name, {x, weight, bias}, y, {x, weight, mean, rstd},
                [which, eps](const Backward& b) {
                  if (!b.create_graph) return fused_backward(*which, b);
                  return composed_backward(*which, eps, b.grad(), b.saved[0], b.saved[1], b.needs);
                });
}

}  // namespace

Tensor layer_norm(const Tensor& x, const Tensor& weight, const Tensor& bias, double eps) {
  return normalise(layer, x, weight, bias, eps);
}

Tensor rms_norm(const Tensor& x, const Tensor& weight, double eps) {
  return normalise(rms, x, weight, {}, eps);
}

}  // namespace scangrad
