#include <scangrad/ops/matmul.h>
#include <scangrad/tests/ops/op_case.h>

#include <cmath>
#include <tuple>

namespace sg = scangrad;
using reference::Array;
using reference::Arrays;

namespace {

/// The definition: y[…, i, j] = Σ_k a[…, i, k] b[…, k, j], batches broadcast.
Arrays matmul_reference(const Arrays& in) {
  Array a = in[0], b = in[1];
  const bool row = a.shape.rank() == 1, column = b.shape.rank() == 1;
  if (row) a.shape = {1, a.shape[0]};
  if (column) b.shape = {b.shape[0], 1};
  const int ra = a.shape.rank(), rb = b.shape.rank();
  const std::int64_t m = a.shape[ra - 2], k = a.shape[ra - 1], n = b.shape[rb - 1];
  const sg::Shape batch = reference::broadcast_shape(
      {Array(a.shape.slice(0, ra - 2)), Array(b.shape.slice(0, rb - 2))});
  sg::Shape shape = batch, kept = batch;
  shape.push_back(m);
  shape.push_back(n);
  if (!row) kept.push_back(m);
  if (!column) kept.push_back(n);
  Array y(shape);
  // The batch part of the index as it applies to an operand with `rank` dimensions.
  const auto at = [&](const Array& x, const sg::Shape& index, std::int64_t i, std::int64_t j) {
    sg::Shape full = index.slice(0, batch.rank());
    full.push_back(i);
    full.push_back(j);
    sg::Shape own = x.shape;
    for (int dim = 0; dim < own.rank(); ++dim) {
      const bool is_batch = dim < own.rank() - 2;
      own[dim] = is_batch && x.shape[dim] == 1 ? 0 : full[full.rank() - own.rank() + dim];
    }
    return x.at(own);
  };
  reference::for_each_index(shape, [&](const sg::Shape& index) {
    const std::int64_t i = index[batch.rank()], j = index[batch.rank() + 1];
    for (std::int64_t l = 0; l < k; ++l) y.at(index) += at(a, index, i, l) * at(b, index, l, j);
  });
  y.shape = kept;
  return {y};
}

/// The definition: y[…, o] = Σ_i x[…, i] weight[o, i] (+ bias[o]).
Arrays linear_reference(const Arrays& in) {
  const Array &x = in[0], &weight = in[1];
  sg::Shape shape = x.shape;
  shape[x.shape.rank() - 1] = weight.shape[0];
  Array y(shape);
  reference::for_each_index(shape, [&](const sg::Shape& index) {
    sg::Shape from = index;
    const std::int64_t out = index[shape.rank() - 1];
    if (in.size() > 2) y.at(index) = in[2].at({out});
    for (std::int64_t i = 0; i < weight.shape[1]; ++i) {
      from[shape.rank() - 1] = i;
      y.at(index) += x.at(from) * weight.at({out, i});
    }
  });
  return {y};
}

/// gelu(x weight1ᵀ + bias1) weight2ᵀ + bias2; each bias after its weight, if there are any.
reference::Function feed_forward_reference(double (*gelu)(double)) {
  return [gelu](const Arrays& in) {
    const bool biased = in.size() == 5;
    Array h = linear_reference(biased ? Arrays{in[0], in[1], in[2]} : Arrays{in[0], in[1]})[0];
    for (std::int64_t i = 0; i < h.numel(); ++i) h[i] = gelu(h[i]);
    return linear_reference(biased ? Arrays{h, in[3], in[4]} : Arrays{h, in[2]});
  };
}

double gelu_erf(double x) { return 0.5 * x * (1 + std::erf(x / std::sqrt(2.0))); }
double gelu_tanh(double x) {
  const double pi = std::acos(-1.0);
  return 0.5 * x * (1 + std::tanh(std::sqrt(2 / pi) * (x + 0.044715 * x * x * x)));
}

template <sg::Gelu form>
sg::Tensors feed_forward(const sg::Tensors& in) {
  if (in.size() == 3) return {sg::feed_forward(in[0], in[1], {}, in[2], {}, form)};
  return {sg::feed_forward(in[0], in[1], in[2], in[3], in[4], form)};
}

std::vector<OpCase> feed_forward_cases() {
  std::vector<Operands> plain, biased;
  for (const auto& [x, hidden, out] :
       std::vector<std::tuple<sg::Shape, std::int64_t, std::int64_t>>{{{3}, 4, 2},
                                                                      {{1, 1}, 1, 1},
                                                                      {{0, 3}, 4, 2},
                                                                      {{2, 0}, 3, 2},
                                                                      {{2, 3}, 0, 2},
                                                                      {{2, 3, 4}, 5, 3},
                                                                      {{2, 6, 8}, 16, 8},
                                                                      {{300, 70}, 24, 16}}) {
    const Operand w1 = values({hidden, x.back()}, -0.5, 0.5), w2 = values({out, hidden});
    plain.push_back({values(x), w1, w2});
    biased.push_back({values(x), w1, values({hidden}), w2, values({out})});
  }
  // Products of up to 1 and then of up to 2 times |h|, h being stored in between.
  const Tolerance tolerance{
      [](const sg::Tensors& in) { return double(in[0].shape().back() + in[1].size(0)); }, 8, true};
  return {{.name = "feed_forward",
           .op = feed_forward<sg::Gelu::erf>,
           .reference = feed_forward_reference(gelu_erf),
           .inputs = plain,
           .tolerance = tolerance},
          {.name = "feed_forward.tanh",
           .op = feed_forward<sg::Gelu::tanh>,
           .reference = feed_forward_reference(gelu_tanh),
           .inputs = plain,
           .covers = {"gelu_linear_backward"},
           .tolerance = tolerance},
          {.name = "feed_forward.bias",
           .op = feed_forward<sg::Gelu::erf>,
           .reference = feed_forward_reference(gelu_erf),
           .inputs = biased,
           .tolerance = tolerance},
          {.name = "feed_forward.tanh.bias",
           .op = feed_forward<sg::Gelu::tanh>,
           .reference = feed_forward_reference(gelu_tanh),
           .inputs = biased,
           .tolerance = tolerance}};
}

}  // namespace

