#pragma once
#include <scangrad/models/dropout.h>
#include <scangrad/models/layer.h>
#include <scangrad/models/linear.h>

namespace scangrad {

/// Causal linear attention: the softmax's e^{q·k} replaced by φ(q)·φ(k), φ = elu + 1, so that a
/// head's past is a matrix and a vector of fixed size (Katharopoulos et al. 2020, "Transformers are
/// RNNs", equations 18 to 20):
///   S_t = S_{t−1} + φ(k_t) v_tᵀ,  z_t = z_{t−1} + φ(k_t),
///   y_t = S_tᵀ φ(q_t) / (z_t·φ(q_t) + 10⁻⁶),  out = [y_t, over heads] W_oᵀ.
/// Evaluated a chunk at a time, with S at the chunks' starts from one cumulative sum (of several
/// documents, a linear scan, to which a chunk in which one begins passes nothing on). No bias.
class LinearAttention : public RecurrentLayer {
 public:
  /// Throws ValueError where the heads do not divide the width.
  LinearAttention(const MixerConfig& config, Generator& generator);
  /// {(S z)}, (B, heads, d, d + 1).
  LayerState initial_state(std::int64_t batch) const override;
  Tensor step(const Tensor& x, LayerState& state, const Tensor& starts = {}) override;

 private:
  std::int64_t heads_;
  Linear c_attn_;  // (3 width, width): queries, keys, values
  Linear c_proj_;  // (width, width)
  Dropout dropout_;
};

}  // namespace scangrad
