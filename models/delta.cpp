#include <scangrad/core/format.h>
#include <scangrad/models/delta.h>
#include <scangrad/models/heads.h>
#include <scangrad/ops/creation.h>
#include <scangrad/ops/elementwise.h>
#include <scangrad/ops/join.h>
#include <scangrad/ops/linalg.h>
#include <scangrad/ops/matmul.h>
#include <scangrad/ops/reduce.h>
#include <scangrad/ops/scan.h>
#include <scangrad/ops/shape.h>

#include <algorithm>

namespace scangrad {
namespace {

constexpr std::int64_t chunk_size = 32;  // L⁻¹ costs its square a token

/// silu(x) of length 1 over the last dimension (a little less where x is nearly 0).
Tensor direction(const Tensor& x) {
  const Tensor y = silu(x);
  return y * rsqrt(sum(square(y), {-1}, true) + 1e-6);
}

}  // namespace

Delta::Delta(const MixerConfig& config, Generator& generator)
    : heads_(config.heads),
      c_attn_(config.width, 3 * config.width, 0.02, generator),
      c_beta_(config.width, config.heads, 0.02, generator),
      c_proj_(config.width, config.width, config.out_std, generator),
      dropout_(config.dropout) {
  check_heads("Delta", config.width, heads_);
  register_module("c_attn", c_attn_);
  register_module("c_beta", c_beta_);
  register_module("c_proj", c_proj_);
  register_module("dropout", dropout_);
}

LayerState Delta::initial_state(std::int64_t batch) const {
  const Tensor& weight = c_proj_.weight;
  const std::int64_t d = weight.size(0) / heads_;
  return {zeros({batch, heads_, d, d}, {state_dtype(weight), weight.device()})};
}

Tensor Delta::step(const Tensor& x, LayerState& state, const Tensor& starts) {
  const std::int64_t length = x.size(1), size = std::min(length, chunk_size);
  const Tensors parts = split_heads(c_attn_.forward(x), 3, heads_);
  const std::int64_t d = parts[0].size(-1);
  const TensorOptions options = parts[0].options();
  const Tensor q = in_chunks(direction(parts[0]), size);  // (B, heads, chunks, size, d)
  const Tensor k = in_chunks(direction(parts[1]), size);
  const Tensor v = in_chunks(parts[2], size);
  const Tensor beta = in_chunks(sigmoid(split_heads(c_beta_.forward(x), 1, heads_)[0]), size);

  const ChunkDocuments documents = chunk_documents(starts, size);
  const Tensor kt = transpose(k, -1, -2);
  const Tensor lower = eye(size, options) + hide(tril(matmul(k, kt) * beta, -1), documents.apart);
  const Tensor wu = solve(lower, cat({k, v}, -1) * beta);
  const Tensor w = hide(slice(wu, -1, 0, d), documents.begun), u = slice(wu, -1, d);
  const Tensor kept = hide(eye(d, options) - matmul(transpose(w, -1, -2), k), documents.begins);
  const Tensor added = matmul(transpose(hide(u, documents.ended), -1, -2), k);
  const auto [before, last] =
      affine_scan(kept, added, {.dim = 2, .exclusive = true, .initial = state[0]});
  state = {last};
  const Tensor st = transpose(before, -1, -2);  // (B, heads, chunks, d, d)
  const Tensor scores = hide(tril(matmul(q, kt)), documents.apart);
  const Tensor y = matmul(hide(q, documents.begun), st) + matmul(scores, u - matmul(w, st));
  return dropout_.forward(c_proj_.forward(cast(join_heads(joined(y, length)), x.dtype())));
}

}  // namespace scangrad
