#pragma once
#include <scangrad/autograd/node.h>
#include <scangrad/core/tensor.h>

#include <functional>
#include <utility>
#include <vector>

namespace scangrad {

/// What the forward of a user-defined operation tells its backward.
class FunctionContext {
 public:
  /// Keeps tensors for backward, which finds them in `Backward::saved` in this order: inputs,
  /// outputs or anything else that forward made. Captured in a lambda instead, an output would
  /// keep its own graph alive for ever.
  void save(const Tensor& tensor) { saved_.push_back(tensor); }
  /// This output has no gradient, like an index or a count.
  void mark_non_differentiable(const Tensor& output) { constants_.push_back(output); }

 private:
  friend class Function;
  Tensors saved_;
  Tensors constants_;
};

/// A user-defined differentiable operation:
///
///     const sg::Function cube(
///         "cube",
///         [](sg::FunctionContext& context, const sg::Tensors& in) {
///           context.save(in[0]);
///           return sg::Tensors{in[0] * in[0] * in[0]};
///         },
///         [](const sg::Backward& b) {
///           return sg::Tensors{b.grad() * sg::square(b.saved[0]) * 3.0};
///         });
///     sg::Tensor y = cube(x);
///
/// Forward is not recorded, so it may compute in any way. Backward returns one gradient for each
/// input (undefined for an input that has none; `Backward::needs` says which are asked for).
/// Written in differentiable operations, it gives second derivatives too; where it is not, it must
/// throw if `Backward::create_graph`. The gradient of an output that nothing used, or that is not
/// differentiable, is zeros like it.
class Function {
 public:
  using Forward = std::function<Tensors(FunctionContext&, const Tensors& inputs)>;

  /// `name` appears in errors; a string literal (it is not copied).
  Function(const char* name, Forward forward, BackwardFunction backward)
      : name_(name), forward_(std::move(forward)), backward_(std::move(backward)) {}

  /// From a struct with `Tensors forward(FunctionContext&, const Tensors&) const` and
  /// `Tensors backward(const Backward&) const`, which is copied; its members are parameters.
  template <class Op>
  Function(const char* name, const Op& op)
      : Function(
            name,
            [op](FunctionContext& context, const Tensors& inputs) {
              return op.forward(context, inputs);
            },
            [op](const Backward& b) { return op.backward(b); }) {}

  /// The outputs. Throws GradError where forward gives none or an undefined one; backward's own
  /// mistakes (a wrong count, shape or dtype) are GradErrors when it runs.
  Tensors operator()(const Tensors& inputs) const;
  /// The same for operations with one input and one output.
  Tensor operator()(const Tensor& input) const;

 private:
  const char* name_;
  Forward forward_;
  BackwardFunction backward_;
};

}  // namespace scangrad
