#pragma once
#include <scangrad/core/random.h>
#include <scangrad/models/module.h>

namespace scangrad {

/// y = x Wᵀ + b: (…, in) → (…, out).
class Linear : public Module {
 public:
  /// weight (out, in) normal with deviation `std`, 0 for zeros; the bias, if any, zero.
  Linear(std::int64_t in, std::int64_t out, double std, Generator& generator,
         bool has_bias = false);
  Tensor forward(const Tensor& x) const;

  Tensor weight;  // (out, in)
  Tensor bias;    // (out), or undefined
};

}  // namespace scangrad
