#pragma once
#include <scangrad/core/tensor.h>

// The arithmetic of optimizers, in place and on whole lists of parameters, so that a device can do
// one step of all of them at once. train/optimizer.h is what programs use. Nothing is recorded;
// GradError where recording is on.
namespace scangrad {

/// The order of members is frozen.
struct AdamWConstants {
  double beta1 = 0.9;
  double beta2 = 0.99;
  double eps = 1e-8;
  double weight_decay = 0;
  double learning_rate_scale = 1;
};
/// One step of AdamW, p ← p (1 − λ·decay); m ← β₁ m + (1 − β₁) g; v ← β₂ v + (1 − β₂) g²;
/// p ← p − λ m / (1 − β₁ᵗ) / (√(v / (1 − β₂ᵗ)) + ε), of each parameter p with its gradient and its
/// moments m and v. `control`, f64 (3), is {learning rate, t from 1, factor on g}, on the device,
/// so that a captured graph reads new values; λ is the rate times `learning_rate_scale`. Parameters
/// are floating-point, contiguous and not empty; gradients are like them; moments too, but f32 for
/// bf16. Throws ValueError, ShapeError, DTypeError or DeviceError where they are not.
void adamw_step(const Tensors& parameters, const Tensors& gradients, const Tensors& exp_avg,
                const Tensors& exp_avg_sq, const Tensor& control,
                const AdamWConstants& constants = {});

/// The order of members is frozen.
struct SgdConstants {
  double momentum = 0;
  bool nesterov = false;
  double weight_decay = 0;
  double learning_rate_scale = 1;
};
/// One step of stochastic gradient descent, in the same way: g ← g + decay·p; b ← momentum·b + g;
/// p ← p − λ b, or p ← p − λ (g + momentum·b) for Nesterov's. Without momentum there are no b.
void sgd_step(const Tensors& parameters, const Tensors& gradients, const Tensors& momentum_buffer,
              const Tensor& control, const SgdConstants& constants = {});

/// out, f64 (), ← √Σ x², summed in f64, of a contiguous x.
void l2_norm(const Tensor& out, const Tensor& x);

}  // namespace scangrad
