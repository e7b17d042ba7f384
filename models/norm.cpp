#include <scangrad/models/norm.h>
#include <scangrad/ops/elementwise.h>
#include <scangrad/ops/norm.h>

namespace scangrad {

LayerNorm::LayerNorm(std::int64_t width, double eps, bool has_bias)
    : weight(ones({width})), eps_(eps) {
  register_parameter("weight", weight);
  if (!has_bias) return;
  bias = zeros({width});
  register_parameter("bias", bias);
}

Tensor LayerNorm::forward(const Tensor& x) const {
  const Tensor shift = bias.defined() ? cast(bias, x.dtype()) : bias;
  return layer_norm(x, cast(weight, x.dtype()), shift, eps_);
}

RMSNorm::RMSNorm(std::int64_t width, double eps) : weight(ones({width})), eps_(eps) {
  register_parameter("weight", weight);
}

Tensor RMSNorm::forward(const Tensor& x) const {
  return rms_norm(x, cast(weight, x.dtype()), eps_);
}

}  // namespace scangrad
