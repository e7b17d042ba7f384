#include <scangrad/core/format.h>
#include <scangrad/models/attention.h>
#include <scangrad/models/heads.h>
#include <scangrad/ops/attention.h>
#include <scangrad/ops/creation.h>
#include <scangrad/ops/elementwise.h>
#include <scangrad/ops/join.h>
#include <scangrad/ops/shape.h>

namespace scangrad {

void check_positions(const std::string& positions) {
  for (const char* known : {"none", "learned", "rope", "xpos", "mru"}) {
    if (positions == known) return;
  }
  fail<ValueError>(
      "Attention: no positions are called {}; there are none, learned, rope, xpos and mru",
      positions);
}

Attention::Attention(const AttentionConfig& config, Generator& generator)
    : heads_(config.heads),
      c_attn_(config.width, 3 * config.width, 0.02, generator, config.bias),
      c_proj_(config.width, config.width, config.out_std, generator, config.bias),
      probability_dropout_(config.dropout),
      output_dropout_(config.dropout) {
  check_positions(config.positions);
  check_heads("Attention", config.width, heads_);
  if (config.positions == "rope" || config.positions == "xpos") {
    rotary_.emplace(config.width / heads_, config.positions == "xpos");
  }
  register_module("c_attn", c_attn_);
  register_module("c_proj", c_proj_);
  if (config.positions == "mru") {
    matrix_positions_.emplace(config.width, heads_, config.position_order, generator);
    register_module("positions", *matrix_positions_);
  }
  register_module("probability_dropout", probability_dropout_);
  register_module("output_dropout", output_dropout_);
}

Attention::Heads Attention::heads_of(const Tensor& x, std::int64_t start, LayerState& state) {
  const Tensor all = unflatten(c_attn_.forward(x), -1, {3, heads_, -1});  // (B, T, 3, heads, d)
  Tensor queries_keys = slice(all, 2, 0, 2);
  if (rotary_) queries_keys = rotary_->forward(queries_keys, start);
  if (matrix_positions_) queries_keys = matrix_positions_->forward(x, queries_keys, state[2]);
  return {transpose(select(queries_keys, 2, 0), 1, 2), transpose(select(queries_keys, 2, 1), 1, 2),
          transpose(select(all, 2, 2), 1, 2)};
}

/// Queries of the tokens past … of all that k and v hold.
Tensor Attention::attend(const Tensor& q, const Tensor& k, const Tensor& v, std::int64_t past) {
  AttentionOptions options;
  options.dropout = probability_dropout_.probability();
  options.causal = past == 0;
  if (past > 0 && q.size(2) > 1) {  // one token sees all before it and itself
    const TensorOptions index = {DType::i64, q.device()};
    options.mask = ge(unsqueeze(arange(past, past + q.size(2), 1, index), 1),
                      arange(0, past + q.size(2), 1, index));
  }
  const Tensor y = scaled_dot_product_attention(q, k, v, options);  // (B, heads, T, d)
  return output_dropout_.forward(c_proj_.forward(join_heads(y)));
}

Tensor Attention::forward(const Tensor& x) {
  LayerState state = initial_state(x.size(0));
  const Heads h = heads_of(x, 0, state);
  return attend(h.queries, h.keys, h.values, 0);
}

LayerState Attention::initial_state(std::int64_t batch) const {
  const Shape none = {batch, heads_, 0, c_proj_.weight.size(0) / heads_};
  LayerState state = {empty(none, c_proj_.weight.options()), empty(none, c_proj_.weight.options())};
  if (matrix_positions_) state.push_back(matrix_positions_->initial_state(batch));
  return state;
}

Tensor Attention::step(const Tensor& x, LayerState& state) {
  const std::int64_t past = state[0].size(2);
  const Heads h = heads_of(x, past, state);
  state[0] = cat({cast(state[0], x.dtype()), h.keys}, 2);
  state[1] = cat({cast(state[1], x.dtype()), h.values}, 2);
  return attend(h.queries, state[0], state[1], past);
}

}  // namespace scangrad
