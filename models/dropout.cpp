#include <scangrad/core/format.h>
#include <scangrad/models/dropout.h>
#include <scangrad/ops/random.h>

namespace scangrad {

Dropout::Dropout(double p) : p_(p) {
  check<ValueError>(p >= 0 && p < 1, "Dropout: probability {} is not in [0, 1)", p);
}

Tensor Dropout::forward(const Tensor& x) const {
  return probability() == 0 ? x : dropout(x, probability());
}

}  // namespace scangrad
