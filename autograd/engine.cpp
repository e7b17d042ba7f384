#include <scangrad/autograd/engine.h>
#include <scangrad/autograd/grad_mode.h>
#include <scangrad/autograd/node.h>
#include <scangrad/core/backend.h>
#include <scangrad/core/format.h>

#include <algorithm>
#include <unordered_map>
#include <unordered_set>
#include <utility>

namespace scangrad {
namespace {

/// The engine's two operations, recorded while recording is on; with them autograd needs nothing of
/// ops. First a copy:
Tensor copy_of(const Tensor& tensor) {
  return record("copy", {tensor}, raw_clone(tensor), {},
                [](const Backward& b) { return Tensors{b.grad()}; });
}

/// a + b.
Tensor sum_of(const Tensor& a, const Tensor& b) {
  Tensor out = raw_clone(a);
  backend(out.device()).add_in_place(out, b);
  return record("accumulate", {a, b}, out, {}, [](const Backward& b) {
    return Tensors{b.grad(), b.grad()};
  });
}

/// Adds `grad` to `into`, in place where nobody can see it.
void accumulate(Tensor& into, Tensor grad) {
  if (!into.defined()) {
    into = std::move(grad);
  } else if (!grad_enabled() && into.use_count() == 1 && into.storage().use_count() == 1 &&
             into.is_contiguous()) {
    backend(into.device()).add_in_place(into, grad);
  } else {
    into = sum_of(into, grad);
  }
}

/// One run of backward: gradients wait at nodes until everything after them has been done.
class Run {
 public:
  Run(const Tensors& inputs, bool retain_graph, bool create_graph)
      : targets_(inputs), retain_(retain_graph || create_graph), create_graph_(create_graph) {
    target_grads_.resize(targets_.size());
    for (std::size_t i = 0; i < targets_.size(); ++i) {
      const AutogradSlot& slot = targets_[i].autograd();
      if (slot.node) {
        node_targets_[slot.node.get()].push_back(i);
      } else {
        leaf_targets_[targets_[i].impl()].push_back(i);
      }
    }
  }

  /// Gradients of the targets, or stored in the leaves where there are no targets.
  Tensors operator()(const Tensors& outputs, const Tensors& grads) {
    const GradMode mode(create_graph_);
    for (std::size_t i = 0; i < outputs.size(); ++i) seed(outputs[i], grads[i]);
    collect();
    for (Node* node : order_) step(*node);
    return std::move(target_grads_);
  }

 private:
  void seed(const Tensor& output, const Tensor& grad) {
    const AutogradSlot& slot = output.autograd();
    if (slot.node == nullptr) return to_leaf(output, grad);
    Node* node = static_cast<Node*>(slot.node.get());
    at(node, slot.output_index, grad);
    if (seen_.insert(node).second) order_.push_back(node);
  }

  /// Every node reachable from the outputs, latest first: creation order is a topological order.
  void collect() {
    for (std::size_t next = 0; next < order_.size(); ++next) {
      for (const Edge& edge : order_[next]->inputs) {
        if (edge.node && seen_.insert(edge.node.get()).second) order_.push_back(edge.node.get());
      }
    }
    std::sort(order_.begin(), order_.end(),
              [](const Node* a, const Node* b) { return a->sequence > b->sequence; });
    if (targets_.empty()) return;
    for (auto it = order_.rbegin(); it != order_.rend(); ++it) {  // earliest first
      const auto& inputs = (*it)->inputs;
      const bool leads =
          std::any_of(inputs.begin(), inputs.end(), [&](const Edge& e) { return wanted(e); });
      if (leads) leads_to_target_.insert(*it);
    }
  }

  bool wanted(const Edge& edge) const {
    if (!edge.defined()) return false;
    if (targets_.empty()) return true;
    if (!edge.node) return leaf_targets_.count(edge.leaf.impl()) > 0;
    return leads_to_target_.count(edge.node.get()) > 0 || node_targets_.count(edge.node.get()) > 0;
  }

  /// The gradient of a leaf, where it may be edited in place.
  Tensor gradient_to_add_to(const Edge& edge) const {
    if (!targets_.empty() || create_graph_ || !edge.leaf.defined()) return {};
    const Tensor& stored = edge.leaf.autograd().grad;
    const bool plain = stored.defined() && !stored.requires_grad() && stored.is_contiguous();
    return plain ? stored : Tensor{};
  }

  void step(Node& node) {
    const auto waiting = grads_.find(&node);
    if (waiting == grads_.end()) return;
    Tensors grads = std::move(waiting->second);
    grads_.erase(waiting);
    if (const auto targets = node_targets_.find(&node); targets != node_targets_.end()) {
      for (std::size_t i : targets->second) {
        const Tensor& g = grads[static_cast<std::size_t>(targets_[i].autograd().output_index)];
        if (g.defined()) accumulate(target_grads_[i], g);
      }
    }
    if (!targets_.empty() && leads_to_target_.count(&node) == 0) return;

    check<GradError>(node.backward != nullptr,
                     "backward: the graph of {} was freed by an earlier backward; pass "
                     "retain_graph to go through it twice",
                     node.name);
    Backward context{std::move(grads), node.unpack_saved(), {}, create_graph_, {}};
    for (std::size_t i = 0; i < context.grads.size(); ++i) {
      if (!context.grads[i].defined()) {
        context.grads[i] = zeros(node.output_metas[i].shape, node.output_metas[i].options);
      }
    }
    for (const Edge& edge : node.inputs) {
      context.needs.push_back(wanted(edge));
      context.into.push_back(gradient_to_add_to(edge));
    }
    Tensors results = node.backward(context);
    context = {};  // what was saved may now be reused in place
    deliver(node, std::move(results));
    if (!retain_) node.release();
  }

