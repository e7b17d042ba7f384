#pragma once
#include <scangrad/models/module.h>

namespace scangrad {

/// While training, zeroes each element with probability p and scales the others by 1/(1 − p); in
/// evaluation, x itself. Masks come from `default_generator()`. Srivastava et al. 2014.
class Dropout : public Module {
 public:
  /// Throws ValueError unless 0 ≤ p < 1.
  explicit Dropout(double p);
  Tensor forward(const Tensor& x) const;
  /// The probability that holds now: 0 in evaluation.
  double probability() const { return is_training() ? p_ : 0; }

 private:
  double p_;
};

}  // namespace scangrad
