#pragma once
#include <scangrad/core/tensor.h>

namespace scangrad {

/// The order of members is frozen.
struct BackwardOptions {
  bool retain_graph = false;  ///< keep what was saved, for another backward through it
  /// Record the backward too, for higher derivatives; retains as well. A leaf then holds its
  /// gradient, and the gradient the graph that leads back to the leaf: neither is freed until the
  /// gradient is taken away (`set_grad({})`), as in PyTorch. `grad` stores nothing: prefer it here.
  bool create_graph = false;
};

/// Adds d output / d leaf to `grad()` of every leaf that requires it. `grad` is the gradient of
/// `output`, of its shape; it may be left out for a single value. Throws GradError where nothing
/// was recorded or the graph was freed by an earlier backward.
void backward(const Tensor& output, const Tensor& grad = {}, const BackwardOptions& options = {});
/// The same from several outputs at once; `grads` is empty or has one (perhaps undefined) each.
void backward(const Tensors& outputs, const Tensors& grads, const BackwardOptions& options = {});

/// The order of members is frozen.
struct GradOptions {
  Tensors grad_outputs = {};  ///< gradients of the outputs; ones for single values where left out
  bool retain_graph = false;
  bool create_graph = false;
  bool allow_unused = false;  ///< undefined, not an error, for an input that outputs do not use
};

/// The gradients of `outputs` with respect to `inputs` (leaves or not), returned and not stored.
Tensors grad(const Tensors& outputs, const Tensors& inputs, const GradOptions& options = {});
/// The same for one output and one input.
Tensor grad(const Tensor& output, const Tensor& input, const GradOptions& options = {});

}  // namespace scangrad
