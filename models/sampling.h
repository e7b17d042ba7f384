#pragma once
#include <scangrad/core/random.h>
#include <scangrad/core/tensor.h>

#include <cstdint>

namespace scangrad {

/// How the next token is drawn. The order of members is frozen.
struct SamplingOptions {
  double temperature = 1;  ///< divides the logits; 0 always takes the likeliest token
  std::int64_t top_k = 0;  ///< only the k likeliest tokens; 0 for all
  /// Only the likeliest tokens that together have this probability ("nucleus sampling", Holtzman
  /// et al. 2019); at least one.
  double top_p = 1;
};

/// Throws ValueError for options out of range.
void check_sampling(const SamplingOptions& options);

/// A token drawn from logits (vocab), on their device. The same generator state draws the same
/// token. A logit of −∞ is never drawn. Throws what `check_sampling` throws, and ValueError for
/// logits that are NaN or +∞ and where all are −∞.
std::int64_t sample_token(const Tensor& logits, const SamplingOptions& options,
                          Generator& generator);

}  // namespace scangrad
