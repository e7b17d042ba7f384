#pragma once
#include <scangrad/core/tensor.h>

#include <cstdint>

namespace scangrad {

/// What becomes of the losses of a batch: kept one by one, averaged or added up.
enum class Reduction { none, mean, sum };

/// The order of members is frozen.
struct CrossEntropyOptions {
  std::int64_t ignore_index = -100;  ///< rows with this target have loss and gradient 0
  double label_smoothing = 0;        ///< ε: the target distribution is (1 − ε) one-hot + ε / C
  Reduction reduction = Reduction::mean;  ///< `mean` is over the rows that are not ignored
};

/// −Σ_c q_c log softmax(logits)_c, q the target distribution, for logits (N, C) and targets (N)
/// i64. The result is () or, unreduced, (N); f32 for bf16 logits. The mean over no rows is NaN.
/// Differentiable to any order by the logits. Throws IndexError naming a target outside [0, C) that
/// is not `ignore_index`, ShapeError, DTypeError, and ValueError for smoothing outside [0, 1].
/// Label smoothing: Szegedy et al., "Rethinking the Inception architecture" (2016).
Tensor cross_entropy(const Tensor& logits, const Tensor& targets,
                     const CrossEntropyOptions& options = {});

}  // namespace scangrad
