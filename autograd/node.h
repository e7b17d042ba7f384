#pragma once
#include <scangrad/core/tensor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

namespace scangrad {

class Node;

/// What an operation's backward formula is given.
struct Backward {
  Tensors grads;            ///< gradient of each output; see `grad(i)`
  Tensors saved;            ///< the tensors saved at the forward, in the same order
  std::vector<bool> needs;  ///< which inputs' gradients are asked for; others may be left undefined
  bool create_graph =
      false;  ///< higher derivatives are asked for: only recorded operations will do
  /// For an input that is a leaf with a gradient: that gradient, contiguous, where backward may add
  /// to it (`added`) and leave its result undefined, which saves a tensor and a pass. Else
  /// undefined.
  Tensors into = {};

  /// Gradient of output i.
  const Tensor& grad(std::size_t i = 0) const { return grads[i]; }
  /// Says that input i's gradient was added to `into[i]`; the result for it.
  Tensor added(std::size_t i) const;
};

/// From the outputs' gradients to the inputs' (one each; undefined where there is none). Written
/// in differentiable operations, so that second derivatives come for free.
using BackwardFunction = std::function<Tensors(const Backward&)>;

/// Where an input of a node came from: another node's output, or a leaf that wants its gradient.
struct Edge {
  std::shared_ptr<Node> node;
  int output = 0;
  Tensor leaf;
  bool defined() const { return node != nullptr || leaf.defined(); }
};

/// A tensor kept for backward, with the version it had. A node's own output is kept without its
/// history (a cycle would leak the graph) and gets it back when it is read.
struct SavedTensor {
  Tensor tensor;
  std::uint64_t version = 0;
  int own_output = -1;
};

/// Shape, dtype and device of a tensor that is not kept.
struct TensorMeta {
  Shape shape;
  TensorOptions options;
};

/// One recorded operation.
class Node : public NodeBase, public std::enable_shared_from_this<Node> {
 public:
  ~Node() override;

  const char* name = "";
  std::uint64_t sequence = 0;  ///< creation order, which is a topological order
  std::vector<Edge> inputs;
  std::vector<TensorMeta> input_metas;
  std::vector<TensorMeta> output_metas;
  std::vector<SavedTensor> saved;
  BackwardFunction backward;  ///< empty once the graph was freed

  /// The saved tensors, each checked to be as it was. Throws GradError.
  Tensors unpack_saved();
  /// Drops what was saved; backward through this node is then an error.
  void release();
};

/// Makes `outputs` the recorded result of the operation `name` on `inputs`, unless recording is
/// off or no input wants a gradient. Undefined inputs are legal and get no gradient. `saved` are
/// the tensors that `backward` reads; it must capture none itself.
void record(const char* name, const Tensors& inputs, const Tensors& outputs, const Tensors& saved,
            BackwardFunction backward);

/// The same for one output, which is returned.
Tensor record(const char* name, const Tensors& inputs, const Tensor& output, const Tensors& saved,
              BackwardFunction backward);

/// Declares an in-place edit of `target` from `source`, which makes a new version. In-place edits
/// are not recorded: while recording is on they are an error where `target` or `source` wants its
/// gradient, which would come out wrong. Throws GradError naming `op`, and ValueError where
/// elements of `target` share memory (an expanded view).
void begin_in_place(const char* op, const Tensor& target, const Tensor& source = {});

}  // namespace scangrad
