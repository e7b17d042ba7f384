#pragma once
#include <scangrad/core/named_tensor.h>
#include <scangrad/core/tensor.h>

#include <cstdint>
#include <string>
#include <vector>

namespace scangrad {

/// Parameters that are treated alike, and clipped together by their total norm. The order of
/// members is frozen.
struct ParameterGroup {
  std::string name = {};
  NamedTensors parameters = {};  ///< of one dtype; frozen ones are left out
  double learning_rate_scale = 1;
  double weight_decay = 0;
  double clip = 0;  ///< the largest gradient norm that is not scaled down; 0 for no limit
};

/// What optimizers share: gradients in one contiguous bucket per group (zeroed, measured, clipped
/// and, later, summed over processes in one pass), clipping, and the state in a checkpoint.
///
/// Each parameter's `grad()` is a view of its bucket, into which `backward` adds: several backward
/// passes before a `step` accumulate. A parameter that backward does not reach has gradient 0.
/// All parameters are on one device. Throws ValueError where two share memory, which would be
/// updated twice.
class Optimizer {
 public:
  virtual ~Optimizer() = default;
  Optimizer(const Optimizer&) = delete;
  Optimizer& operator=(const Optimizer&) = delete;

  void zero_grad();
  /// The rate of the steps to come; a group's is this times its own scale.
  void set_learning_rate(double rate);
  /// Clips each group and updates it. Clipping is PyTorch's `clip_grad_norm_`: gradients times
  /// min(1, clip / (norm + 1e-6)). Rate and step count are read on the device, so that a step can
  /// be captured (core/graph_capture.h).
  void step();
  /// Both.
  void step(double learning_rate);

  /// Norm of each group's gradient at the last step, before clipping. Synchronises.
  std::vector<double> gradient_norms() const;
  /// Number of steps taken. Synchronises.
  std::int64_t steps() const { return steps_.item<std::int64_t>(); }
  std::size_t group_count() const { return groups_.size(); }
  const ParameterGroup& group(std::size_t i) const { return groups_[i].options; }

  /// The step count and each parameter's moments, as `NAME.exp_avg`; they share memory.
  NamedTensors state_dict() const;
  /// Copies a state in. Throws ValueError or ShapeError, before anything is changed, where a tensor
  /// is missing, unexpected or of another shape.
  void load_state_dict(const NamedTensors& state);

 protected:
  /// A group and its buffers.
  struct Group {
    ParameterGroup options;
    Tensors parameters;
    Tensor bucket;                 // all gradients, each starting at a multiple of 64 bytes
    Tensors gradients;             // views of the bucket
    std::vector<Tensors> moments;  // one list for each of the optimizer's moments
    Tensor norm;                   // f64 []: view of norms_
    Tensor control;                // f64 (3): row of control_
  };
  /// `moment_names` are the names of the buffers that the optimizer keeps for each parameter.
  Optimizer(std::vector<ParameterGroup> groups, std::vector<std::string> moment_names);
  virtual void update(Group& group) = 0;

 private:
  std::vector<Group> groups_;
  std::vector<std::string> moment_names_;
  Tensor steps_;  // i64 []
  // One entry a group.
  Tensor norms_;    // f64
  Tensor clips_;    // f64; infinite for no limit
  Tensor control_;  // f64 (groups, 3): learning rate, step, factor on gradients
};

/// The order of members is frozen.
struct AdamWOptions {
  double beta1 = 0.9;
  double beta2 = 0.99;
  double eps = 1e-8;
};

/// Adam with decoupled weight decay (Loshchilov and Hutter 2019), as PyTorch's AdamW; the formula
/// is at `adamw_step`.
class AdamW final : public Optimizer {
 public:
  explicit AdamW(std::vector<ParameterGroup> groups, const AdamWOptions& options = {});

 private:
  void update(Group& group) override;
  AdamWOptions options_;
};

/// The order of members is frozen.
struct SgdOptions {
  double momentum = 0;
  bool nesterov = false;
};

/// Stochastic gradient descent, as PyTorch's SGD without dampening; the formula is at `sgd_step`.
class Sgd final : public Optimizer {
 public:
  explicit Sgd(std::vector<ParameterGroup> groups, const SgdOptions& options = {});

 private:
  void update(Group& group) override;
  SgdOptions options_;
};

}  // namespace scangrad
