#include <scangrad/autograd/function.h>
#include <scangrad/autograd/grad_mode.h>
#include <scangrad/core/format.h>

#include <algorithm>

namespace scangrad {
namespace {

bool contains(const Tensors& tensors, const Tensor& tensor) {
  return std::any_of(tensors.begin(), tensors.end(),
                     [&](const Tensor& t) { return t.impl() == tensor.impl(); });
}

}  // namespace

Tensors Function::operator()(const Tensors& inputs) const {
  FunctionContext context;
  Tensors outputs;
  {
    const auto guard = no_grad();
    outputs = forward_(context, inputs);
  }
  check<GradError>(!outputs.empty(), "{}: its forward returned no output", name_);
  Tensors recorded;  // another handle where an output has no gradient
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    Tensor& output = outputs[i];
    check<GradError>(output.defined(), "{}: its forward returned an undefined output {}", name_, i);
    const bool constant = contains(context.constants_, output);
    // An output must be a new tensor: an input that is handed through, or one tensor returned
    // twice, keeps the history it has.
    const bool taken = contains(inputs, output) || output.requires_grad() ||
                       std::any_of(outputs.begin(), outputs.begin() + static_cast<long>(i),
                                   [&](const Tensor& o) { return o.impl() == output.impl(); });
    if (taken) output = output.detach();
    recorded.push_back(constant ? output.detach() : output);
  }
  record(name_, inputs, recorded, context.saved_, backward_);
  return outputs;
}

Tensor Function::operator()(const Tensor& input) const {
  const Tensors outputs = (*this)(Tensors{input});
  check<GradError>(outputs.size() == 1, "{}: it has {} outputs; call it with Tensors{{x}}", name_,
                   outputs.size());
  return outputs[0];
}

}  // namespace scangrad
