#include <scangrad/autograd/engine.h>
#include <scangrad/core/error.h>
#include <scangrad/ops/elementwise.h>
#include <scangrad/ops/random.h>
#include <scangrad/ops/reduce.h>
#include <scangrad/ops/shape.h>
#include <scangrad/tests/support/catch.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <vector>

namespace sg = scangrad;
using Values = std::vector<double>;

TEST_CASE("element i takes lane i mod 4 of block offset + i/4: the rule that CUDA follows too") {
  sg::Generator generator(42);
  generator.set_state({42, 7});
  const Values values =
      sg::uniform({1001}, {.dtype = sg::f64}, 0, 1, &generator).to_vector<double>();
  for (std::size_t i = 0; i < values.size(); ++i) {
    const auto word = sg::philox_word({42, 7}, static_cast<std::int64_t>(i));
    REQUIRE(values[i] == static_cast<double>(sg::philox_uniform(word)));
  }
  CHECK(generator.state().offset == 7 + 251);  // the next operation gets fresh words
}

TEST_CASE("a restored generator repeats itself exactly: resuming a run depends on it") {
  sg::Generator generator(3);
  sg::randn({5}, {}, &generator);
  const sg::PhiloxState state = generator.state();
  const Values first = sg::randn({1000}, {}, &generator).to_vector<double>();
  generator.set_state(state);
  CHECK(sg::randn({1000}, {}, &generator).to_vector<double>() == first);
  CHECK(sg::randn({1000}, {}, &generator).to_vector<double>() != first);
}

TEST_CASE("f32 and bf16 numbers are the f64 ones rounded: a dtype changes precision, not the run") {
  for (const auto make : {+[](sg::DType dtype) {
                            sg::Generator generator(9);
                            return sg::uniform({777}, {.dtype = dtype}, -2, 3, &generator);
                          },
                          +[](sg::DType dtype) {
                            sg::Generator generator(9);
                            return sg::normal({777}, 0.5, 2, {.dtype = dtype}, &generator);
                          }}) {
    const sg::Tensor wide = make(sg::f64);
    CHECK(make(sg::f32).to_vector<float>() == wide.to_vector<float>());
    CHECK(make(sg::bf16).to_vector<float>() == sg::cast(wide, sg::bf16).to_vector<float>());
  }
}

TEST_CASE("uniform numbers fill [0, 1) evenly") {
  sg::Generator generator(1);
  constexpr int count = 160000, bins = 16;
  std::vector<int> hits(bins);
  for (const float u : sg::uniform({count}, {}, 0, 1, &generator).to_vector<float>()) {
    REQUIRE(u >= 0.0f);
    REQUIRE(u < 1.0f);
    ++hits[static_cast<std::size_t>(u * bins)];
  }
  double chi_square = 0;
  for (const int n : hits) chi_square += std::pow(n - count / bins, 2) / (count / bins);
  CHECK(chi_square < 37.7);  // the 99.9 % point for 15 degrees of freedom
  CHECK(chi_square > 3.5);   // and not suspiciously even
}

TEST_CASE("normal numbers have the moments and tails of the normal distribution") {
  sg::Generator generator(2);
  constexpr double n = 200001;  // odd: the last element's partner is left out
  double sum[5] = {}, neighbours = 0, beyond_two = 0, last = 0;
  for (const double x : sg::randn({static_cast<std::int64_t>(n)}, {.dtype = sg::f64}, &generator)
                            .to_vector<double>()) {
    for (int k = 1; k <= 4; ++k) sum[k] += std::pow(x, k) / n;
    neighbours += x * last / n;
    beyond_two += std::abs(x) > 2 ? 1 / n : 0;
    last = x;
  }
  const double sigma = 1 / std::sqrt(n);  // bounds at four standard errors
  CHECK(std::abs(sum[1]) < 4 * sigma);
  CHECK(std::abs(sum[2] - 1) < 4 * std::sqrt(2.0) * sigma);
  CHECK(std::abs(sum[3]) < 4 * std::sqrt(15.0) * sigma);
  CHECK(std::abs(sum[4] - 3) < 4 * std::sqrt(96.0) * sigma);
  CHECK(std::abs(neighbours) < 4 * sigma);
  CHECK(std::abs(beyond_two - 0.0455) < 4 * std::sqrt(0.0455 * 0.9545) * sigma);
}

