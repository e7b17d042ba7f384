#pragma once
#include <scangrad/models/dropout.h>
#include <scangrad/models/layer.h>
#include <scangrad/models/linear.h>
#include <scangrad/ops/elementwise.h>

namespace scangrad {

/// The order of members is frozen.
struct MlpConfig {
  std::int64_t width = 0;
  double out_std = 0.02;  ///< deviation of the output projection
  double dropout = 0;     ///< of the output
  Gelu gelu = Gelu::erf;
  bool bias = false;
};

/// dropout(gelu(x W_fcᵀ + b) W_projᵀ + b), four times the width inside.
class Mlp : public Layer {
 public:
  Mlp(const MlpConfig& config, Generator& generator);
  Tensor forward(const Tensor& x, const Tensor& starts = {}) override;

 private:
  Gelu gelu_;
  Linear c_fc_;    // (4 width, width)
  Linear c_proj_;  // (width, 4 width)
  Dropout dropout_;
};

}  // namespace scangrad
