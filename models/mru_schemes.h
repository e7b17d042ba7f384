#pragma once
#include <scangrad/core/tensor.h>
#include <scangrad/ops/matrix_form.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace scangrad {

/// A way to make an n × n matrix of a token's elements. All give I for zero elements, so that a
/// fresh model (whose W_in is zero) remembers everything and mixes nothing.
struct MruScheme {
  const char* name;
  /// How many elements make one matrix of order n.
  std::int64_t (*element_count)(std::int64_t n);
  /// (…, element_count(n)) → (…, n, n); any strides.
  Tensor (*matrices)(const Tensor& elements, std::int64_t n);
  /// The same, where the scan can make them itself of n² elements (ops/matrix_form.h).
  std::optional<MatrixForm> form = {};
};

/// The scheme of that name. Throws ValueError listing those that there are.
const MruScheme& mru_scheme(const std::string& name);
std::vector<std::string> mru_scheme_names();

}  // namespace scangrad
