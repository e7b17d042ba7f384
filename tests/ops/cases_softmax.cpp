#include <scangrad/ops/softmax.h>
#include <scangrad/tests/ops/op_case.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace sg = scangrad;
using reference::Array;
using reference::Arrays;
using sg::Shape;
using sg::Tensor;
using sg::Tensors;

namespace {

/// exp(x_i − log Σ exp x) along a dimension of x, or its logarithm.
reference::Function softmax_reference(int dim, bool logarithm) {
  return [=](const Arrays& in) {
    const Array& x = in[0];
    const int at = dim < 0 ? dim + x.shape.rank() : dim;
    Array y(x.shape);
    reference::for_each_index(x.shape, [&](const Shape& index) {
      double total = 0;
      for (std::int64_t j = 0; j < x.shape[at]; ++j) {
        Shape other = index;
        other[at] = j;
        total += std::exp(x.at(other));
      }
      const double log_y = x.at(index) - std::log(total);
      y.at(index) = logarithm ? log_y : std::exp(log_y);
    });
    return Arrays{y};
  };
}

/// e^{x_j + mask_j} over their sum, over what mask and triangle leave; 0 where that is nothing.
reference::Function masked_reference(bool boolean, bool causal) {
  return [=](const Arrays& in) {
    const Array& x = in[0];
    const int last = x.shape.rank() - 1;
    const auto weight = [&](const Shape& index) {
      if (causal && index[last] > index[last - 1]) return 0.0;
      if (in.size() == 1) return std::exp(x.at(index));
      const double m = reference::broadcast_at(in[1], index);
      return boolean ? m * std::exp(x.at(index)) : std::exp(x.at(index) + m);
    };
    Array y(x.shape);
    reference::for_each_index(x.shape, [&](const Shape& index) {
      double total = 0;
      for (std::int64_t j = 0; j < x.shape[last]; ++j) {
        Shape other = index;
        other[last] = j;
        total += weight(other);
      }
      y.at(index) = total == 0 ? 0 : weight(index) / total;
    });
    return Arrays{y};
  };
}

std::vector<Operands> rank_three() {
  std::vector<Operands> calls;
  for (const Shape& shape :
       std::vector<Shape>{{1, 1, 1}, {2, 0, 3}, {0, 1, 2}, {2, 3, 2}, {3, 1, 4}, {29, 31, 37}}) {
    calls.push_back({values(shape)});
  }
  return calls;
}

}  // namespace

std::vector<OpCase> softmax_cases() {
  std::vector<OpCase> rows;
  for (int dim : {0, 1, -1}) {
    const std::string suffix = dim == 0 ? ".first" : dim == 1 ? ".middle" : ".last";
    rows.push_back({.name = "softmax" + suffix,
                    .op = [dim](const Tensors& in) { return Tensors{sg::softmax(in[0], dim)}; },
                    .reference = softmax_reference(dim, false),
                    .inputs = rank_three(),
                    .covers = {"softmax_backward"}});
    rows.push_back({.name = "log_softmax" + suffix,
                    .op = [dim](const Tensors& in) { return Tensors{sg::log_softmax(in[0], dim)}; },
                    .reference = softmax_reference(dim, true),
                    .inputs = rank_three(),
                    .covers = {"log_softmax_backward"}});
  }
  // The mask broadcasts over the batch, over rows and over columns.
  const std::vector<std::pair<Shape, Shape>> shapes = {
      {{1, 1}, {1, 1}},       {{2, 0, 3}, {3}},    {{0, 2, 2}, {2, 2}},     {{2, 3, 4}, {3, 4}},
      {{2, 4, 3}, {2, 1, 3}}, {{2, 3, 3}, {3, 1}}, {{20, 30, 40}, {30, 40}}};
  std::vector<Operands> alone, boolean, additive;
  for (const auto& [x, m] : shapes) {
    alone.push_back({values(x)});
    boolean.push_back({values(x), mask(m)});
    additive.push_back({values(x), values(m)});
  }
  const auto masked = [](bool causal) {
    return [causal](const Tensors& in) {
      return Tensors{sg::masked_softmax(in[0], in.size() > 1 ? in[1] : Tensor{}, causal)};
    };
  };
  rows.push_back({.name = "masked_softmax.causal",
                  .op = masked(true),
                  .reference = masked_reference(false, true),
                  .inputs = alone});
  for (bool causal : {false, true}) {
    const std::string suffix = causal ? "_causal" : "";
    rows.push_back({.name = "masked_softmax.bool" + suffix,
                    .op = masked(causal),
                    .reference = masked_reference(true, causal),
                    .inputs = boolean});
    rows.push_back({.name = "masked_softmax.additive" + suffix,
                    .op = masked(causal),
                    .reference = masked_reference(false, causal),
                    .inputs = additive});
  }
  return rows;
}
