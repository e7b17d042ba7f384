#include <scangrad/ops/attention.h>
#include <scangrad/tests/ops/op_case.h>

#include <cmath>

namespace sg = scangrad;
using reference::Array;
using reference::Arrays;
using sg::Shape;
using sg::Tensor;
using sg::Tensors;

namespace {

enum class Mask { none, boolean, additive };

constexpr double scale = 0.3, dropped = 0.4;
constexpr sg::PhiloxState start{17, 5};  // of the dropout

/// softmax(q kᵀ · scale + mask) v, query by query, the probabilities dropped out or not; q (B, T,
/// d), k (B, S, d), v (B, S, e), B broadcast, mask broadcast to (B, T, S).
reference::Function attention_reference(Mask kind, bool causal, double dropout) {
  return [=](const Arrays& in) {
    const Array &q = in[0], &k = in[1], &v = in[2];
    const std::int64_t queries = q.shape[1], keys = k.shape[1], width = q.shape[2];
    const auto in_batch = [](const Array& x, std::int64_t b) { return x.shape[0] == 1 ? 0 : b; };
    const auto kept = [&](std::int64_t element) {
      const double u = sg::philox_uniform(sg::philox_word(start, element));
      return u < dropout ? 0 : 1 / (1 - dropout);
    };
    const Shape each = reference::broadcast_shape(
        {Array({q.shape[0], queries}), Array({k.shape[0], 1}), Array({v.shape[0], 1})});
    Array y({each[0], queries, v.shape[2]});
    reference::for_each_index(each, [&](const Shape& i) {
      std::vector<double> weights;
      double total = 0;
      for (std::int64_t s = 0; s < keys; ++s) {
        double score = 0;
        for (std::int64_t c = 0; c < width; ++c) {
          score += q.at({in_batch(q, i[0]), i[1], c}) * k.at({in_batch(k, i[0]), s, c});
        }
        const double m =
            kind == Mask::none ? 0 : reference::broadcast_at(in[3], Shape{i[0], i[1], s});
        const bool seen = (!causal || s <= i[1]) && (kind != Mask::boolean || m != 0);
        weights.push_back(seen ? std::exp(score * scale + (kind == Mask::additive ? m : 0)) : 0);
        total += weights.back();
      }
      for (std::int64_t s = 0; s < keys && total > 0; ++s) {
        const double p = weights[static_cast<std::size_t>(s)] / total *
                         (dropout > 0 ? kept((i[0] * queries + i[1]) * keys + s) : 1);
        for (std::int64_t c = 0; c < v.shape[2]; ++c) {
          y.at({i[0], i[1], c}) += p * v.at({in_batch(v, i[0]), s, c});
        }
      }
    });
    return Arrays{y};
  };
}

}  // namespace

std::vector<OpCase> attention_cases() {
  struct Sizes {
    std::int64_t batch, queries, keys, width, out;
  };
  std::vector<OpCase> rows;
  const auto row = [&](const char* name, Mask kind, bool causal, double dropout = 0) {
    std::vector<Operands> calls;
    for (const Sizes& s : std::vector<Sizes>{{1, 1, 1, 1, 1},
                                             {0, 2, 3, 2, 2},
                                             {2, 0, 3, 2, 2},
                                             {2, 3, 3, 2, 2},
                                             {1, 2, 4, 3, 2},
                                             {2, 3, 0, 2, 2},
                                             {20, 40, 25, 30, 8}}) {
      calls.push_back({values({s.batch, s.queries, s.width}), values({s.batch, s.keys, s.width}),
                       values({s.batch, s.keys, s.out})});
      if (s.batch == 2) {  // one batch of keys, or of queries, for two of the others
        const std::size_t shared = s.queries == 3 && s.keys == 3 ? 1 : 0;
        calls.back()[shared].shape[0] = 1;
      }
      if (kind == Mask::boolean) calls.back().push_back(mask({s.queries, s.keys}));
      if (kind == Mask::additive) calls.back().push_back(values({s.queries, s.keys}));
    }
    rows.push_back(
        {.name = name,
         .op =
             [causal, dropout](const Tensors& in) {
               sg::Generator generator;
               generator.set_state(start);
               return Tensors{
                   sg::scaled_dot_product_attention(in[0], in[1], in[2],
                                                    {.causal = causal,
                                                     .mask = in.size() > 3 ? in[3] : Tensor{},
                                                     .dropout = dropout,
                                                     .scale = scale,
                                                     .generator = &generator})};
             },
         .reference = attention_reference(kind, causal, dropout),
         .inputs = calls,
         // Scores and probabilities are kept in the dtype, and scores of up to 4·0.3·d
         // are exponentiated: their rounding is relative to the result's size, 2.
         .tolerance = {[](const Tensors& in) { return double(in[0].size(-1)); }, 2, true}});
  };
  row("scaled_dot_product_attention.plain", Mask::none, false);
  row("scaled_dot_product_attention.causal", Mask::none, true);
  row("scaled_dot_product_attention.bool_mask", Mask::boolean, false);
  row("scaled_dot_product_attention.additive_mask", Mask::additive, true);
  row("scaled_dot_product_attention.dropout", Mask::none, true, dropped);
  return rows;
}
