#pragma once
#include <scangrad/core/random.h>
#include <scangrad/core/tensor.h>

#include <optional>

namespace scangrad {

/// The order of members is frozen.
struct AttentionOptions {
  bool causal = false;  ///< query i sees the keys 0 … i, counted from the start of both
  Tensor mask = {};  ///< broadcasts to (…, T, S): bool, true where a query sees a key, or of q's
                     ///< dtype, added to the scores
  double dropout = 0;                ///< on the probabilities; give 0 outside of training
  std::optional<double> scale = {};  ///< of the scores; 1/√d where left out
  Generator* generator = nullptr;    ///< of the dropout; the default one where null
};

/// softmax(q kᵀ · scale + mask) v: q (…, T, d), k (…, S, d), v (…, S, e) → (…, T, e); leading
/// dimensions broadcast. A query that sees no key gives 0, as in PyTorch. Differentiable to any
/// order, by an additive mask too. Throws ShapeError, DTypeError, DeviceError.
/// Vaswani et al., "Attention is all you need" (2017).
Tensor scaled_dot_product_attention(const Tensor& q, const Tensor& k, const Tensor& v,
                                    const AttentionOptions& options = {});

}  // namespace scangrad
