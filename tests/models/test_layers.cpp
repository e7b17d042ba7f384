#include <scangrad/core/error.h>
#include <scangrad/core/random.h>
#include <scangrad/models/dropout.h>
#include <scangrad/models/linear.h>
#include <scangrad/models/mlp.h>
#include <scangrad/models/norm.h>
#include <scangrad/ops/elementwise.h>
#include <scangrad/ops/matmul.h>
#include <scangrad/ops/random.h>
#include <scangrad/ops/shape.h>
#include <scangrad/tests/support/catch.h>

#include <cmath>

using namespace scangrad;

TEST_CASE("Linear multiplies by its transposed weight",
          "[the layout of checkpoints is (out, in)]") {
  Generator generator(1);
  const Linear layer(3, 2, 0.5, generator);
  CHECK(layer.weight.shape() == Shape{2, 3});
  const Tensor x = randn({4, 3}, {}, &generator);
  CHECK(layer.forward(x).to_vector<float>() ==
        matmul(x, transpose(layer.weight, 0, 1)).to_vector<float>());
}

TEST_CASE("norms start as plain normalisation", "[weight one, no bias; eps as published]") {
  const Tensor x = from<float>({1, 2, 3, 6});  // mean 3, mean square 12.5, variance 3.5
  const auto centred = LayerNorm(4).forward(x).to_vector<double>();
  const auto scaled = RMSNorm(4).forward(x).to_vector<double>();
  for (std::size_t i = 0; i < 4; ++i) {
    const double value = x.to_vector<double>()[i];
    CHECK(centred[i] == Approx((value - 3) / std::sqrt(3.5 + 1e-5)));
    CHECK(scaled[i] == Approx(value / std::sqrt(12.5 + 1e-6)));
  }
}

TEST_CASE("dropout is the identity in evaluation and keeps the mean in training",
          "[evaluation must be deterministic and see the same scale]") {
  Dropout half(0.5);
  const Tensor x = ones({10000});
  manual_seed(1);
  double total = 0;
  for (const double value : half.forward(x).to_vector<double>()) {
    CHECK((value == 0 || value == 2));
    total += value;
  }
  CHECK(total / 10000 == Approx(1).margin(0.05));
  half.eval();
  CHECK(half.forward(x).to_vector<float>() == x.to_vector<float>());
  CHECK(half.probability() == 0);
  CHECK_THROWS_WITH(Dropout(1), ContainsSubstring("probability 1 is not in [0, 1)"));
}

TEST_CASE("an MLP is gelu between two products, four times as wide inside",
          "[the definition, from its own parameters]") {
  Generator generator(1);
  Mlp mlp({.width = 3, .out_std = 0.5}, generator);
  const NamedTensors p = mlp.named_parameters();
  REQUIRE(p.size() == 2);
  CHECK(p[0].name == "c_fc.weight");
  CHECK(p[0].tensor.shape() == Shape{12, 3});
  CHECK(p[1].name == "c_proj.weight");
  CHECK(p[1].tensor.shape() == Shape{3, 12});
  const Tensor x = randn({2, 5, 3}, {}, &generator);
  CHECK(mlp.forward(x).to_vector<float>() ==
        linear(gelu(linear(x, p[0].tensor)), p[1].tensor).to_vector<float>());
}