TEST_CASE("randint covers its range evenly, ends included and excluded as said") {
  sg::Generator generator(4);
  std::vector<int> hits(7);
  for (const auto value :
       sg::randint(-3, 4, {70000}, {sg::i64}, &generator).to_vector<std::int64_t>()) {
    REQUIRE(value >= -3);
    REQUIRE(value < 4);
    ++hits[static_cast<std::size_t>(value + 3)];
  }
  double chi_square = 0;
  for (const int n : hits) chi_square += (n - 10000.0) * (n - 10000.0) / 10000;
  CHECK(chi_square < 22.5);  // the 99.9 % point for 6 degrees of freedom
  const std::int64_t wide = std::int64_t{1} << 32;
  CHECK_NOTHROW(sg::randint(0, wide, {3}));
  CHECK_THROWS_WITH(sg::randint(0, wide + 1, {3}), ContainsSubstring("1 to 2^32 integers"));
  CHECK_THROWS_AS(sg::randint(2, 2, {3}), sg::ValueError);
}

TEST_CASE("dropout zeroes a share p, scales the rest, and is nothing in evaluation") {
  sg::Generator generator(5);
  const sg::Tensor x = sg::full({100000}, 3);
  const sg::Tensor y = sg::dropout(x, 0.2, true, &generator);
  int dropped = 0;
  for (const float value : y.to_vector<float>()) {
    REQUIRE((value == 0.0f || value == 3.0f * 1.25f));
    dropped += value == 0.0f;
  }
  CHECK(std::abs(dropped - 20000) < 4 * std::sqrt(100000 * 0.2 * 0.8));
  CHECK(sg::dropout(x, 0.2, false).impl() == x.impl());
  CHECK(sg::dropout(x, 0).impl() == x.impl());
  const sg::Tensor none = sg::dropout(sg::full({3}, INFINITY), 1);
  CHECK(none.to_vector<float>() == std::vector<float>(3, 0.0f));  // no 0 · ∞
  CHECK_THROWS_WITH(sg::dropout(x, 1.5), ContainsSubstring("1.5 is not between 0 and 1"));
}

TEST_CASE("dropout's backward applies the forward's mask, whatever was drawn in between") {
  sg::Generator generator(6);
  for (const sg::DType dtype : {sg::f32, sg::f64, sg::bf16}) {
    sg::Tensor x = sg::ones({33, 31}, {.dtype = dtype});
    x.requires_grad_();
    const sg::Tensor y = sg::dropout(x, 0.5, true, &generator);
    sg::randn({1000}, {}, &generator);
    const sg::Tensor g = sg::grad(sg::sum(y), x, {.create_graph = true});
    CHECK(g.to_vector<double>() == y.to_vector<double>());
    // Twice differentiable: d/dw of sum(g(w)) for y's gradient w is the same mask again.
    sg::Tensor w = sg::ones({33, 31}, {.dtype = dtype});
    w.requires_grad_();
    const sg::Tensor gw = sg::grad(y, x, {.grad_outputs = {w}, .create_graph = true});
    CHECK(sg::grad(sg::sum(gw), w).to_vector<double>() == y.to_vector<double>());
  }
}

TEST_CASE("random tensors refuse what has no meaning and allow the empty") {
  CHECK(sg::randn({0, 3}).shape() == sg::Shape{0, 3});
  CHECK(sg::dropout(sg::zeros({0}), 0.5).numel() == 0);
  CHECK_THROWS_AS(sg::randn({2}, {.dtype = sg::i64}), sg::DTypeError);
  CHECK_THROWS_AS(sg::normal({2}, 0, -1), sg::ValueError);
  CHECK_THROWS_AS(sg::uniform({2}, {}, 1, 0), sg::ValueError);
}

TEST_CASE("permutation holds every index once, repeats with the seed, and spreads evenly") {
  sg::Generator generator(7);
  auto order = sg::permutation(10007, {sg::i64}, &generator).to_vector<std::int64_t>();
  sg::Generator again(7);
  CHECK(sg::permutation(10007, {sg::i64}, &again).to_vector<std::int64_t>() == order);
  std::sort(order.begin(), order.end());
  for (std::size_t i = 0; i < order.size(); ++i) REQUIRE(order[i] == static_cast<std::int64_t>(i));
  // All 6 orders of 3 come up equally often.
  std::map<std::vector<std::int64_t>, int> seen;
  for (int i = 0; i < 6000; ++i) {
    ++seen[sg::permutation(3, {sg::i64}, &generator).to_vector<std::int64_t>()];
  }
  REQUIRE(seen.size() == 6);
  double chi_square = 0;
  for (const auto& [permuted, n] : seen) chi_square += (n - 1000.0) * (n - 1000.0) / 1000;
  CHECK(chi_square < 20.5);  // the 99.9 % point for 5 degrees of freedom
  CHECK(sg::permutation(0).shape() == sg::Shape{0});
}

