#pragma once
#include <scangrad/models/module.h>

namespace scangrad {

/// (x − mean)/√(var + eps) · weight + bias over the last dimension. Ba et al. 2016.
class LayerNorm : public Module {
 public:
  explicit LayerNorm(std::int64_t width, double eps = 1e-5, bool has_bias = false);
  Tensor forward(const Tensor& x) const;

  Tensor weight;  // (width), ones at first
  Tensor bias;    // (width), zeros at first, or undefined

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
