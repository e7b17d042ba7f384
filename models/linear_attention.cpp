#include <scangrad/core/format.h>
#include <scangrad/models/heads.h>
#include <scangrad/models/linear_attention.h>
#include <scangrad/ops/elementwise.h>
#include <scangrad/ops/join.h>
#include <scangrad/ops/linalg.h>
#include <scangrad/ops/matmul.h>
#include <scangrad/ops/scan.h>
#include <scangrad/ops/shape.h>

#include <algorithm>

namespace scangrad {
namespace {

constexpr std::int64_t chunk_size = 64;  // about a head's size: both kinds of products cost alike

}  // namespace

LinearAttention::LinearAttention(const MixerConfig& config, Generator& generator)
    : heads_(config.heads),
      c_attn_(config.width, 3 * config.width, 0.02, generator),
      c_proj_(config.width, config.width, config.out_std, generator),
      dropout_(config.dropout) {
  check_heads("LinearAttention", config.width, heads_);
  register_module("c_attn", c_attn_);
  register_module("c_proj", c_proj_);
  register_module("dropout", dropout_);
}

LayerState LinearAttention::initial_state(std::int64_t batch) const {
  const Tensor& weight = c_proj_.weight;
  const std::int64_t d = weight.size(0) / heads_;
  return {zeros({batch, heads_, d, d + 1}, {state_dtype(weight), weight.device()})};
}

Tensor LinearAttention::step(const Tensor& x, LayerState& state, const Tensor& starts) {
  const std::int64_t length = x.size(1), size = std::min(length, chunk_size);
  const Tensors parts = split_heads(c_attn_.forward(x), 3, heads_);
  const std::int64_t d = parts[2].size(-1);
  const Tensor q = in_chunks(elu(parts[0]) + 1, size);  // (B, heads, chunks, size, d)
  const Tensor kt = transpose(in_chunks(elu(parts[1]) + 1, size), -1, -2);
  // With a column of ones, the sums of φ(k) vᵀ hold those of φ(k) too.
  const Tensor one = ones({x.size(0), heads_, length, 1}, parts[2].options());
  const Tensor v = in_chunks(cat({parts[2], one}, -1), size);

  const ChunkDocuments documents = chunk_documents(starts, size);
  const Tensor added = matmul(kt, hide(v, documents.ended));
  const ScanOptions over_chunks{.dim = 2, .exclusive = true, .initial = state[0]};
  const auto [before, last] =
      starts.defined()
          ? linear_scan(cast(logical_not(documents.begins), added.dtype()), added, over_chunks)
          : cumsum(added, over_chunks);
  state = {last};
  const Tensor scores = hide(tril(matmul(q, kt)), documents.apart);
  const Tensor y = joined(matmul(hide(q, documents.begun), before) + matmul(scores, v), length);
  const Tensor mean = slice(y, -1, 0, d) / (slice(y, -1, d) + 1e-6);
  return dropout_.forward(c_proj_.forward(cast(join_heads(mean), x.dtype())));
}

}  // namespace scangrad
