// Drawing the next token: what the options keep out must never be drawn, what they keep must be
// drawn as often as the model says, and a seed must give the same text again.
#include <scangrad/core/error.h>
#include <scangrad/models/sampling.h>
#include <scangrad/tests/support/catch.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

namespace sg = scangrad;

namespace {

/// How often each of four tokens is drawn in n draws.
std::vector<int> counts(const sg::SamplingOptions& options, int n) {
  const sg::Tensor logits =
      sg::from<double>({std::log(0.4), std::log(0.1), std::log(0.3), std::log(0.2)});
  sg::Generator generator(7);
  std::vector<int> drawn(4, 0);
  for (int i = 0; i < n; ++i) {
    ++drawn[static_cast<std::size_t>(sg::sample_token(logits, options, generator))];
  }
  return drawn;
}

}  // namespace

TEST_CASE("tokens are drawn with the model's probabilities") {
  const auto drawn = counts({}, 10000);
  const double expected[] = {0.4, 0.1, 0.3, 0.2};
  for (std::size_t i = 0; i < 4; ++i) {
    // Five standard deviations of a binomial count.
    const double deviation = std::sqrt(10000 * expected[i] * (1 - expected[i]));
    CHECK(std::abs(drawn[i] - 10000 * expected[i]) < 5 * deviation);
  }
}

TEST_CASE("temperature 0 takes the likeliest token, a low one nearly always") {
  CHECK(counts({.temperature = 0}, 100) == std::vector<int>{100, 0, 0, 0});
  CHECK(counts({.temperature = 0.1}, 1000)[0] > 900);
}

TEST_CASE("top-k and top-p keep the tail out") {
  const auto two = counts({.top_k = 2}, 2000);
  CHECK(two[1] + two[3] == 0);
  CHECK(two[2] > 0);
  const auto nucleus = counts({.top_p = 0.65}, 2000);  // 0.4 + 0.3 reach it
  CHECK(nucleus[1] + nucleus[3] == 0);
  CHECK(nucleus[2] > 0);
  CHECK(counts({.top_p = 1e-9}, 50)[0] == 50);  // never empty
  CHECK(counts({.top_k = 99}, 2000)[1] > 0);    // more than there are: all
}

TEST_CASE("a generator's state draws the same token again") {
  const sg::Tensor logits = sg::zeros({100});
  sg::Generator a(3), b(3);
  for (int i = 0; i < 20; ++i) {
    CHECK(sg::sample_token(logits, {}, a) == sg::sample_token(logits, {}, b));
  }
}

TEST_CASE("options out of range and diverged logits are refused") {
  sg::Generator generator;
  const sg::Tensor logits = sg::zeros({4});
  CHECK_THROWS_AS(sg::sample_token(logits, {.temperature = -1}, generator), sg::ValueError);
  CHECK_THROWS_AS(sg::sample_token(logits, {.top_k = -1}, generator), sg::ValueError);
  CHECK_THROWS_AS(sg::sample_token(logits, {.top_p = 0}, generator), sg::ValueError);
  CHECK_THROWS_AS(sg::sample_token(sg::zeros({2, 2}), {}, generator), sg::ShapeError);
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const double infinity = std::numeric_limits<double>::infinity();
  for (const double temperature : {0.0, 1.0}) {
    const sg::SamplingOptions at = {.temperature = temperature};
    for (const double bad : {nan, infinity}) {
      CHECK_THROWS_AS(sg::sample_token(sg::from<double>({1, bad, 2}), at, generator),
                      sg::ValueError);
      CHECK_THROWS_WITH(
          sg::sample_token(sg::from<double>({1, bad, -infinity}), at, generator),
          ContainsSubstring("the model has diverged, or its state has grown too large"));
    }
    CHECK_THROWS_WITH(sg::sample_token(sg::full({4}, -infinity), at, generator),
                      ContainsSubstring("no token can be drawn"));
  }
}

TEST_CASE("a token with logit -inf is forbidden, and the others are drawn") {
  sg::Generator generator;
  const double never = -std::numeric_limits<double>::infinity();
  const sg::Tensor logits = sg::from<double>({never, 1, never, 1});
  std::vector<int> drawn(4, 0);
  for (int i = 0; i < 200; ++i) {
    ++drawn[static_cast<std::size_t>(sg::sample_token(logits, {}, generator))];
  }
  CHECK(drawn[0] + drawn[2] == 0);
  CHECK(std::min(drawn[1], drawn[3]) > 50);
  CHECK(sg::sample_token(sg::from<double>({never, never, 5}), {}, generator) == 2);
}
