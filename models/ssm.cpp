#include <scangrad/models/ssm.h>
#include <scangrad/ops/elementwise.h>
#include <scangrad/ops/join.h>
#include <scangrad/ops/scan.h>

namespace scangrad {

Ssm::Ssm(const MixerConfig& config, Generator& generator)
    : c_in_(config.width, 2 * config.width, 0.02, generator),
      c_proj_(config.width, config.width, config.out_std, generator),
      dropout_(config.dropout) {
  register_module("c_in", c_in_);
  register_module("c_proj", c_proj_);
  register_module("dropout", dropout_);
}

LayerState Ssm::initial_state(std::int64_t batch) const {
  const Tensor& weight = c_proj_.weight;
  return {zeros({batch, weight.size(1)}, {state_dtype(weight), weight.device()})};
}

Tensor Ssm::step(const Tensor& x, LayerState& state, const Tensor& starts) {
  const Tensors parts = chunk(cast(c_in_.forward(x), state_dtype(x)), 2, -1);  // (B, T, width)
  const Tensor keep = sigmoid(parts[0]);
  const auto [h, last] =
      linear_scan(keep, (1 - keep) * parts[1], {.dim = 1, .initial = state[0], .resets = starts});
  state = {last};
  return dropout_.forward(c_proj_.forward(cast(h, x.dtype())));
}

}  // namespace scangrad
