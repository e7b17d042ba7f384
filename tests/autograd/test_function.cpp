#include <scangrad/autograd/engine.h>
#include <scangrad/autograd/function.h>
#include <scangrad/autograd/grad_mode.h>
#include <scangrad/autograd/gradcheck.h>
#include <scangrad/core/backend.h>
#include <scangrad/core/error.h>
#include <scangrad/ops/elementwise.h>
#include <scangrad/ops/reduce.h>
#include <scangrad/tests/support/catch.h>

#include <cmath>

namespace sg = scangrad;
using sg::Tensor;
using sg::Tensors;

namespace {

Tensor leaf(const std::vector<double>& values) {
  return Tensor(sg::from<double>(values)).requires_grad_(true);
}

const sg::Function cube(
    "cube",
    [](sg::FunctionContext& context, const Tensors& in) {
      context.save(in[0]);
      return Tensors{in[0] * in[0] * in[0]};
    },
    [](const sg::Backward& b) { return Tensors{b.grad() * sg::square(b.saved[0]) * 3.0}; });

/// exp(rate · x), which keeps its output; computed by hand, where nothing could be recorded.
struct Growth {
  double rate;

  Tensors forward(sg::FunctionContext& context, const Tensors& in) const {
    std::vector<double> values = in[0].to_vector<double>();
    for (double& value : values) value = std::exp(rate * value);
    const Tensor y = sg::from<double>(values, in[0].shape());
    context.save(y);
    return {y};
  }
  Tensors backward(const sg::Backward& b) const { return {b.grad() * b.saved[0] * rate}; }
};

}  // namespace

TEST_CASE("Function: two lambdas make an operation, with second derivatives") {
  const Tensor x = leaf({2, -1});
  const Tensor y = cube(x);
  CHECK(y.to_vector<double>() == std::vector<double>{8, -1});
  sg::backward(sg::sum(y));
  CHECK(x.grad().to_vector<double>() == std::vector<double>{12, 3});
  const auto f = [](const Tensors& in) { return Tensors{cube(in[0])}; };
  CHECK_NOTHROW(sg::gradcheck(f, {x}));
  CHECK_NOTHROW(sg::gradgradcheck(f, {x}));
}

TEST_CASE("Function: a struct with parameters, whose saved output leads to higher derivatives") {
  const sg::Function growth("growth", Growth{2.0});
  const auto f = [&](const Tensors& in) { return growth(in); };
  CHECK_NOTHROW(sg::gradcheck(f, {leaf({0.5, -1, 0})}));
  CHECK_NOTHROW(sg::gradgradcheck(f, {leaf({0.5, -1, 0})}));
}

TEST_CASE("Function: a saved output does not leak the graph") {
  const std::size_t before = sg::memory_stats(sg::Device::cpu()).active;
  {
    const Tensor x = leaf(std::vector<double>(1000, 0.1));
    const Tensor y = sg::Function("growth", Growth{2.0})(x);
    CHECK(y.requires_grad());
  }
  CHECK(sg::memory_stats(sg::Device::cpu()).active == before);
}

TEST_CASE("Function: several inputs and outputs, some of them without gradients") {
  // Like max: values and where they were; the second input is a constant.
  const sg::Function scaled_sign(
      "scaled_sign",
      [](sg::FunctionContext& context, const Tensors& in) {
        const Tensor y = in[0] * in[1], sign = sg::sign(in[0]);
        context.save(in[1]);
        context.mark_non_differentiable(sign);
        return Tensors{y, sign};
      },
      [](const sg::Backward& b) {
        CHECK(b.needs == std::vector<bool>{true, false});
        return Tensors{b.grad() * b.saved[0], Tensor{}};
      });
  const Tensor x = leaf({2, -3}), scale = sg::from<double>({10, 20});
  const Tensors out = scaled_sign({x, scale});
  CHECK(out[0].requires_grad());
  CHECK_FALSE(out[1].requires_grad());
  CHECK(out[1].to_vector<double>() == std::vector<double>{1, -1});
  sg::backward(sg::sum(out[0]));
  CHECK(x.grad().to_vector<double>() == std::vector<double>{10, 20});
}

