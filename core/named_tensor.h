#pragma once
#include <scangrad/core/tensor.h>

#include <string>
#include <vector>

namespace scangrad {

/// A tensor under the name that it has in a model and in its files: `transformer.wte.weight`.
struct NamedTensor {
  std::string name = {};
  Tensor tensor = {};
};
using NamedTensors = std::vector<NamedTensor>;

}  // namespace scangrad
