#pragma once
#include <scangrad/models/linear.h>
#include <scangrad/models/module.h>

#include <cstdint>

namespace scangrad {

/// How many chunks of n dimensions all heads have. Throws ValueError where chunks of n do not
/// divide a head's size, or n is less than 2.
std::int64_t matrix_position_chunks(std::int64_t width, std::int64_t heads, std::int64_t n);

/// Positions that the text decides: each token turns a head's queries and keys, in chunks of n
/// dimensions, by rotations of its own,
///   M_t = cayley(x_t W_posᵀ),  H_t = H_{t−1} M_t,  q'_t = q_t H_tᵀ,  k'_s = k_s H_sᵀ
/// (as rows), so that q'_t·k'_s = k_s M_{s+1} … M_t q_tᵀ depends on what lies between s and t
/// alone. Rotary positions (`Rotary`) are the case n = 2 of rotations that no token can change.
class MatrixPositions : public Module {
 public:
  /// W_pos is zero at first: no positions. Throws what `matrix_position_chunks` throws.
  MatrixPositions(std::int64_t width, std::int64_t heads, std::int64_t n, Generator& generator);

  /// H_0 = I, (heads · chunks, B, n, n).
  Tensor initial_state(std::int64_t batch) const;
  /// Queries and keys together, (B, T, 2, heads, d), of the tokens x (B, T, width) after those that
  /// `state` has seen, turned; `state` then includes them. H begins anew where a document `starts`,
  /// (B, T) bool or undefined.
  Tensor forward(const Tensor& x, const Tensor& queries_keys, Tensor& state,
                 const Tensor& starts = {}) const;

 private:
  std::int64_t n_;
  std::int64_t chunks_;  // of all heads
  Linear w_pos_;         // (heads · chunks · n(n − 1)/2, width)
};

}  // namespace scangrad