std::vector<OpCase> matmul_cases() {
  const std::vector<std::pair<sg::Shape, sg::Shape>> shapes = {{{1}, {1}},
                                                               {{3}, {3}},
                                                               {{3}, {3, 2}},
                                                               {{2, 3}, {3}},
                                                               {{2, 3}, {3, 4}},
                                                               {{0, 3}, {3, 2}},
                                                               {{2, 0}, {0, 3}},
                                                               {{0, 2, 3}, {3, 2}},
                                                               {{2, 2, 3}, {3, 2}},
                                                               {{3, 2}, {2, 2, 2}},
                                                               {{2, 1, 2, 3}, {3, 3, 2}},
                                                               {{3}, {2, 3, 2}},
                                                               {{3, 4, 4}, {3, 4, 4}},
                                                               {{5, 8, 8}, {8, 8}},
                                                               {{150, 140}, {140, 3}},
                                                               {{4096, 8}, {8, 4}},
                                                               {{2, 4096, 8}, {2, 8, 4}},
                                                               {{90, 16, 16}, {90, 16, 16}},
                                                               {{2, 24, 8}, {2, 8, 8}},
                                                               {{2, 3, 32, 4}, {3, 4, 4}},
                                                               {{4, 70, 80}, {4, 80, 20}}};
  std::vector<Operands> calls;
  for (const auto& [a, b] : shapes) calls.push_back({values(a), values(b)});
  // k products of up to 4, which may cancel, summed in the accumulator's precision.
  const Tolerance dot_products{[](const sg::Tensors& in) { return double(in[0].shape().back()); },
                               4};
  std::vector<Operands> layers, biased_layers;
  for (const auto& [x, weight] :
       std::vector<std::pair<sg::Shape, sg::Shape>>{{{3}, {2, 3}},
                                                    {{1, 1}, {1, 1}},
                                                    {{0, 3}, {2, 3}},
                                                    {{2, 0}, {3, 0}},
                                                    {{2, 3}, {0, 3}},
                                                    {{2, 3, 4}, {5, 4}},
                                                    {{300, 70}, {9, 70}}}) {
    layers.push_back({values(x), values(weight)});
    biased_layers.push_back({values(x), values(weight), values({weight[0]})});
  }
  const auto linear = [](const sg::Tensors& in) {
    return sg::Tensors{sg::linear(in[0], in[1], in.size() > 2 ? in[2] : sg::Tensor{})};
  };
  std::vector<OpCase> rows = {
      {.name = "matmul",
       .op = [](const sg::Tensors& in) { return sg::Tensors{sg::matmul(in[0], in[1])}; },
       .reference = matmul_reference,
       .inputs = calls,
       .dtypes = {sg::f64, sg::f32, sg::bf16, sg::i64},
       .tolerance = dot_products},
      {.name = "linear",
       .op = linear,
       .reference = linear_reference,
       .inputs = layers,
       .tolerance = dot_products},
      {.name = "linear.bias",
       .op = linear,
       .reference = linear_reference,
       .inputs = biased_layers,
       .tolerance = {dot_products.terms, 4, true}}};
  for (OpCase& row : feed_forward_cases()) {
    row.shared_by_blas = true;
    rows.push_back(std::move(row));
  }
  return rows;
}
