#pragma once
#include <scangrad/models/module.h>

#include <cstdint>

namespace scangrad {

/// What a layer remembers of the tokens before: nothing (MLP), one matrix a head (MRU), keys and
/// values (attention).
using LayerState = Tensors;

/// One mixer or MLP of a model: (B, T, width) → (B, T, width).
class Layer : public Module {
 public:
  virtual Tensor forward(const Tensor& x) = 0;

  /// What is remembered before the first token.
  virtual LayerState initial_state(std::int64_t /*batch*/) const { return {}; }
  /// The outputs of the next tokens, x (B, T', width) with T' ≥ 1, after those that `state` saw;
  /// `state` then includes them. A layer without memory treats every token alike.
  virtual Tensor step(const Tensor& x, LayerState& /*state*/) { return forward(x); }
};

}  // namespace scangrad