  void deliver(const Node& node, Tensors results) {
    check<GradError>(results.size() == node.inputs.size(),
                     "{}: its backward returned {} gradients for {} inputs", node.name,
                     results.size(), node.inputs.size());
    for (std::size_t i = 0; i < results.size(); ++i) {
      const Edge& edge = node.inputs[i];
      if (!results[i].defined() || !wanted(edge)) continue;
      const TensorMeta& meta = node.input_metas[i];
      check<GradError>(results[i].shape() == meta.shape && results[i].dtype() == meta.options.dtype,
                       "{}: its backward gave a gradient {}{} for input {}, which is {}{}",
                       node.name, results[i].dtype(), results[i].shape(), i, meta.options.dtype,
                       meta.shape);
      if (edge.node) {
        at(edge.node.get(), edge.output, std::move(results[i]));
      } else {
        to_leaf(edge.leaf, std::move(results[i]));
      }
    }
  }

  void at(Node* node, int output, Tensor grad) {
    Tensors& waiting = grads_[node];
    waiting.resize(node->output_metas.size());
    accumulate(waiting[static_cast<std::size_t>(output)], std::move(grad));
  }

  void to_leaf(const Tensor& leaf, Tensor grad) {
    if (!targets_.empty()) {
      const auto found = leaf_targets_.find(leaf.impl());
      if (found == leaf_targets_.end()) return;
      for (std::size_t i : found->second) accumulate(target_grads_[i], grad);
      return;
    }
    // What a leaf stores is edited in place later, so it must share memory with nothing: not with
    // another leaf's gradient, nor, expanded, with itself.
    Tensor& stored = leaf.autograd().grad;
    if (!stored.defined()) {
      const bool exclusive = grad.use_count() == 1 && grad.storage().use_count() == 1;
      stored = exclusive && grad.is_contiguous() ? std::move(grad) : copy_of(grad);
    } else if (create_graph_) {
      stored = sum_of(stored, grad);
    } else {
      if (stored.requires_grad() || !stored.is_contiguous()) stored = raw_clone(stored);
      backend(stored.device()).add_in_place(stored, grad);
      stored.storage()->bump_version();
    }
  }

  Tensors targets_;
  Tensors target_grads_;
  bool retain_;
  bool create_graph_;
  std::vector<Node*> order_;
  std::unordered_set<const Node*> seen_;
  std::unordered_set<const Node*> leads_to_target_;
  std::unordered_map<const NodeBase*, std::vector<std::size_t>> node_targets_;
  std::unordered_map<const TensorImpl*, std::vector<std::size_t>> leaf_targets_;
  std::unordered_map<const Node*, Tensors> grads_;
};

/// The gradients to start from, checked, with ones for single values that were given none.
Tensors starting_grads(const char* op, const Tensors& outputs, const Tensors& given) {
  check<GradError>(given.empty() || given.size() == outputs.size(),
                   "{}: {} gradients were given for {} outputs", op, given.size(), outputs.size());
  Tensors grads;
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    check<GradError>(outputs[i].requires_grad(),
                     "{}: output {} does not depend on any tensor that requires its gradient", op,
                     i);
    if (!given.empty() && given[i].defined()) {
      check<ShapeError>(given[i].shape() == outputs[i].shape(),
                        "{}: the gradient given, {}, does not have the shape {} of output {}", op,
                        given[i].shape(), outputs[i].shape(), i);
      check<DTypeError>(given[i].dtype() == outputs[i].dtype(),
                        "{}: gradient {} is {}, output {} is {}; use cast", op, i, given[i].dtype(),
                        i, outputs[i].dtype());
      check<DeviceError>(given[i].device() == outputs[i].device(),
                         "{}: gradient {} is on {}, its output on {}", op, i, given[i].device(),
                         outputs[i].device());
      grads.push_back(given[i]);
    } else {
      check<GradError>(outputs[i].numel() == 1,
                       "{}: output {} has shape {}: give its gradient, or reduce it to one value",
                       op, i, outputs[i].shape());
      grads.push_back(ones_like(outputs[i]));
    }
  }
  return grads;
}

}  // namespace

void backward(const Tensors& outputs, const Tensors& grads, const BackwardOptions& options) {
  Run({}, options.retain_graph, options.create_graph)(outputs,
                                                      starting_grads("backward", outputs, grads));
}

void backward(const Tensor& output, const Tensor& grad, const BackwardOptions& options) {
  backward(Tensors{output}, Tensors{grad}, options);
}

Tensors grad(const Tensors& outputs, const Tensors& inputs, const GradOptions& options) {
  for (const Tensor& input : inputs) {
    check<GradError>(input.requires_grad(), "grad: an input does not require its gradient");
  }
  check<GradError>(!inputs.empty(), "grad: no inputs were given");
  Tensors result = Run(inputs, options.retain_graph, options.create_graph)(
      outputs, starting_grads("grad", outputs, options.grad_outputs));
  for (std::size_t i = 0; i < result.size(); ++i) {
    check<GradError>(result[i].defined() || options.allow_unused,
                     "grad: input {} was not used to compute the outputs; pass allow_unused to "
                     "get an undefined gradient for it",
                     i);
  }
  return result;
}

Tensor grad(const Tensor& output, const Tensor& input, const GradOptions& options) {
  return grad(Tensors{output}, Tensors{input}, options)[0];
}

}  // namespace scangrad
