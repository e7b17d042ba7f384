// gradcheck judges every operation, so it must itself find each kind of mistake.
#include <scangrad/autograd/function.h>
#include <scangrad/autograd/gradcheck.h>
#include <scangrad/core/error.h>
#include <scangrad/ops/elementwise.h>
#include <scangrad/ops/reduce.h>
#include <scangrad/ops/shape.h>
#include <scangrad/tests/support/catch.h>

#include <vector>

namespace sg = scangrad;
using sg::Tensor;
using sg::Tensors;

namespace {

Tensor leaf(const std::vector<double>& values, const sg::Shape& shape) {
  return Tensor(sg::from<double>(values, shape)).requires_grad_(true);
}
Tensor leaf(const std::vector<double>& values) {
  return leaf(values, {static_cast<std::int64_t>(values.size())});
}

/// a b with the backward given.
sg::TensorFunction product(const sg::BackwardFunction& backward) {
  return [f = sg::Function(
              "product",
              [](sg::FunctionContext& context, const Tensors& in) {
                for (const Tensor& x : in) context.save(x);
                return Tensors{in[0] * in[1]};
              },
              backward)](const Tensors& in) { return f(in); };
}

const Tensor a = leaf({1, -2, 3}), b = leaf({0.5, 4, -1});

}  // namespace

TEST_CASE("gradcheck: passes what is right, as full Jacobian and along directions") {
  const auto right = product([](const sg::Backward& c) {
    return Tensors{c.grad() * c.saved[1], c.grad() * c.saved[0]};
  });
  CHECK_NOTHROW(sg::gradcheck(right, {a, b}));
  CHECK_NOTHROW(sg::gradcheck(right, {a, b}, {.directions = 3}));
  CHECK_NOTHROW(sg::gradgradcheck(right, {a, b}));
  CHECK_NOTHROW(sg::gradgradcheck(right, {a, b}, {.directions = 3}));
  CHECK_NOTHROW(sg::gradcheck(right, {a, sg::from<double>({1, 2, 3})}));  // one constant
  CHECK_NOTHROW(sg::gradcheck(right, {leaf({}), leaf({})}));
}

TEST_CASE("gradcheck: names input, index and both values of the first wrong derivative") {
  const auto wrong = product([](const sg::Backward& c) {
    return Tensors{c.grad() * c.saved[1], c.grad() * c.saved[0] * sg::from<double>({1, 1, 2})};
  });
  CHECK_THROWS_WITH(sg::gradcheck(wrong, {a, b}),
                    ContainsSubstring("input 1 at [2]") && ContainsSubstring("output 0 at [2]") &&
                        ContainsSubstring("analytic 6") && ContainsSubstring("numeric"));
}

TEST_CASE("gradcheck: finds a mistake along random directions too") {
  const auto wrong = product([](const sg::Backward& c) {
    return Tensors{c.grad() * c.saved[1], c.grad() * c.saved[0] * 1.001};
  });
  CHECK_THROWS_AS(sg::gradcheck(wrong, {a, b}, {.directions = 1}), sg::GradError);
}

TEST_CASE("gradcheck: finds a gradient that is missing, detached or NaN") {
  const auto missing = product([](const sg::Backward& c) {
    return Tensors{c.grad() * c.saved[1], Tensor{}};
  });
  CHECK_THROWS_AS(sg::gradcheck(missing, {a, b}), sg::GradError);
  const auto detached = [](const Tensors& in) { return Tensors{sg::square(in[0]).detach()}; };
  CHECK_THROWS_AS(sg::gradcheck(detached, {a}), sg::GradError);
  const auto nan = product([](const sg::Backward& c) {
    return Tensors{c.grad() * c.saved[1], sg::sqrt(sg::full({3}, -1, {sg::f64}))};
  });
  CHECK_THROWS_AS(sg::gradcheck(nan, {a, b}), sg::GradError);
}

TEST_CASE("gradcheck: finds a gradient that depends on which others are asked for") {
  const auto moody = product([](const sg::Backward& c) {
    const bool both = c.needs[0] && c.needs[1];
    return Tensors{c.grad() * c.saved[1], both ? c.grad() * c.saved[0] : c.grad()};
  });
  CHECK_THROWS_WITH(sg::gradcheck(moody, {a, b}), ContainsSubstring("alone"));
}

TEST_CASE("gradcheck: a derivative of zero must be zero") {
  const auto f = [](const Tensors& in) { return Tensors{sg::sign(in[0]), sg::relu(in[0])}; };
  CHECK_NOTHROW(sg::gradcheck(f, {a}));
}

TEST_CASE("gradcheck: keeps strides, so that strided code is what runs") {
  const Tensor x = sg::transpose(sg::from<double>({1, 2, 3, 4, 5, 6}, {2, 3}), 0, 1).detach();
  Tensor strided = x;
  strided.requires_grad_(true);
  bool saw_strides = true;
  const auto f = [&](const Tensors& in) {
    saw_strides = saw_strides && in[0].strides() == sg::Strides{1, 3};
    return Tensors{sg::square(in[0])};
  };
  CHECK_NOTHROW(sg::gradcheck(f, {strided}));
  CHECK(saw_strides);
  CHECK(x.to_vector<double>() == std::vector<double>{1, 4, 2, 5, 3, 6});  // the caller's stay
}

TEST_CASE("gradgradcheck: finds a backward whose own derivative is wrong") {
  // Right values, but b's part is hidden from the second backward.
  const auto once = product([](const sg::Backward& c) {
    return Tensors{c.grad() * c.saved[1].detach(), c.grad() * c.saved[0]};
  });
  CHECK_NOTHROW(sg::gradcheck(once, {a, b}));
  CHECK_THROWS_AS(sg::gradgradcheck(once, {a, b}), sg::GradError);
}

TEST_CASE("gradcheck: refuses what it cannot judge") {
  const auto identity = [](const Tensors& in) { return Tensors{in[0] * 1.0}; };
  const Tensor single = Tensor(sg::from<float>({1})).requires_grad_(true);
  CHECK_THROWS_WITH(sg::gradcheck(identity, {single}),
                    ContainsSubstring("f32") && ContainsSubstring("f64"));
  CHECK_THROWS_WITH(sg::gradcheck(identity, {sg::from<double>({1})}),
                    ContainsSubstring("no input requires its gradient"));
  const auto no_output = [](const Tensors& in) { return Tensors{sg::gt(in[0], 0.0)}; };
  CHECK_THROWS_AS(sg::gradcheck(no_output, {a}), sg::ValueError);
}
