#include <scangrad/autograd/grad_mode.h>
#include <scangrad/autograd/node.h>
#include <scangrad/core/format.h>

#include <algorithm>
#include <atomic>
#include <utility>

namespace scangrad {
namespace {

std::uint64_t next_sequence() {
  static std::atomic<std::uint64_t> counter{0};
  return ++counter;
}

Edge edge_to(const Tensor& input) {
  if (!input.defined() || !input.requires_grad()) return {};
  const AutogradSlot& slot = input.autograd();
  if (slot.node == nullptr) return {nullptr, 0, input};
  return {std::static_pointer_cast<Node>(slot.node), slot.output_index, {}};
}

TensorMeta meta_of(const Tensor& tensor) {
  return tensor.defined() ? TensorMeta{tensor.shape(), tensor.options()} : TensorMeta{};
}

/// Must `record` keep anything: recording is on and one of `inputs` wants a gradient?
bool will_record(const Tensors& inputs) {
  return grad_enabled() && std::any_of(inputs.begin(), inputs.end(), [](const Tensor& t) {
           return t.defined() && t.requires_grad();
         });
}

}  // namespace

Tensor Backward::added(std::size_t i) const {
  into[i].storage()->bump_version();
  return {};
}

/// A chain of 100,000 nodes must not be destroyed by recursion: what a node owns is moved to a
/// list that the outermost destructor empties.
Node::~Node() {
  struct Owned {
    std::vector<Edge> inputs;
    std::vector<SavedTensor> saved;
    BackwardFunction backward;
  };
  thread_local std::vector<Owned>* pending = nullptr;
  Owned mine{std::move(inputs), std::move(saved), std::move(backward)};
  if (pending != nullptr) {
    pending->push_back(std::move(mine));
    return;
  }
  std::vector<Owned> list;
  pending = &list;
  list.push_back(std::move(mine));
  while (!list.empty()) {
    const Owned next = std::move(list.back());
    list.pop_back();
  }
  pending = nullptr;
}

Tensors Node::unpack_saved() {
  Tensors out;
  for (const SavedTensor& s : saved) {
    if (!s.tensor.defined()) {
      out.emplace_back();
      continue;
    }
    check<GradError>(s.tensor.storage()->version() == s.version,
                     "{}: a tensor of shape {} that its backward needs was changed in place "
                     "(version {}, saved at {}); clone it before the edit",
                     name, s.tensor.shape(), s.tensor.storage()->version(), s.version);
    if (s.own_output < 0) {
      out.push_back(s.tensor);
      continue;
    }
    Tensor output = s.tensor.detach();
    output.autograd().requires_grad = true;
    output.autograd().node = shared_from_this();
    output.autograd().output_index = s.own_output;
    out.push_back(std::move(output));
  }
  return out;
}

void Node::release() {
  backward = nullptr;
  saved.clear();
}

void record(const char* name, const Tensors& inputs, const Tensors& outputs, const Tensors& saved,
            BackwardFunction backward) {
  if (!will_record(inputs)) return;
  auto node = std::make_shared<Node>();
  node->name = name;
  node->sequence = next_sequence();
  node->backward = std::move(backward);
  for (const Tensor& input : inputs) {
    node->inputs.push_back(edge_to(input));
    node->input_metas.push_back(meta_of(input));
  }
  for (const Tensor& tensor : saved) {
    const auto own = std::find_if(outputs.begin(), outputs.end(), [&](const Tensor& output) {
      return tensor.defined() && output.impl() == tensor.impl();
    });
    const bool is_own = own != outputs.end();
    node->saved.push_back({is_own ? tensor.detach() : tensor,
                           tensor.defined() ? tensor.storage()->version() : 0,
                           is_own ? static_cast<int>(own - outputs.begin()) : -1});
  }
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    node->output_metas.push_back(meta_of(outputs[i]));
    if (!outputs[i].defined() || !is_floating(outputs[i].dtype())) continue;
    AutogradSlot& slot = outputs[i].autograd();
    slot.requires_grad = true;
    slot.output_index = static_cast<int>(i);
    slot.node = node;
  }
}

Tensor record(const char* name, const Tensors& inputs, const Tensor& output, const Tensors& saved,
              BackwardFunction backward) {
  record(name, inputs, Tensors{output}, saved, std::move(backward));
  return output;
}

void begin_in_place(const char* op, const Tensor& target, const Tensor& source) {
  check<GradError>(!will_record({target, source}),
                   "{}: {} is changed in place, which is not recorded for backward; do it under "
                   "no_grad(), or use the operation that returns a new tensor",
                   op,
                   !target.requires_grad() ? "a tensor (from one that requires its gradient)"
                   : target.is_leaf()      ? "a leaf that requires its gradient"
                                           : "the result of a recorded operation");
  for (int dim = 0; dim < target.rank(); ++dim) {
    check<ValueError>(target.strides()[dim] != 0 || target.shape()[dim] <= 1,
                      "{}: elements of the expanded tensor {} share memory; clone it first", op,
                      target.shape());
  }
  target.storage()->bump_version();
}

}  // namespace scangrad
