// Creation and random operations. Their one operand only says the shape, dtype and device; random
// values are compared with the rule of core/philox.h: element i takes word i. That the numbers are
// random enough is for test_random.cpp.
#include <scangrad/ops/creation.h>
#include <scangrad/ops/random.h>
#include <scangrad/tests/ops/op_case.h>

#include <algorithm>
#include <cmath>
#include <numeric>

namespace sg = scangrad;
using reference::Array;
using reference::Arrays;
using sg::Shape;
using sg::Tensors;

namespace {

constexpr sg::PhiloxState start{17, 5};

double uniform_at(std::int64_t i, sg::PhiloxState state = start) {
  return sg::philox_uniform(sg::philox_word(state, i));
}
double normal_at(std::int64_t i) {
  const double two_pi = 2 * std::acos(-1.0), unit = std::pow(2.0, -32);
  const double radius = std::sqrt(-2 * std::log((sg::philox_word(start, i - i % 2) + 1.0) * unit));
  const double angle = two_pi * sg::philox_word(start, i - i % 2 + 1) * unit;
  return radius * (i % 2 == 0 ? std::cos(angle) : std::sin(angle));
}
std::uint64_t bits_at(std::int64_t i) {
  return sg::philox_word(start, 2 * i) | std::uint64_t{sg::philox_word(start, 2 * i + 1)} << 32;
}

/// y_i = f(i), of the operand's shape.
reference::Function elements(const std::function<double(std::int64_t)>& f) {
  return [f](const Arrays& in) {
    Array y(in[0].shape);
    for (std::int64_t i = 0; i < y.numel(); ++i) y[i] = f(i);
    return Arrays{y};
  };
}

/// Draws like the operand, from a generator in the state `start`.
sg::TensorFunction drawn(sg::Tensor (*draw)(const sg::Tensor& like, sg::Generator& generator)) {
  return [draw](const Tensors& in) {
    sg::Generator generator;
    generator.set_state(start);
    return Tensors{draw(in[0], generator)};
  };
}

std::vector<Operands> vectors() {
  std::vector<Operands> calls;
  for (const std::int64_t n : {0, 1, 2, 5, 1023, 30011}) calls.push_back({values({n})});
  return calls;
}

std::vector<OpCase> creation_cases() {
  std::vector<OpCase> rows;
  rows.push_back(
      {.name = "arange",
       .op =
           [](const Tensors& in) {
             const double count = static_cast<double>(in[0].numel());
             return Tensors{sg::arange(3, 3 - count / 2, -0.5, in[0].options())};
           },
       .reference = elements([](std::int64_t i) { return 3 - 0.5 * static_cast<double>(i); }),
       .inputs = vectors(),
       .differentiable = false});
  const auto constant = [&](const char* name, sg::Tensor (*f)(const sg::Tensor& like),
                            double value) {
    rows.push_back({.name = name,
                    .op = [f](const Tensors& in) { return Tensors{f(in[0])}; },
                    .reference = elements([value](std::int64_t) { return value; }),
                    .inputs = unary_inputs(),
                    .dtypes = {sg::f64, sg::f32, sg::bf16, sg::i32, sg::i64},
                    .differentiable = false});
  };
  constant(
      "full", [](const sg::Tensor& like) { return sg::full(like.shape(), -3, like.options()); },
      -3);
  constant(
      "zeros", [](const sg::Tensor& like) { return sg::zeros(like.shape(), like.options()); }, 0);
  constant(
      "ones", [](const sg::Tensor& like) { return sg::ones(like.shape(), like.options()); }, 1);
  constant("zeros_like", sg::zeros_like, 0);
  constant("ones_like", sg::ones_like, 1);
  std::vector<Operands> squares;
  for (const std::int64_t n : {0, 1, 2, 5, 150}) squares.push_back({values({n, n})});
  rows.push_back(
      {.name = "eye",
       .op = [](const Tensors& in) { return Tensors{sg::eye(in[0].shape()[0], in[0].options())}; },
       .reference =
           [](const Arrays& in) {
             Array y(in[0].shape);
             for (std::int64_t i = 0; i < y.shape[0]; ++i) y.at({i, i}) = 1;
             return Arrays{y};
           },
       .inputs = squares,
       .dtypes = {sg::f64, sg::f32, sg::bf16, sg::i32, sg::i64},
       .differentiable = false});
  return rows;
}

std::vector<OpCase> drawn_cases() {
  std::vector<OpCase> rows;
  const auto row = [&](const char* name, sg::TensorFunction op, reference::Function expected) {
    rows.push_back({.name = name,
                    .op = std::move(op),
                    .reference = std::move(expected),
                    .inputs = unary_inputs(),
                    .differentiable = false});
  };
  row("uniform", drawn([](const sg::Tensor& like, sg::Generator& generator) {
        return sg::uniform(like.shape(), like.options(), -1, 3, &generator);
      }),
      elements([](std::int64_t i) { return 4 * uniform_at(i) - 1; }));
  row("randn", drawn([](const sg::Tensor& like, sg::Generator& generator) {
        return sg::randn(like.shape(), {like.dtype(), like.device()}, &generator);
      }),
      elements(normal_at));
  row("normal", drawn([](const sg::Tensor& like, sg::Generator& generator) {
        return sg::normal(like.shape(), 2, 0.5, like.options(), &generator);
      }),
      elements([](std::int64_t i) { return 2 + 0.5 * normal_at(i); }));
  row("randint", drawn([](const sg::Tensor& like, sg::Generator& generator) {
        return sg::randint(-2, 9, like.shape(), {like.dtype(), like.device()}, &generator);
      }),
      elements([](std::int64_t i) {
        return std::floor(11 * (sg::philox_word(start, i) * std::pow(2.0, -32))) - 2;
      }));
  rows.back().dtypes = {sg::i64, sg::i32};
  row("permutation", drawn([](const sg::Tensor& like, sg::Generator& generator) {
        return sg::permutation(like.numel(), {like.dtype(), like.device()}, &generator);
      }),
      [](const Arrays& in) {
        std::vector<std::int64_t> order(static_cast<std::size_t>(in[0].numel()));
        std::iota(order.begin(), order.end(), 0);
        std::stable_sort(order.begin(), order.end(), [](std::int64_t a, std::int64_t b) {
          return static_cast<std::int64_t>(bits_at(a)) < static_cast<std::int64_t>(bits_at(b));
        });
        Array y(in[0].shape);
        std::copy(order.begin(), order.end(), y.values.begin());
        return Arrays{y};
      });
  rows.back().inputs = vectors();
  rows.back().covers = {"random_bits"};
  rows.back().dtypes = {sg::i64, sg::i32};
  return rows;
}

/// Of each row the places of the n largest log(u) / p, with 48 random bits in u.
Arrays sampled(const Array& p, std::int64_t n) {
  const std::int64_t rows = p.shape[0], classes = p.shape[1];
  const sg::PhiloxState second{start.seed,
                               start.offset + static_cast<std::uint64_t>((p.numel() + 3) / 4)};
  Array y({rows, n});
  for (std::int64_t r = 0; r < rows; ++r) {
    std::vector<std::pair<double, std::int64_t>> keys;
    for (std::int64_t c = 0; c < classes; ++c) {
      const std::int64_t i = r * classes + c;
      const double u =
          uniform_at(i) + uniform_at(i, second) * std::pow(2.0, -24) + std::pow(2.0, -49);
      keys.emplace_back(-std::log(u) / p[i], c);
    }
    std::sort(keys.begin(), keys.end());
    for (std::int64_t k = 0; k < n; ++k) {
      y.at({r, k}) = static_cast<double>(keys[static_cast<std::size_t>(k)].second);
    }
  }
  return {y};
}

std::vector<OpCase> sampling_cases() {
  std::vector<Operands> inputs;
  for (const Shape& shape : std::vector<Shape>{{1, 1}, {1, 2}, {0, 3}, {3, 2}, {5, 7}, {400, 65}}) {
    inputs.push_back({values(shape, 0.1, 2)});
  }
  std::vector<OpCase> rows;
  for (const std::int64_t n : {1, 2}) {
    rows.push_back(
        {.name = n == 1 ? "multinomial" : "multinomial.several",
         .op =
             [n](const Tensors& in) {
               sg::Generator generator;
               generator.set_state(start);
               return Tensors{sg::multinomial(in[0], std::min(n, in[0].shape()[1]), &generator)};
             },
         .reference = [n](const Arrays& in) { return sampled(in[0], std::min(n, in[0].shape[1])); },
         .inputs = inputs,
         .result_dtype = [](sg::DType) { return sg::i64; },
         .differentiable = false});
  }
  rows.push_back({.name = "dropout",
                  .op =
                      [](const Tensors& in) {
                        sg::Generator generator;
                        generator.set_state(start);
                        return Tensors{sg::dropout(in[0], 0.3, true, &generator)};
                      },
                  .reference =
                      [](const Arrays& in) {
                        Array y = in[0];
                        for (std::int64_t i = 0; i < y.numel(); ++i) {
                          y[i] = uniform_at(i) < 0.3 ? 0 : y[i] / 0.7;
                        }
                        return Arrays{y};
                      },
                  .inputs = unary_inputs()});
  return rows;
}

}  // namespace

std::vector<OpCase> random_cases() {
  std::vector<OpCase> rows;
  for (const auto& part : {creation_cases(), drawn_cases(), sampling_cases()}) {
    rows.insert(rows.end(), part.begin(), part.end());
  }
  return rows;
}
