#pragma once
#include <scangrad/core/random.h>
#include <scangrad/models/module.h>

namespace scangrad {

/// A table of `count` vectors: indices (…), integers, → (…, width).
class Embedding : public Module {
 public:
  /// weight (count, width) normal with deviation `std`.
  Embedding(std::int64_t count, std::int64_t width, double std, Generator& generator);
  /// Throws IndexError naming an index outside the table.
  Tensor forward(const Tensor& indices) const;

  Tensor weight;  // (count, width)
};

}  // namespace scangrad
