#include <scangrad/autograd/engine.h>
#include <scangrad/core/error.h>
#include <scangrad/ops/elementwise.h>
#include <scangrad/ops/matmul.h>
#include <scangrad/ops/reduce.h>
#include <scangrad/ops/shape.h>
#include <scangrad/tests/support/catch.h>

using namespace scangrad;

namespace {

Tensor ramp(const Shape& shape) {
  std::vector<double> values;
  for (std::int64_t i = 0; i < shape.numel(); ++i) values.push_back(0.5 - 0.25 * (i % 7));
  return from<double>(values, shape);
}

}  // namespace

TEST_CASE("linear is the product with the transposed weight, plus the bias",
          "[the layout of checkpoints is (out, in)]") {
  const Tensor x = ramp({2, 3, 4}), weight = ramp({5, 4}), bias = ramp({5});
  const Tensor expected = matmul(x, transpose(weight, 0, 1)) + bias;
  CHECK(linear(x, weight, bias).shape() == Shape{2, 3, 5});
  CHECK(linear(x, weight, bias).to_vector<double>() == expected.to_vector<double>());
  CHECK(linear(ramp({4}), weight).shape() == Shape{5});
  CHECK(linear(ramp({0, 4}), weight, bias).shape() == Shape{0, 5});
  CHECK(linear(ramp({2, 0}), ramp({3, 0}), ramp({3})).to_vector<double>() ==
        std::vector<double>{0.5, 0.25, 0, 0.5, 0.25, 0});
}

TEST_CASE("linear's gradients are those of its composition, strided input included",
          "[an own backward formula replaces matmul's and add's]") {
  const Tensor g = ramp({3, 2, 5});
  Tensor x = ramp({2, 3, 4}), weight = ramp({5, 4}), bias = ramp({5});
  for (Tensor* leaf : {&x, &weight, &bias}) leaf->requires_grad_(true);
  const auto view = [&] { return transpose(x, 0, 1); };  // rows that are not one dense matrix
  const Tensors fused = grad({sum(linear(view(), weight, bias) * g)}, {x, weight, bias});
  const Tensors composed =
      grad({sum((matmul(view(), transpose(weight, 0, 1)) + bias) * g)}, {x, weight, bias});
  for (std::size_t i = 0; i < 3; ++i) {
    const auto actual = fused[i].to_vector<double>(), expected = composed[i].to_vector<double>();
    REQUIRE(actual.size() == expected.size());
    for (std::size_t j = 0; j < actual.size(); ++j) CHECK(actual[j] == Approx(expected[j]));
  }
}

TEST_CASE("linear rounds f32 weights beside bf16 input, but not their gradients",
          "[mixed precision: an update of the weights may be smaller than bf16's steps]") {
  const Tensor x = cast(ramp({300, 4}), bf16), g = cast(ramp({300, 5}), bf16);
  Tensor weight = cast(ramp({5, 4}) * 1.001, f32), bias = cast(ramp({5}), f32);
  for (Tensor* leaf : {&weight, &bias}) leaf->requires_grad_(true);
  const Tensor y = linear(x, weight, bias);
  CHECK(y.dtype() == bf16);
  CHECK(y.to_vector<double>() ==
        linear(x, cast(weight, bf16), cast(bias, bf16)).to_vector<double>());

  const Tensor exact = matmul(transpose(cast(g, f64), 0, 1), cast(x, f64));
  const Tensors plain = grad({sum(cast(y, f32) * cast(g, f32))}, {weight, bias});
  CHECK(plain[0].dtype() == f32);
  CHECK(plain[1].dtype() == f32);
  CHECK(sum(abs(plain[0] - cast(exact, f32))).item<double>() < 1e-4);
  CHECK(sum(abs(cast(plain[0], bf16) - plain[0])).item<double>() > 1e-2);  // bf16 has not these
}

TEST_CASE("linear adds the weight's gradient to the one that the weight has",
          "[without a tensor between: the optimizer's gradients stay where they are]") {
  for (const DType dtype : {f32, bf16}) {
    const Tensor x = cast(ramp({6, 4}), dtype);
    Tensor weight = cast(ramp({5, 4}), f32).requires_grad_(true);
    const Tensor stored = ones({5, 4});
    weight.set_grad(stored);
    for (int i = 0; i < 2; ++i) backward(linear(x, weight), ones({6, 5}, {dtype}));
    CHECK(weight.grad().impl() == stored.impl());
    const Tensor once = expand(sum(cast(x, f32), {0}, true), {5, 4});
    CHECK(stored.to_vector<double>() == (once * 2.0 + 1.0).to_vector<double>());
    // A tensor saved before the addition would be noticed.
    CHECK(stored.storage()->version() == 2);
  }
}

TEST_CASE("linear names operands that do not fit", "[a wrong layer size is the usual mistake]") {
  CHECK_THROWS_WITH(linear(ramp({2, 3}), ramp({5, 4})),
                    ContainsSubstring("linear: input [2,3]") && ContainsSubstring("weight [5,4]"));
  CHECK_THROWS_WITH(linear(ramp({2, 4}), ramp({5, 4}), ramp({4})),
                    ContainsSubstring("bias [4] does not have shape [5]"));
  CHECK_THROWS_AS(linear(ramp({2, 4}), ones({5, 4})), DTypeError);
  CHECK_THROWS_AS(linear(ones({2, 4}), ones({5, 4}, {bf16})), DTypeError);
}
