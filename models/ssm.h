#pragma once
#include <scangrad/models/dropout.h>
#include <scangrad/models/layer.h>
#include <scangrad/models/linear.h>

namespace scangrad {

/// A diagonal state-space model with input-dependent gates: every channel an exponential moving
/// average whose rate the token decides,
///   h_t = a_t ⊙ h_{t−1} + (1 − a_t) ⊙ (B x_t),  a_t = σ(W x_t),  out = C h_t,
/// one linear scan (the minimal gated unit of Martin and Cundy 2018, "Parallelizing linear
/// recurrent neural nets"; selective as in Gu and Dao 2023). No bias.
class Ssm : public RecurrentLayer {
 public:
  Ssm(const MixerConfig& config, Generator& generator);
  /// {h}, (B, width), zeros.
  LayerState initial_state(std::int64_t batch) const override;
  Tensor step(const Tensor& x, LayerState& state, const Tensor& starts = {}) override;

 private:
  Linear c_in_;    // (2 width, width): W, B
  Linear c_proj_;  // (width, width): C
  Dropout dropout_;
};

}  // namespace scangrad
