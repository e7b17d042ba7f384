#include <scangrad/core/format.h>
#include <scangrad/models/attention.h>
#include <scangrad/models/heads.h>
#include <scangrad/ops/attention.h>
#include <scangrad/ops/creation.h>
#include <scangrad/ops/elementwise.h>
#include <scangrad/ops/join.h>
#include <scangrad/ops/scan.h>
#include <scangrad/ops/shape.h>

namespace scangrad {
namespace {

/// The documents of the tokens before, (B, t), and of those that follow, by where one starts; none
/// where that is not told.
Tensor numbered(const Tensor& starts, const Tensor& before) {
  if (!starts.defined()) return {};
  const Tensor numbers = cumsum(cast(starts, DType::i64), 1);
  if (before.size(1) == 0) return numbers;
  return cat({before, numbers + slice(before, 1, before.size(1) - 1)}, 1);
}

}  // namespace

void check_positions(const std::string& positions) {
  for (const char* known : {"none", "learned", "rope", "xpos", "mru"}) {
    if (positions == known) return;
  }
  fail<ValueError>(
      "Attention: no positions are called {}; there are none, learned, rope, xpos and mru",
      positions);
}

void check_attention(const AttentionConfig& config) {
  check_positions(config.positions);
  check_heads("Attention", config.width, config.heads);
  if (config.positions == "rope" || config.positions == "xpos") {
    check_rotary(config.width / config.heads);
  }
  if (config.positions == "mru") {
    matrix_position_chunks(config.width, config.heads, config.position_order);
  }
}

Attention::Attention(const AttentionConfig& config, Generator& generator)
    : heads_(config.heads),
      c_attn_(config.width, 3 * config.width, 0.02, generator, config.bias),
      c_proj_(config.width, config.width, config.out_std, generator, config.bias),
      probability_dropout_(config.dropout),
      output_dropout_(config.dropout) {
  check_attention(config);
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

Attention::Heads Attention::heads_of(const Tensor& x, std::int64_t past, LayerState& state,
                                     const Tensor& starts) {
  const Tensor all = unflatten(c_attn_.forward(x), -1, {3, heads_, -1});  // (B, T, 3, heads, d)
  Tensor queries_keys = slice(all, 2, 0, 2);
  if (rotary_) queries_keys = rotary_->forward(queries_keys, past);
  if (matrix_positions_)
    queries_keys = matrix_positions_->forward(x, queries_keys, state[3], starts);
  return {transpose(select(queries_keys, 2, 0), 1, 2), transpose(select(queries_keys, 2, 1), 1, 2),
          transpose(select(all, 2, 2), 1, 2)};
}

/// Queries of the last tokens of all that k and v hold; `documents` (B, S), where a token sees none
/// but its own document, or undefined.
Tensor Attention::attend(const Tensor& q, const Tensor& k, const Tensor& v,
                         const Tensor& documents) {
  const std::int64_t length = q.size(2), all = k.size(2), past = all - length;
  AttentionOptions options;
  options.dropout = probability_dropout_.probability();
  options.causal = past == 0;
  if (past > 0 && length > 1) {  // one token sees all before it and itself
    const TensorOptions index = {DType::i64, q.device()};
    options.mask = ge(unsqueeze(arange(past, all, 1, index), 1), arange(0, all, 1, index));
  }
  if (documents.defined()) {
    const Tensor same = unsqueeze(
        eq(unsqueeze(slice(documents, 1, past), 2), unsqueeze(documents, 1)), 1);  // (B, 1, T, S)
    options.mask = options.mask.defined() ? logical_and(options.mask, same) : same;
  }
  const Tensor y = scaled_dot_product_attention(q, k, v, options);  // (B, heads, T, d)
  return output_dropout_.forward(c_proj_.forward(join_heads(y)));
}

Tensor Attention::forward(const Tensor& x, const Tensor& starts) {
  LayerState state = initial_state(x.size(0));
  const Heads h = heads_of(x, 0, state, starts);
  return attend(h.queries, h.keys, h.values, numbered(starts, state[2]));
}

LayerState Attention::initial_state(std::int64_t batch) const {
  const Shape none = {batch, heads_, 0, c_proj_.weight.size(0) / heads_};
  const TensorOptions options = c_proj_.weight.options();
  LayerState state = {empty(none, options), empty(none, options),
                      empty({batch, 0}, {DType::i64, options.device})};
  if (matrix_positions_) state.push_back(matrix_positions_->initial_state(batch));
  return state;
}

Tensor Attention::step(const Tensor& x, LayerState& state, const Tensor& starts) {
  const std::int64_t past = state[0].size(2);
  const Heads h = heads_of(x, past, state, starts);
  state[0] = cat({cast(state[0], x.dtype()), h.keys}, 2);
  state[1] = cat({cast(state[1], x.dtype()), h.values}, 2);
  const Tensor documents = numbered(starts, state[2]);
  if (documents.defined()) state[2] = documents;
  return attend(h.queries, state[0], state[1], documents);
}

}  // namespace scangrad
