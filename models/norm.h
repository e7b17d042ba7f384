#pragma once
#include <scangrad/models/module.h>

namespace scangrad {

/// (x − mean)/√(var + eps) · weight over the last dimension, without bias. Ba et al. 2016.
class LayerNorm : public Module {
 public:
  explicit LayerNorm(std::int64_t width, double eps = 1e-5);
  Tensor forward(const Tensor& x) const;

  Tensor weight;  // (width), ones at first

 private:
  double eps_;
};

/// x/√(mean x² + eps) · weight over the last dimension. Zhang and Sennrich 2019.
class RMSNorm : public Module {
 public:
  explicit RMSNorm(std::int64_t width, double eps = 1e-6);
  Tensor forward(const Tensor& x) const;

  Tensor weight;  // (width), ones at first

 private:
  double eps_;
};

}  // namespace scangrad
