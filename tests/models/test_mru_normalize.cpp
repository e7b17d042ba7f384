// `normalize: frobenius`: the MRU reads the direction of its states, which no length can overflow.
#include <scangrad/autograd/engine.h>
#include <scangrad/autograd/grad_mode.h>
#include <scangrad/models/mru.h>
#include <scangrad/ops/creation.h>
#include <scangrad/ops/elementwise.h>
#include <scangrad/ops/join.h>
#include <scangrad/ops/matmul.h>
#include <scangrad/ops/random.h>
#include <scangrad/ops/reduce.h>
#include <scangrad/ops/shape.h>
#include <scangrad/tests/support/catch.h>

#include <algorithm>
#include <cmath>

using namespace scangrad;

namespace {

/// Two heads of order 3 on width 18, with a W_in that makes every token's matrix something else.
struct TrainedMru {
  Generator generator{3};
  Mru mru;

  TrainedMru(const std::string& normalize, double w_in_std)
      : mru({.width = 18, .heads = 2, .scheme = "identity", .normalize = normalize}, generator) {
    const auto guard = no_grad();
    Tensor w_in = mru.named_parameters()[0].tensor;
    copy_(w_in, normal(w_in.shape(), 0, w_in_std, {}, &generator));
  }
  Tensor input(std::int64_t length) { return randn({2, length, 18}, {}, &generator); }
};

double largest_difference(const Tensor& a, const Tensor& b) {
  return max(abs(a - b)).item<double>();
}

}  // namespace

TEST_CASE("what a normalised MRU reads is √n H/‖H‖, by the definition",
          "[the scaled scan must be the plain one where that fits]") {
  TrainedMru plain("none", 0.1), normalised("frobenius", 0.1);
  const Tensor x = plain.input(5);
  const NamedTensors p = plain.mru.named_parameters();
  REQUIRE(p[0].name == "w_in.weight");
  // H by hand, per head: products of I + X.
  const Tensor elements = linear(x, p[0].tensor);  // (B, T, heads · 9)
  Tensor expected;
  for (std::int64_t t = 0; t < 5; ++t) {
    Tensors y;
    for (std::int64_t h = 0; h < 2; ++h) {
      Tensor state = eye(3);
      for (std::int64_t s = 0; s <= t; ++s) {
        const Tensor m = reshape(slice(select(elements, 1, s), 1, 9 * h, 9 * h + 9), {2, 3, 3});
        state = matmul(state, m + eye(3));
      }
      const Tensor size = sqrt(sum(square(state), {-2, -1}, true) / 3.0);
      y.push_back(flatten(matmul(state / size, select(p[1].tensor, 0, h)), 1));  // (B, 9)
    }
    const Tensor out = unsqueeze(linear(cat(y, 1), p[2].tensor), 1);
    expected = t == 0 ? out : cat({expected, out}, 1);
  }
  CHECK(largest_difference(normalised.mru.forward(x), expected) < 1e-6);
  CHECK(largest_difference(plain.mru.forward(x), expected) > 1e-4);
}

TEST_CASE("the recurrent form of a normalised MRU is the parallel one",
          "[a sample must be drawn from the model that was trained]") {
  TrainedMru model("frobenius", 0.5);
  const Tensor x = model.input(300);
  const Tensor whole = model.mru.forward(x);
  LayerState state = model.mru.initial_state(2);
  Tensors pieces;
  for (const auto& [begin, end] :
       {std::pair{0, 1}, std::pair{1, 2}, std::pair{2, 120}, std::pair{120, 300}}) {
    pieces.push_back(model.mru.step(slice(x, 1, begin, end), state));
  }
  CHECK(largest_difference(cat(pieces, 1), whole) < 1e-5);
}

TEST_CASE("a normalised MRU stays finite where the plain one overflows, gradients included",
          "[training on long sequences, or at a large rate, ended in NaN]") {
  for (const std::string normalize : {"none", "frobenius"}) {
    TrainedMru model(normalize, 0.5);
    const Tensor x = model.input(4000);
    const Tensor y = model.mru.forward(x);
    const Tensor d = grad(sum(square(y)), model.mru.named_parameters()[0].tensor);
    CAPTURE(normalize);
    const bool finite = normalize == "frobenius";
    CHECK(all(isfinite(y)).item<bool>() == finite);
    CHECK(all(isfinite(d)).item<bool>() == finite);
  }
}

TEST_CASE("an unknown normalize is refused", "[a typing error must not train the other model]") {
  Generator generator(1);
  CHECK_THROWS_WITH(Mru({.width = 16, .normalize = "l2"}, generator),
                    "Mru: there is no normalize \"l2\"; there are none, frobenius");
}

TEST_CASE("the norm of a state is that of H itself, also where f32 cannot hold it") {
  TrainedMru plain("none", 0.1), normalised("frobenius", 0.1);
  const Tensor x = plain.input(5);
  // H by hand, in f64, per head: products of I + X.
  const Tensor elements = linear(x, plain.mru.named_parameters()[0].tensor);  // (B, T, heads · 9)
  double largest = 0;
  for (std::int64_t h = 0; h < 2; ++h) {
    Tensor state = eye(3, {DType::f64});
    for (std::int64_t t = 0; t < 5; ++t) {
      const Tensor m = reshape(slice(select(elements, 1, t), 1, 9 * h, 9 * h + 9), {2, 3, 3});
      state = matmul(state, cast(m, DType::f64) + eye(3, {DType::f64}));
      largest = std::max(largest, max(sum(square(state), {-2, -1})).item<double>());
    }
  }
  CHECK(plain.mru.log10_state_norm(x).item<double>() == Approx(0.5 * std::log10(largest)));
  CHECK(normalised.mru.log10_state_norm(x).item<double>() == Approx(0.5 * std::log10(largest)));

  TrainedMru growing("none", 100);
  const Tensor longer = growing.input(300);
  CHECK_FALSE(std::isfinite(max(abs(growing.mru.forward(longer))).item<double>()));
  const double norm = growing.mru.log10_state_norm(longer).item<double>();
  CHECK(norm > 308);  // more than f64 can hold, too
  CHECK(std::isfinite(norm));
}
