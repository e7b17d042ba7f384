#pragma once
#include <scangrad/core/random.h>
#include <scangrad/models/module.h>

namespace scangrad {

/// y = x Wᵀ, without bias: (…, in) → (…, out).
class Linear : public Module {
 public:
  /// weight (out, in) normal with deviation `std`, 0 for zeros.
  Linear(std::int64_t in, std::int64_t out, double std, Generator& generator);
  Tensor forward(const Tensor& x) const;

  Tensor weight;  // (out, in)
};

}  // namespace scangrad
