#pragma once
#include <scangrad/models/module.h>

#include <cstdint>

namespace scangrad {

/// What a layer remembers of the tokens before: nothing (MLP), one matrix a head (MRU), keys and
/// values (attention).
using LayerState = Tensors;

/// One mixer or MLP of a model: (B, T, width) → (B, T, width). `starts`, (B, T) bool or undefined,
/// is true where a token begins a document: nothing of the tokens before it is remembered.
class Layer : public Module {
 public:
  virtual Tensor forward(const Tensor& x, const Tensor& starts = {}) = 0;

  /// What is remembered before the first token.
  virtual LayerState initial_state(std::int64_t /*batch*/) const { return {}; }
  /// The outputs of the next tokens, x (B, T', width) with T' ≥ 1, after those that `state` saw;
  /// `state` then includes them. A layer without memory treats every token alike.
  virtual Tensor step(const Tensor& x, LayerState& /*state*/, const Tensor& starts = {}) {
    return forward(x, starts);
  }

  /// How far the states of these tokens are from overflow: log₁₀ of the largest Frobenius norm of a
  /// matrix of theirs, f64 []; undefined for a layer that multiplies up no matrices.
  virtual Tensor log10_state_norm(const Tensor& /*x*/, const Tensor& /*starts*/ = {}) { return {}; }
};

/// A layer whose `step` is its whole definition: of all tokens at once, or of any piece of them.
class RecurrentLayer : public Layer {
 public:
  Tensor forward(const Tensor& x, const Tensor& starts = {}) final {
    LayerState state = initial_state(x.size(0));
    return step(x, state, starts);
  }
  LayerState initial_state(std::int64_t batch) const override = 0;
  Tensor step(const Tensor& x, LayerState& state, const Tensor& starts = {}) override = 0;
};

/// What a recurrent mixer is made of. The order of members is frozen.
struct MixerConfig {
  std::int64_t width = 0;
  std::int64_t heads = 1;  ///< of those that have heads
  double out_std = 0.02;   ///< deviation of the output projection
  double dropout = 0;      ///< of the output
};

/// The dtype in which states are kept and scanned, whatever the precision around them.
inline DType state_dtype(const Tensor& x) {
  return x.dtype() == DType::f64 ? DType::f64 : DType::f32;
}

}  // namespace scangrad
