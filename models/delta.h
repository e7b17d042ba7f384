#pragma once
#include <scangrad/models/dropout.h>
#include <scangrad/models/layer.h>
#include <scangrad/models/linear.h>

namespace scangrad {

/// A fast-weight programmer with the delta rule (Schlag et al. 2021, "Linear transformers are
/// secretly fast weight programmers"): a head's memory maps keys to values, and each token first
/// takes back what its key recalls,
///   S_t = S_{t−1}(I − β_t k_t k_tᵀ) + β_t v_t k_tᵀ,  y_t = S_t q_t,  out = [y_t, over heads] W_oᵀ,
/// with β_t = σ(w·x_t) and queries and keys silu(x W)/‖silu(x W)‖. In chunks (Yang et al. 2024,
/// "Parallelizing linear transformers with the delta rule", section 3): with a chunk's keys and
/// values as the rows of K and V, L = I + tril(diag(β) K Kᵀ, −1) and (W U) = L⁻¹ diag(β) (K V), the
/// state after it is S (I − Wᵀ K) + Uᵀ K, an affine scan over chunks, and its outputs are
/// Q Sᵀ + tril(Q Kᵀ)(U − W Sᵀ). Between documents, L and Q Kᵀ are zero, S reaches the first of a
/// chunk alone, and only the last is handed on. No bias.
class Delta : public RecurrentLayer {
 public:
  /// Throws ValueError where the heads do not divide the width.
  Delta(const MixerConfig& config, Generator& generator);
  /// {S}, (B, heads, d, d), zeros.
  LayerState initial_state(std::int64_t batch) const override;
  Tensor step(const Tensor& x, LayerState& state, const Tensor& starts = {}) override;

 private:
  std::int64_t heads_;
  Linear c_attn_;  // (3 width, width): queries, keys, values
  Linear c_beta_;  // (heads, width)
  Linear c_proj_;  // (width, width)
  Dropout dropout_;
};

}  // namespace scangrad
