#pragma once
#include <scangrad/core/tensor.h>

#include <cstdint>

// New tensors of a regular pattern. `full`, `zeros`, `ones` and `from` are in core/tensor.h, random
// ones in ops/random.h.
namespace scangrad {

/// start, start + step, … below end (above, for a negative step). Throws ValueError for step 0, a
/// range that is not finite, and one that leaves an integer dtype.
Tensor arange(double start, double end, double step = 1, const TensorOptions& options = {});
/// The identity matrix, (n, n).
Tensor eye(std::int64_t n, const TensorOptions& options = {});

}  // namespace scangrad
