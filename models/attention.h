#pragma once
#include <scangrad/models/dropout.h>
#include <scangrad/models/layer.h>
#include <scangrad/models/linear.h>
#include <scangrad/models/matrix_positions.h>
#include <scangrad/models/rotary.h>

#include <optional>
#include <string>

namespace scangrad {

/// The order of members is frozen.
struct AttentionConfig {
  std::int64_t width = 0;
  std::int64_t heads = 1;
  /// `none`, `learned` (added to the embedding by the model, nothing here), `rope`, `xpos` or
  /// `mru`.
  std::string positions = "none";
  double out_std = 0.02;            ///< deviation of the output projection
  double dropout = 0;               ///< of probabilities and of the output
  std::int64_t position_order = 8;  ///< of `mru` positions: dimensions that turn together
  bool bias = false;                ///< of both projections
};

/// Causal multi-head attention, softmax(q kᵀ/√d) v with d = width/heads. Vaswani et al.
/// 2017; positions as in `Rotary` and `MatrixPositions`.
class Attention : public Layer {
 public:
  /// Throws what `check_attention` throws.
  Attention(const AttentionConfig& config, Generator& generator);
  Tensor forward(const Tensor& x, const Tensor& starts = {}) override;
  /// {keys, values} of the tokens so far, (B, heads, t, d) each, the number of their documents,
  /// (B, t), empty where these are not told apart, and the state of `mru` positions.
  LayerState initial_state(std::int64_t batch) const override;
  Tensor step(const Tensor& x, LayerState& state, const Tensor& starts = {}) override;

 private:
  struct Heads {
    Tensor queries, keys, values;  // (B, heads, T, d) each
  };
  Heads heads_of(const Tensor& x, std::int64_t past, LayerState& state, const Tensor& starts);
  Tensor attend(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& documents);

  std::int64_t heads_;
  Linear c_attn_;  // (3 width, width): queries, keys, values
  Linear c_proj_;  // (width, width)
  Dropout probability_dropout_;
  Dropout output_dropout_;
  std::optional<Rotary> rotary_;
  std::optional<MatrixPositions> matrix_positions_;
};

/// Throws ValueError for positions that do not exist, listing those that do.
void check_positions(const std::string& positions);
/// Throws ValueError for what `Attention` cannot be: such positions, and sizes that do not divide.
void check_attention(const AttentionConfig& config);

}  // namespace scangrad
