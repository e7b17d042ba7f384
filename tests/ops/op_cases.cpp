#include <scangrad/core/random.h>
#include <scangrad/tests/ops/op_case.h>

#include <algorithm>
#include <cmath>
#include <numeric>

namespace sg = scangrad;

std::vector<OpCase> all_cases() {
  std::vector<OpCase> all;
  for (const auto& family : {
           elementwise_cases,
           shape_cases,
           reduce_cases,
           index_cases,
           random_cases,
           matmul_cases,
           softmax_cases,
           norm_cases,
           loss_cases,
           join_cases,
           linalg_cases,
           attention_cases,
           scan_cases,
           form_scan_cases,
       }) {
    for (OpCase& row : family()) all.push_back(std::move(row));
  }
  return all;
}

namespace {

constexpr double clearance = 0.1;  // from points without a derivative

std::vector<double> distinct_values(std::size_t n, double low, double high, sg::PhiloxState state,
                                    std::uint64_t seed) {
  std::vector<std::size_t> order(n);
  std::iota(order.begin(), order.end(), std::size_t{0});
  for (std::size_t i = n; i > 1; --i) {
    std::swap(order[i - 1], order[sg::philox_word(state, static_cast<std::int64_t>(i)) % i]);
  }
  // Operand `seed` sits at its own place in each cell of a grid: different from every other one's.
  const double place = 0.1 + 0.37 * static_cast<double>(seed % 3);
  std::vector<double> result;
  for (std::size_t rank : order) {
    result.push_back(low +
                     (high - low) * (static_cast<double>(rank) + place) / static_cast<double>(n));
  }
  return result;
}

}  // namespace

sg::Tensor make(const Operand& operand, std::uint64_t seed) {
  const sg::PhiloxState state{1234 + seed, 0};
  const auto n = static_cast<std::size_t>(operand.shape.numel());
  std::vector<double> result;
  for (std::size_t i = 0; i < n; ++i) {
    const double u = sg::philox_uniform(sg::philox_word(state, static_cast<std::int64_t>(i)));
    result.push_back(operand.low + u * (operand.high - operand.low));
  }
  switch (operand.kind) {
    case Operand::Kind::values:
      for (double& value : result) {
        for (double point : operand.avoid) {
          if (std::abs(value - point) < clearance)
            value = point + std::copysign(clearance, value - point);
        }
      }
      return sg::from<double>(result, operand.shape);
    case Operand::Kind::distinct:
      return sg::from<double>(distinct_values(n, operand.low, operand.high, state, seed),
                              operand.shape);
    case Operand::Kind::indices:
      return sg::from<std::int64_t>({result.begin(), result.end()}, operand.shape);
    case Operand::Kind::mask: {
      std::vector<bool> bits(n);
      std::transform(result.begin(), result.end(), bits.begin(), [](double v) { return v < 0.5; });
      return sg::from<bool>(bits, operand.shape);
    }
  }
  return {};
}

sg::Tensors make(const Operands& operands) {
  sg::Tensors tensors;
  for (const Operand& operand : operands) {
    tensors.push_back(make(operand, tensors.size()));
    if (operand.kind <= Operand::Kind::distinct) {
      tensors.back().requires_grad_(operand.differentiable);
    }
  }
  return tensors;
}

std::vector<Operands> unary_inputs(double low, double high, const std::vector<double>& avoid) {
  std::vector<Operands> calls;
  for (const sg::Shape& shape :
       std::vector<sg::Shape>{{}, {1}, {0}, {2, 0, 3}, {5}, {3, 4}, {2, 1, 4}, {137, 257}}) {
    calls.push_back({values(shape, low, high, avoid)});
  }
  return calls;
}

std::vector<Operands> binary_inputs(const Operand& a, const Operand& b) {
  const std::vector<std::pair<sg::Shape, sg::Shape>> shapes = {{{}, {}},
                                                               {{1}, {1}},
                                                               {{0}, {1}},
                                                               {{2, 0, 3}, {3}},
                                                               {{3, 4}, {3, 4}},
                                                               {{3, 4}, {4}},
                                                               {{3, 1}, {1, 4}},
                                                               {{2, 3, 2}, {}},
                                                               {{}, {3}},
                                                               {{2, 1, 2}, {3, 1}},
                                                               {{137, 257}, {1, 257}},
                                                               {{137, 257}, {137, 257}}};
  std::vector<Operands> calls;
  for (const auto& [shape_a, shape_b] : shapes) {
    Operands operands{a, b};
    operands[0].shape = shape_a;
    operands[1].shape = shape_b;
    calls.push_back(std::move(operands));
  }
  return calls;
}
