#pragma once
#include <scangrad/core/tensor.h>

#include <cstdint>

namespace scangrad {

/// Throws ValueError unless d, the size of a head, is even.
void check_rotary(std::int64_t d);

/// Rotary positions: the pair (x_2i, x_2i+1) of a query or key at time t turns by t·θ_i with
/// θ_i = 10000^{−2i/d}, so that products depend on distances alone (Su et al. 2021). With `scaled`
/// (xPos, Sun et al. 2022) queries are also multiplied by ζ_i^{t/512} and keys divided by it,
/// ζ_i = (2i + 0.4 d)/(1.4 d), which lets far products decay.
class Rotary {
 public:
  /// For heads of size d. Throws what `check_rotary` throws.
  Rotary(std::int64_t d, bool scaled);
  /// Queries and keys together, (B, T, 2, heads, d), those of times start … start + T − 1.
  Tensor forward(const Tensor& queries_keys, std::int64_t start);

 private:
  void make_tables(std::int64_t length, const TensorOptions& options);

  std::int64_t d_;
  bool scaled_;
  Tensor cos_;  // (times so far, 2, 1, d): the factor of x
  Tensor sin_;  // the same shape: the factor of (x_1, x_0, x_3, x_2, …), negative at even places
};

}  // namespace scangrad
