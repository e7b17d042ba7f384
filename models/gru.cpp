#include <scangrad/models/gru.h>
#include <scangrad/ops/elementwise.h>
#include <scangrad/ops/join.h>
#include <scangrad/ops/matmul.h>
#include <scangrad/ops/random.h>
#include <scangrad/ops/shape.h>

#include <cmath>

namespace scangrad {
namespace {

Tensor uniform_weight(std::int64_t width, Generator& generator) {
  const double bound = 1 / std::sqrt(static_cast<double>(width));
  return uniform({3 * width, width}, {}, -bound, bound, &generator);
}

}  // namespace

Gru::Gru(const MixerConfig& config, Generator& generator)
    : weight_ih_(uniform_weight(config.width, generator)),
      weight_hh_(uniform_weight(config.width, generator)),
      bias_ih_(zeros({3 * config.width})),
      bias_hh_(zeros({3 * config.width})),
      c_proj_(config.width, config.width, config.out_std, generator),
      dropout_(config.dropout) {
  register_parameter("weight_ih", weight_ih_);
  register_parameter("weight_hh", weight_hh_);
  register_parameter("bias_ih", bias_ih_);
  register_parameter("bias_hh", bias_hh_);
  register_module("c_proj", c_proj_);
  register_module("dropout", dropout_);
}

LayerState Gru::initial_state(std::int64_t batch) const {
  return {zeros({batch, c_proj_.weight.size(1)}, c_proj_.weight.options())};
}

Tensor Gru::step(const Tensor& x, LayerState& state, const Tensor& starts) {
  // Of all tokens at once, (B, T, 3 width); in f32 as the state, whose errors would add up.
  const Tensor inputs = linear(cast(x, weight_ih_.dtype()), weight_ih_, bias_ih_);
  Tensor h = state[0];
  Tensors states;
  for (std::int64_t t = 0; t < x.size(1); ++t) {
    if (starts.defined()) h = masked_fill(h, slice(starts, 1, t, t + 1), 0);
    const Tensors in = chunk(select(inputs, 1, t), 3, -1);
    const Tensors back = chunk(linear(h, weight_hh_, bias_hh_), 3, -1);
    const Tensor r = sigmoid(in[0] + back[0]), z = sigmoid(in[1] + back[1]);
    const Tensor n = tanh(in[2] + r * back[2]);
    h = n + z * (h - n);
    states.push_back(h);
  }
  state = {h};
  return dropout_.forward(c_proj_.forward(cast(stack(states, 1), x.dtype())));
}

}  // namespace scangrad
