#pragma once
#include <scangrad/models/dropout.h>
#include <scangrad/models/layer.h>
#include <scangrad/models/linear.h>

namespace scangrad {

/// dropout(gelu(x W_fcᵀ) W_projᵀ), four times the width inside, exact (erf) GELU, no bias.
class Mlp : public Layer {
 public:
  /// Deviations 0.02 and `out_std`.
  Mlp(std::int64_t width, double out_std, double dropout, Generator& generator);
  Tensor forward(const Tensor& x) override;

 private:
  Linear c_fc_;    // (4 width, width)
  Linear c_proj_;  // (width, 4 width)
  Dropout dropout_;
};

}  // namespace scangrad
