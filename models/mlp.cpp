#include <scangrad/models/mlp.h>
#include <scangrad/ops/matmul.h>

namespace scangrad {

Mlp::Mlp(const MlpConfig& config, Generator& generator)
    : gelu_(config.gelu),
      c_fc_(config.width, 4 * config.width, 0.02, generator, config.bias),
      c_proj_(4 * config.width, config.width, config.out_std, generator, config.bias),
      dropout_(config.dropout) {
  register_module("c_fc", c_fc_);
  register_module("c_proj", c_proj_);
  register_module("dropout", dropout_);
}

Tensor Mlp::forward(const Tensor& x, const Tensor& /*starts*/) {
  return dropout_.forward(
      feed_forward(x, c_fc_.weight, c_fc_.bias, c_proj_.weight, c_proj_.bias, gelu_));
}

}  // namespace scangrad
