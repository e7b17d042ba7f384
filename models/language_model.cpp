#include <scangrad/core/format.h>
#include <scangrad/models/attention.h>
#include <scangrad/models/delta.h>
#include <scangrad/models/gru.h>
#include <scangrad/models/heads.h>
#include <scangrad/models/language_model.h>
#include <scangrad/models/linear_attention.h>
#include <scangrad/models/mlp.h>
#include <scangrad/models/mru.h>
#include <scangrad/models/ssm.h>
#include <scangrad/ops/elementwise.h>
#include <scangrad/ops/matmul.h>
#include <scangrad/ops/shape.h>

#include <fmt/ranges.h>

#include <cmath>

namespace scangrad {
namespace {

/// A kind of layer: its name in a model's list, its name in checkpoints, how it is made, and what
/// throws where it cannot be.
struct LayerKind {
  const char* name;
  const char* parameter_name;
  std::unique_ptr<Layer> (*make)(const LanguageModelConfig& config, double out_std,
                                 Generator& generator);
  void (*check)(const LanguageModelConfig& config) = [](const LanguageModelConfig&) {};
};

MruConfig mru_config(const LanguageModelConfig& c, double out_std = 0) {
  return {c.width, c.heads, c.state_size, c.scheme, out_std, c.dropout, c.normalize};
}

AttentionConfig attention_config(const LanguageModelConfig& c, double out_std = 0) {
  return {c.width, c.heads, c.positions, out_std, c.dropout, c.position_order, c.bias};
}

template <class Mixer>
std::unique_ptr<Layer> make_mixer(const LanguageModelConfig& c, double out_std,
                                  Generator& generator) {
  return std::make_unique<Mixer>(MixerConfig{c.width, c.heads, out_std, c.dropout}, generator);
}

constexpr LayerKind layer_kinds[] = {
    {"mru", "mru",
     [](const LanguageModelConfig& c, double out_std,
        Generator& generator) -> std::unique_ptr<Layer> {
       return std::make_unique<Mru>(mru_config(c, out_std), generator);
     },
     [](const LanguageModelConfig& c) { check_mru(mru_config(c)); }},
    {"attention", "attn",
     [](const LanguageModelConfig& c, double out_std,
        Generator& generator) -> std::unique_ptr<Layer> {
       return std::make_unique<Attention>(attention_config(c, out_std), generator);
     },
     [](const LanguageModelConfig& c) { check_attention(attention_config(c)); }},
    {"linear", "linear_attn", make_mixer<LinearAttention>,
     [](const LanguageModelConfig& c) { check_heads("LinearAttention", c.width, c.heads); }},
    {"ssm", "ssm", make_mixer<Ssm>},
    {"gru", "gru", make_mixer<Gru>},
    {"delta", "delta", make_mixer<Delta>,
     [](const LanguageModelConfig& c) { check_heads("Delta", c.width, c.heads); }},
    {"mlp", "mlp",
     [](const LanguageModelConfig& c, double out_std,
        Generator& generator) -> std::unique_ptr<Layer> {
       const Gelu form = c.gelu == "tanh" ? Gelu::tanh : Gelu::erf;
       return std::make_unique<Mlp>(MlpConfig{c.width, out_std, c.dropout, form, c.bias},
                                    generator);
     }},
};

const LayerKind& layer_kind(const std::string& name) {
  for (const LayerKind& kind : layer_kinds) {
    if (name == kind.name) return kind;
  }
  fail<ValueError>("LanguageModel: no layer is called {}; there are {}", name,
                   fmt::join(layer_names(), ", "));
}

const LanguageModelConfig& checked(const LanguageModelConfig& config) {
  check_language_model(config);
  check<ValueError>(config.vocab_size > 0, "LanguageModel: vocabulary size {} must be positive",
                    config.vocab_size);
  return config;
}

}  // namespace

std::vector<std::string> layer_names() {
  std::vector<std::string> names;
  for (const LayerKind& kind : layer_kinds) names.emplace_back(kind.name);
  return names;
}

void check_language_model(const LanguageModelConfig& config) {
  check<ValueError>(config.width > 0 && config.context > 0,
                    "LanguageModel: width {} and context {} must be positive", config.width,
                    config.context);
  check_positions(config.positions);
  check<ValueError>(config.gelu == "erf" || config.gelu == "tanh",
                    "LanguageModel: no GELU is called {}; there are erf and tanh", config.gelu);
  const Dropout possible(config.dropout);
  for (const std::string& name : config.layers) layer_kind(name).check(config);
}

LanguageModel::Block::Block(const LanguageModelConfig& config, const std::string& name,
                            std::unique_ptr<Layer> made)
    : ln(config.width, 1e-5, config.bias), layer(std::move(made)) {
  register_module("ln", ln);
  register_module(name, *layer);
}

LanguageModel::LanguageModel(const LanguageModelConfig& config, Generator& generator)
    : config_(checked(config)),
      wte_(config.vocab_size, config.width, 0.02, generator),
      dropout_(config.dropout),
      ln_f_(config.width, 1e-5, config.bias) {
  register_module("transformer.wte", wte_);
  if (config.positions == "learned") {
    wpe_.emplace(config.context, config.width, 0.02, generator);
    register_module("transformer.wpe", *wpe_);
  }
  register_module("transformer.drop", dropout_);
  const double out_std = 0.02 / std::sqrt(static_cast<double>(config.layers.size()));
  for (const std::string& name : config.layers) {
    const LayerKind& kind = layer_kind(name);
    const std::string index = std::to_string(blocks_.size());
    blocks_.push_back(std::make_unique<Block>(config, kind.parameter_name,
                                              kind.make(config, out_std, generator)));
    register_module("transformer.h." + index, *blocks_.back());
  }
  register_module("transformer.ln_f", ln_f_);
}

Tensor LanguageModel::embed(const Tensor& tokens, std::int64_t position) const {
  check<ShapeError>(tokens.rank() == 2,
                    "LanguageModel: tokens {} must have two dimensions, (batch, time)",
                    tokens.shape());
  Tensor x = wte_.forward(tokens);  // (B, T, width)
  if (wpe_) {
    const std::int64_t end = position + tokens.size(1);
    check<ShapeError>(end <= config_.context,
                      "LanguageModel: {} tokens are more than the {} learned positions", end,
                      config_.context);
    x = x + slice(wpe_->weight, 0, position, end);
  }
  return dropout_.forward(cast(x, activations_.value_or(x.dtype())));
}

void LanguageModel::set_activations(DType dtype) {
  check<DTypeError>(
      wte_.weight.dtype() == DType::f32 && (dtype == DType::f32 || dtype == DType::bf16),
      "LanguageModel: activations in {} are not offered for parameters in {}; f32 and "
      "bf16 are, for f32",
      dtype, wte_.weight.dtype());
  activations_ = dtype;
}

Tensor LanguageModel::starts(const Tensor& tokens) const {
  if (config_.document_start < 0) return {};
  return eq(tokens, static_cast<double>(config_.document_start));
}

Tensor LanguageModel::logits(const Tensor& x) const {
  return linear(ln_f_.forward(x), wte_.weight);
}

Tensor LanguageModel::forward(const Tensor& tokens) {
  Tensor x = embed(tokens, 0);
  const Tensor begins = starts(tokens);
  for (const auto& block : blocks_) x = x + block->layer->forward(block->ln.forward(x), begins);
  return logits(x);
}

Tensor LanguageModel::log10_state_norm(const Tensor& tokens) {
  Tensor x = embed(tokens, 0);
  const Tensor begins = starts(tokens);
  Tensor largest;
  for (const auto& block : blocks_) {
    const Tensor input = block->ln.forward(x);
    const Tensor norm = block->layer->log10_state_norm(input, begins);
    if (norm.defined()) largest = largest.defined() ? maximum(largest, norm) : norm;
    x = x + block->layer->forward(input, begins);
  }
  return largest;
}

LanguageModelState LanguageModel::initial_state(std::int64_t batch) const {
  LanguageModelState state;
  for (const auto& block : blocks_) state.layers.push_back(block->layer->initial_state(batch));
  return state;
}

Tensor LanguageModel::step(const Tensor& tokens, LanguageModelState& state) {
  check<ValueError>(state.layers.size() == blocks_.size(),
                    "LanguageModel: the state has {} layers and the model {}; start from "
                    "initial_state",
                    state.layers.size(), blocks_.size());
  Tensor x = embed(tokens, state.position);
  const Tensor begins = starts(tokens);
  for (std::size_t i = 0; i < blocks_.size(); ++i) {
    x = x + blocks_[i]->layer->step(blocks_[i]->ln.forward(x), state.layers[i], begins);
  }
  state.position += tokens.size(1);
  return logits(x);
}

}  // namespace scangrad
