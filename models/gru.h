#pragma once
#include <scangrad/models/dropout.h>
#include <scangrad/models/layer.h>
#include <scangrad/models/linear.h>

namespace scangrad {

/// The gated recurrent unit (Cho et al. 2014, in the form of cuDNN and PyTorch's GRU, reset after
/// the product), with a projection of the output:
///   r = σ(W_r x_t + b_r + U_r h + c_r),  z = σ(W_z x_t + b_z + U_z h + c_z),
///   n = tanh(W_n x_t + b_n + r ⊙ (U_n h + c_n)),  h_t = (1 − z) ⊙ n + z ⊙ h,  h = h_{t−1}.
/// Not linear in h, hence no scan: token after token.
class Gru : public RecurrentLayer {
 public:
  /// Weights uniform in ±1/√width and biases zero.
  Gru(const MixerConfig& config, Generator& generator);
  /// {h}, (B, width), zeros.
  LayerState initial_state(std::int64_t batch) const override;
  Tensor step(const Tensor& x, LayerState& state, const Tensor& starts = {}) override;

 private:
  Tensor weight_ih_, weight_hh_;  // (3 width, width): W, U of r, z, n
  Tensor bias_ih_, bias_hh_;      // (3 width): b, c
  Linear c_proj_;                 // (width, width)
  Dropout dropout_;
};

}  // namespace scangrad