TEST_CASE("Function: an output without a gradient has zeros like itself for one") {
  // backward may use it in arithmetic without asking what it is.
  const sg::Function counted(
      "counted",
      [](sg::FunctionContext& context, const Tensors& in) {
        const Tensor places = sg::zeros({4}, {sg::i64}), weights = sg::ones({2, 3}, {sg::f64});
        context.mark_non_differentiable(places);
        context.mark_non_differentiable(weights);
        context.save(weights);
        return Tensors{in[0] * 2.0, places, weights};
      },
      [](const sg::Backward& b) {
        CHECK(b.grad(1).shape() == sg::Shape{4});
        CHECK(b.grad(1).dtype() == sg::i64);
        CHECK(b.grad(2).shape() == sg::Shape{2, 3});
        CHECK(b.grad(2).to_vector<double>() == std::vector<double>(6, 0));
        CHECK(b.grad(2).dtype() == sg::f64);
        CHECK_FALSE(b.saved[0].requires_grad());
        return Tensors{b.grad() * 2.0};
      });
  const Tensor x = leaf({1, 2});
  const Tensors out = counted(Tensors{x});
  CHECK_FALSE(out[2].requires_grad());
  sg::backward(sg::sum(out[0]));
  CHECK(x.grad().to_vector<double>() == std::vector<double>{2, 2});
}

TEST_CASE("Function: an input handed through is a new tensor with a gradient of its own") {
  // A straight-through estimator is written so; the input's own history must stay as it was.
  const sg::Function reversed(
      "reversed",
      [](sg::FunctionContext&, const Tensors& in) {
        return Tensors{in[0], in[0]};
      },
      [](const sg::Backward& b) { return Tensors{-(b.grad(0) + b.grad(1))}; });
  const Tensor x = leaf({1});
  const Tensor inner = x * 2.0;
  const Tensors out = reversed(Tensors{inner});
  sg::backward(out[0] + out[1] * 10.0 + inner);
  CHECK(x.grad().to_vector<double>() == std::vector<double>{2 * (1 - 11)});
}

TEST_CASE("Function: nothing is recorded under no_grad or for constants") {
  CHECK_FALSE(cube(sg::from<double>({1, 2})).requires_grad());
  const auto guard = sg::no_grad();
  CHECK_FALSE(cube(leaf({1})).requires_grad());
}

TEST_CASE("Function: an edit of what it saved is found") {
  const Tensor w = leaf({2});
  const sg::Function times(
      "times",
      [](sg::FunctionContext& context, const Tensors& in) {
        context.save(in[1]);
        return Tensors{in[0] * in[1]};
      },
      [](const sg::Backward& b) {
        return Tensors{b.grad() * b.saved[0], {}};
      });
  Tensor x = sg::from<double>({3});
  const Tensor y = times({w, x})[0];
  sg::mul_(x, 2);
  CHECK_THROWS_WITH(sg::backward(y), ContainsSubstring("times"));
}

TEST_CASE("Function: mistakes in forward and backward are named") {
  const auto identity_backward = [](const sg::Backward& b) { return Tensors{b.grad()}; };
  const Tensor x = leaf({1, 2});
  const sg::Function nothing(
      "nothing", [](sg::FunctionContext&, const Tensors&) { return Tensors{}; }, identity_backward);
  CHECK_THROWS_WITH(nothing(x), "nothing: its forward returned no output");
  const sg::Function hollow(
      "hollow", [](sg::FunctionContext&, const Tensors&) { return Tensors{Tensor{}}; },
      identity_backward);
  CHECK_THROWS_WITH(hollow(x), "hollow: its forward returned an undefined output 0");
  const sg::Function pair(
      "pair",
      [](sg::FunctionContext&, const Tensors& in) {
        return Tensors{in[0], in[0]};
      },
      identity_backward);
  CHECK_THROWS_WITH(pair(x), ContainsSubstring("2 outputs"));
  const sg::Function short_backward(
      "short", [](sg::FunctionContext&, const Tensors& in) { return Tensors{in[0] + in[1]}; },
      identity_backward);
  CHECK_THROWS_WITH(sg::backward(sg::sum(short_backward({x, leaf({3, 4})})[0])),
                    ContainsSubstring("short") && ContainsSubstring("1 gradients for 2 inputs"));
}
