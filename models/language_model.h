#pragma once
#include <scangrad/models/dropout.h>
#include <scangrad/models/embedding.h>
#include <scangrad/models/layer.h>
#include <scangrad/models/norm.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace scangrad {

/// A model as data. The order of members is frozen.
struct LanguageModelConfig {
  std::int64_t vocab_size = 0;
  std::int64_t context = 256;  ///< longest sequence; a limit for learned positions only
  std::int64_t width = 256;
  std::int64_t heads = 4;
  /// What the residual stream passes, in order, of `layer_names`.
  std::vector<std::string> layers = {"mru", "mlp", "mlp", "mlp", "mlp"};
  std::string positions = "none";  ///< `none`, `learned`; of attention: `rope`, `xpos`, `mru`
  std::string scheme = "ldu";      ///< of MRU, see `mru_scheme_names`
  std::int64_t state_size = 0;     ///< of MRU: heads × order²; 0 for the width
  double dropout = 0;
  std::int64_t position_order = 8;   ///< of `mru` positions: dimensions that turn together
  std::string normalize = "none";    ///< of MRU states: `none` or `frobenius`, see `MruConfig`
  std::string gelu = "erf";          ///< of MLP: `erf`, exact, or `tanh`, GPT-2's approximation
  bool bias = false;                 ///< of norms, attention and MLP, as GPT-2 has them
  std::int64_t document_start = -1;  ///< the token before which nothing is remembered; −1 for none
};

/// The kinds of layers that there are: mixers, and `mlp`.
std::vector<std::string> layer_names();
/// Throws ValueError for what no model can be, at no cost: an unknown layer, positions, scheme,
/// normalize or GELU (listing those that there are), sizes that do not divide (saying which).
void check_language_model(const LanguageModelConfig& config);

/// What a model remembers of the tokens that `LanguageModel::step` has seen.
struct LanguageModelState {
  std::int64_t position = 0;  ///< how many
  std::vector<LayerState> layers = {};
};

/// A language model: embedding, a list of pre-LayerNorm residual layers, a final LayerNorm and the
/// transposed embedding as output (Radford et al. 2019).
///   x ← x + layer(layer_norm(x)) for each; logits = layer_norm(x) · wteᵀ
class LanguageModel : public Module {
 public:
  /// Initial values: embeddings, MLP and attention inputs N(0, 0.02²), the layers' output
  /// projections deviation 0.02/√(number of layers), MRU W_in zero. Throws what
  /// `check_language_model` throws, and ValueError without a vocabulary.
  LanguageModel(const LanguageModelConfig& config, Generator& generator);

  /// tokens (B, T), integers, → logits (B, T, vocab), all positions at once. Throws ShapeError
  /// where T exceeds learned positions, IndexError naming a token outside the vocabulary.
  Tensor forward(const Tensor& tokens);

  /// The largest `Layer::log10_state_norm` of all layers, over tokens (B, T); undefined where no
  /// layer has any.
  Tensor log10_state_norm(const Tensor& tokens);

  /// The state before the first token of `batch` sequences.
  LanguageModelState initial_state(std::int64_t batch) const;
  /// The same logits for the next tokens (B, T'), T' ≥ 1, after those that `state` has seen, at a
  /// cost per token that does not grow with them or, of attention's cache, grows linearly.
  Tensor step(const Tensor& tokens, LanguageModelState& state);

  /// What the layers compute in: f32 at first, or bf16 for speed. Parameters stay as they are, and
  /// are converted where they are used; norms, softmax and losses sum, and MRU scans, in f32.
  /// Micikevicius et al. 2018, "Mixed precision training". DTypeError for anything else, and for a
  /// model whose parameters are not f32.
  void set_activations(DType dtype);

  const LanguageModelConfig& config() const { return config_; }
  /// Where its parameters are.
  Device device() const { return wte_.weight.device(); }

 private:
  struct Block : Module {
    Block(const LanguageModelConfig& config, const std::string& name, std::unique_ptr<Layer> layer);
    LayerNorm ln;
    std::unique_ptr<Layer> layer;
  };
  Tensor embed(const Tensor& tokens, std::int64_t position) const;
  Tensor logits(const Tensor& x) const;
  /// Where documents begin, (B, T) bool; undefined where the model does not tell them apart.
  Tensor starts(const Tensor& tokens) const;

  LanguageModelConfig config_;
  std::optional<DType> activations_;  // the parameters' where not set
  Embedding wte_;                     // (vocab, width)
  std::optional<Embedding> wpe_;      // (context, width)
  Dropout dropout_;
  std::vector<std::unique_ptr<Block>> blocks_;
  LayerNorm ln_f_;
};

}  // namespace scangrad
