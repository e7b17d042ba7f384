#pragma once
#include <scangrad/core/named_tensor.h>
#include <scangrad/core/tensor.h>

#include <cstdint>
#include <string>
#include <vector>

namespace scangrad {

/// The order of members is frozen.
struct LoadOptions {
  bool strict = true;  ///< a missing or unexpected name is an error
};

/// Names that do not match.
struct LoadResult {
  std::vector<std::string> missing;     ///< parameters that the state does not hold
  std::vector<std::string> unexpected;  ///< tensors of the state that the module does not have
};

/// Something with parameters. A derived class keeps tensors and other modules as plain members and
/// registers each in its constructor under the name that checkpoints use; names join with dots
/// (`transformer.h.0.mlp.c_fc.weight`). Neither copied nor moved, as it registers addresses.
class Module {
 public:
  Module() = default;
  virtual ~Module() = default;
  Module(const Module&) = delete;
  Module& operator=(const Module&) = delete;

  /// Every parameter under its full name, in the order of registration.
  NamedTensors named_parameters() const;
  /// Number of elements of all parameters.
  std::int64_t parameter_count() const;

  /// The parameters' values, without history; they share the module's memory.
  NamedTensors state_dict() const;
  /// How the names of a state and of the parameters differ, each in its order.
  LoadResult differences(const NamedTensors& state) const;
  /// Copies values in, converting floating dtypes and device. Throws ShapeError naming the first
  /// tensor of another shape, DTypeError naming the first that is not floating-point and, where
  /// strict, ValueError listing missing and unexpected names; the module is then unchanged. What is
  /// missing in a load that is not strict stays as it is. Returns `differences`.
  LoadResult load_state_dict(const NamedTensors& state, const LoadOptions& options = {});

  /// Whether dropout is active, here and in every module within.
  void train(bool training = true);
  void eval() { train(false); }
  bool is_training() const { return training_; }

  /// Moves or converts every parameter. Tensors taken from the module before are then no longer
  /// its parameters: do it before an optimizer is made.
  void to(Device device);
  void to(DType dtype);
  void to(const TensorOptions& options);

  /// Whether backward skips the parameters, here and in every module within.
  void freeze(bool frozen = true);

 protected:
  /// Makes `member`, which holds its initial value, a parameter that wants its gradient.
  void register_parameter(const std::string& name, Tensor& member);
  /// Makes `member` a part of this module.
  void register_module(const std::string& name, Module& member);

 private:
  struct Entry {
    std::string name;
    Tensor* parameter;  // one of the two
    Module* module;
  };
  void add(Entry entry);
  /// Calls `visit(full name, parameter)` for every parameter.
  template <class Visit>
  void for_each_parameter(const std::string& prefix, const Visit& visit) const;

  std::vector<Entry> entries_;
  bool training_ = true;
};

}  // namespace scangrad