TEST_CASE("multinomial draws in proportion, never what has probability 0, without replacement") {
  sg::Generator generator(8);
  const sg::Tensor row = sg::from<float>({1, 0, 3, 6});  // weights need no normalising
  const sg::Tensor rows = sg::expand(row, {10000, 4});
  std::vector<double> first(4), second(4);
  const auto draws = sg::multinomial(rows, 2, &generator).to_vector<std::int64_t>();
  for (std::size_t i = 0; i < draws.size(); i += 2) {
    REQUIRE(draws[i] != draws[i + 1]);
    first[static_cast<std::size_t>(draws[i])] += 1;
    if (draws[i] == 3) second[static_cast<std::size_t>(draws[i + 1])] += 1;
  }
  CHECK(first[1] + second[1] == 0);
  const auto near = [](double hits, double n, double p) {
    return std::abs(hits - n * p) < 4 * std::sqrt(n * p * (1 - p));
  };
  CHECK(near(first[0], 10000, 0.1));
  CHECK(near(first[2], 10000, 0.3));
  CHECK(near(second[0], first[3], 0.25));  // 1 : 3 of what is left
  const auto one = sg::multinomial(rows, 1, &generator);
  CHECK(one.shape() == sg::Shape{10000, 1});
  CHECK(near(sg::sum(sg::eq(one, 3.0)).item<double>(), 10000, 0.6));
}

TEST_CASE("multinomial draws from probabilities of any size, and from the default generator too") {
  const double tiny = 1e-320;  // 1 / tiny is infinite
  auto both = sg::multinomial(sg::from<double>({tiny, tiny}), 2).to_vector<std::int64_t>();
  std::sort(both.begin(), both.end());
  CHECK(both == std::vector<std::int64_t>{0, 1});
  sg::Generator generator(9);
  const sg::Tensor rows = sg::expand(sg::from<double>({tiny, 3 * tiny, 0}), {10000, 3});
  const sg::Tensor drawn = sg::multinomial(rows, 1, &generator);
  CHECK(std::abs(sg::sum(sg::eq(drawn, 1.0)).item<double>() - 7500) < 4 * std::sqrt(7500 * 0.25));
}

TEST_CASE("indices are i64 unless another integer dtype is asked for") {
  CHECK(sg::permutation(4, {.device = sg::Device::cpu()}).dtype() == sg::i64);
  CHECK(sg::randint(0, 4, {2}, {.device = sg::Device::cpu()}).dtype() == sg::i64);
  CHECK(sg::permutation(4, {.dtype = sg::i32}).dtype() == sg::i32);
}

TEST_CASE("randint refuses integers that its dtype does not have") {
  const std::int64_t end = std::int64_t{1} << 31;
  CHECK_NOTHROW(sg::randint(-end, end, {3}, {.dtype = sg::i32}));
  CHECK_THROWS_WITH(sg::randint(0, end + 1, {3}, {.dtype = sg::i32}),
                    ContainsSubstring("values of i32"));
  CHECK_THROWS_AS(sg::randint(-end - 1, 0, {3}, {.dtype = sg::i32}), sg::ValueError);
  const auto most = std::numeric_limits<std::int64_t>::max();
  CHECK(sg::randint(most - 1, most, {}).item<std::int64_t>() == most - 1);
}

TEST_CASE("multinomial refuses what is no distribution, in one sentence") {
  const auto draw = [](std::vector<float> p, std::int64_t n) {
    return sg::multinomial(sg::from<float>(p), n);
  };
  CHECK_THROWS_WITH(draw({1, -1}, 1), ContainsSubstring("negative or not finite"));
  CHECK_THROWS_WITH(draw({1, NAN}, 1), ContainsSubstring("negative or not finite"));
  CHECK_THROWS_WITH(draw({0, 0}, 1), ContainsSubstring("fewer than 1 probabilities above 0"));
  CHECK_THROWS_WITH(draw({0, 1}, 2), ContainsSubstring("fewer than 2 probabilities above 0"));
  CHECK_THROWS_WITH(draw({1, 1}, 3), ContainsSubstring("3 draws from 2 classes"));
}
