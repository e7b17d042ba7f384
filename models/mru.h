#pragma once
#include <scangrad/models/dropout.h>
#include <scangrad/models/layer.h>
#include <scangrad/models/linear.h>
#include <scangrad/models/mru_schemes.h>
#include <scangrad/ops/scan.h>

#include <string>

namespace scangrad {

/// The order of members is frozen.
struct MruConfig {
  std::int64_t width = 0;
  std::int64_t heads = 1;
  std::int64_t state_size = 0;  ///< d_s: heads × order²; 0 for the width
  std::string scheme = "ldu";
  double out_std = 0.02;  ///< deviation of the output projection
  double dropout = 0;     ///< of the elements and of the output
  /// What the model reads of a state H of order n: `none`, H itself; `frobenius`, √n H/‖H‖_F, which
  /// cannot overflow.
  std::string normalize = "none";
};

/// Order of the state matrices, √(state_size/heads). Throws ValueError unless that is an integer
/// and heads × order divides the width.
std::int64_t mru_order(const MruConfig& config);
/// Throws ValueError for what `Mru` cannot be: these sizes, an unknown scheme or normalize.
void check_mru(const MruConfig& config);

/// Matrix recurrent unit. A head's memory is a matrix of order n that each token multiplies by its
/// own, H_t = H_{t−1} M_t, with M_t = scheme(x_t W_inᵀ); all T products are one associative scan.
/// Output: y_t = [H_t W_down, over heads] W_outᵀ. No bias.
class Mru : public Layer {
 public:
  /// Throws what `check_mru` throws.
  Mru(const MruConfig& config, Generator& generator);
  Tensor forward(const Tensor& x, const Tensor& starts = {}) override;
  /// {H}, (heads, B, n, n), identities. Where states are normalised, H up to a power of two.
  LayerState initial_state(std::int64_t batch) const override;
  Tensor step(const Tensor& x, LayerState& state, const Tensor& starts = {}) override;
  /// Of H itself, normalised or not, also where f32 could not hold it.
  Tensor log10_state_norm(const Tensor& x, const Tensor& starts = {}) override;

 private:
  Tensor elements(const Tensor& x) const;  // of M: (heads, B, T, elements of a matrix)
  /// What is read of the states (heads, B, T, n, n), and the last one, as `step` keeps it.
  ScanResult scan(const Tensor& elements, const Tensor& initial, const Tensor& starts) const;
  Tensor output(const Tensor& states, const Tensor& like) const;  // (B, T, width)

  std::int64_t heads_;
  std::int64_t order_;
  const MruScheme& scheme_;
  bool normalize_;
  Linear w_in_;    // (heads × elements of a matrix, width)
  Tensor w_down_;  // (heads, n, width/(heads n))
  Linear w_out_;   // (width, width)
  Dropout element_dropout_;
  Dropout output_dropout_;
};

}  // namespace scangrad
