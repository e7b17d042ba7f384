// matmul_scan_scaled: products of thousands of matrices, which a plain product cannot hold.
#include <scangrad/tests/ops/scan_support.h>

#include <scangrad/autograd/engine.h>
#include <scangrad/autograd/gradcheck.h>
#include <scangrad/core/error.h>
#include <scangrad/ops/creation.h>
#include <scangrad/ops/join.h>
#include <scangrad/ops/reduce.h>
#include <scangrad/tests/support/catch.h>

using namespace scangrad;
using namespace scan_test;

namespace {

/// √n S/‖S‖: what a model reads, free of the exponent.
Tensor normalised(const Tensor& states) {
  const double n = static_cast<double>(states.size(-1));
  return states * rsqrt(mean(square(states), {-2, -1}, true) * n);
}
Tensor weighed(const ScaledScanResult& r) {
  const Tensor states = normalised(r.states), last = normalised(r.last);
  return sum(states * random(states.shape(), 51, 1, states.dtype())) +
         sum(last * random(last.shape(), 52, 1, last.dtype()));
}
/// The largest ‖a − b‖/‖b‖ of a matrix; infinite where there is a NaN.
double normwise(const Tensor& a, const Tensor& b) {
  const Tensor exact = cast(b, f64), difference = cast(a, f64) - exact;
  const Tensor error = sqrt(sum(square(difference), {-2, -1}) / sum(square(exact), {-2, -1}));
  const double most = max(error).item<double>();
  return std::isnan(most) ? INFINITY : most;
}
/// I plus noise: products grow, or, scaled, vanish exponentially.
Tensor noisy(const Shape& shape, unsigned seed, double noise, double scale = 1) {
  return (eye(shape.back(), {f64}) + random(shape, seed, noise)) * scale;
}

}  // namespace

TEST_CASE("65,536 products neither overflow nor underflow, and are right to single precision") {
  // In float32 the plain products of these are infinite, or 0, within some 1,000 steps.
  for (const double scale : {1.2, 0.7}) {
    for (const auto& [steps, tolerance] : {std::pair{4096, 1e-4}, std::pair{65536, 5e-3}}) {
      const Tensor m = cast(noisy({2, steps, 8, 8}, 1, 0.1, scale), f32);
      CHECK_FALSE(all(isfinite(log(sum(square(matmul_scan(m, {.dim = 1}).last))))).item<bool>());
      const ScaledScanResult single = matmul_scan_scaled(m, {.dim = 1});
      const ScaledScanResult exact = matmul_scan_scaled(cast(m, f64), {.dim = 1});
      INFO("T " << steps << " scale " << scale);
      CHECK(normwise(normalised(single.states), normalised(exact.states)) < tolerance);
      CHECK(std::abs(max(exact.exponents).item<double>() - min(exact.exponents).item<double>()) >
            steps / 20);
      // The exponents too: 2^e S agrees.
      const Tensor off = cast(single.exponents - exact.exponents, f64);
      const Tensor ratio =
          pow(full({}, 2, {f64}), off) * sqrt(sum(square(cast(single.states, f64)), {-2, -1}) /
                                              sum(square(exact.states), {-2, -1}));
      CHECK(max(abs(ratio - 1.0)).item<double>() < tolerance);
    }
  }
}

TEST_CASE("gradients through 65,536 steps are finite, and right to single precision") {
  for (const auto& [steps, tolerance] : {std::pair{4096, 1e-4}, std::pair{65536, 5e-3}}) {
    Tensor single = cast(noisy({1, steps, 4, 4}, 1, 0.1, 1.2), f32), exact = cast(single, f64);
    single.requires_grad_();
    exact.requires_grad_();
    const Tensor a = grad(weighed(matmul_scan_scaled(single, {.dim = 1})), single);
    const Tensor b = grad(weighed(matmul_scan_scaled(exact, {.dim = 1})), exact);
    INFO("T " << steps);
    CHECK(std::sqrt((sum(square(cast(a, f64) - b)) / sum(square(b))).item<double>()) < tolerance);
  }
}

TEST_CASE("where plain products fit, the scaled ones are the same, gradients included") {
  // For every algorithm and option, about the chunks' boundaries.
  for (const std::int64_t steps : {1, 2, 63, 64, 65, 130}) {
    Tensor m = noisy({2, steps, 3, 3}, 1, 0.3, 0.9), initial = noisy({2, 3, 3}, 2, 0.3, 5);
    m.requires_grad_();
    initial.requires_grad_();
    const Tensor resets = eq(cast(random({2, steps}, 3, 0.6), i32), 1.0);  // one in 20
    const Tensor two = full({}, 2, {f64});
    for (int setting = 0; setting < 16; ++setting) {
      ScanOptions options{.dim = 1, .reverse = (setting & 1) != 0, .exclusive = (setting & 2) != 0};
      const bool starts = (setting & 4) != 0;
      if (starts) options.initial = initial;
      if (setting & 8) options.resets = resets;
      const Tensor three = starts ? full({2}, 3, {i32}) : Tensor{};
      const auto plain = [&] {
        ScanOptions scaled = options;
        if (starts) scaled.initial = initial * 8.0;  // 2³
        return matmul_scan(m, scaled);
      };
      const auto loss = [&](const ScanResult& r) { return weighed({r.states, {}, r.last, {}}); };
      const ScanResult expected = plain();
      const Tensors by = starts ? Tensors{m, initial} : Tensors{m};
      const Tensors expected_gradients = grad({loss(plain())}, by);
      for (const ScanAlgorithm algorithm : algorithms) {
        options.algorithm = algorithm;
        const auto run = [&] { return matmul_scan_scaled(m, options, three); };
        const ScaledScanResult got = run();
        const auto value = [&](const Tensor& mantissas, const Tensor& exponents) {
          return mantissas * unsqueeze(unsqueeze(pow(two, cast(exponents, f64)), -1), -1);
        };
        INFO(name(algorithm) << " T " << steps << " setting " << setting);
        CHECK(distance(value(got.states, got.exponents), expected.states) < 1e-12);
        CHECK(distance(value(got.last, got.last_exponent), expected.last) < 1e-12);
        for (const bool create_graph : {false, true}) {
          const Tensors gradients = grad({weighed(run())}, by, {.create_graph = create_graph});
          for (std::size_t i = 0; i < by.size(); ++i) {
            CHECK(distance(gradients[i], expected_gradients[i]) < 1e-11);
          }
        }
      }
    }
  }
}

TEST_CASE("mantissas stay in [1, 2), and a product of nothing but I stays I") {
  const ScaledScanResult r = matmul_scan_scaled(noisy({3, 500, 4, 4}, 1, 0.5, 3), {.dim = 1});
  const Tensor largest = amax(abs(r.states), {-2, -1});
  CHECK(min(largest).item<double>() >= 1);
  CHECK(max(largest).item<double>() < 2);
  const Tensor one = expand(eye(2, {f64}), {5, 2, 2});
  const ScaledScanResult still = matmul_scan_scaled(one);
  CHECK(same_bits(still.states, one));
  CHECK(max(abs(still.exponents)).item<double>() == 0);
}

TEST_CASE("a scaled stream goes on from mantissa and exponent") {
  Tensor m = noisy({2, 3000, 4, 4}, 1, 0.2, 2);
  m.requires_grad_();
  // Carried along one by one, so that not even the last bit may differ.
  ScanOptions options{.dim = 1};
  options.algorithm = ScanAlgorithm::sequential;
  const auto whole = matmul_scan_scaled(m, options);
  const auto first = matmul_scan_scaled(slice(m, 1, 0, 1700), options);
  options.initial = first.last;
  const auto rest = matmul_scan_scaled(slice(m, 1, 1700), options, first.last_exponent);
  CHECK(max(whole.last_exponent).item<double>() > 1024);  // beyond float64
  const ScaledScanResult joined{cat({first.states, rest.states}, 1),
                                cat({first.exponents, rest.exponents}, 1), rest.last,
                                rest.last_exponent};
  CHECK(same_bits(joined.states, whole.states));
  CHECK(same_bits(joined.exponents, whole.exponents));
  CHECK(same_bits(joined.last_exponent, whole.last_exponent));
  CHECK(distance(grad(weighed(joined), m), grad(weighed(whole), m)) < 1e-12);
}

TEST_CASE("zero, NaN and infinite matrices stay what they are, and where they are") {
  Tensor m = noisy({3, 200, 2, 2}, 1, 0.2, 1.5);
  const auto with = [&](double value) {
    const Tensor sequence = slice(m, 0, 1, 2);
    const Tensor bad = zeros({1, 1, 2, 2}, {f64}) + value;
    const Tensor broken = cat({slice(sequence, 1, 0, 80), bad, slice(sequence, 1, 81)}, 1);
    return cat({slice(m, 0, 0, 1), broken, slice(m, 0, 2)}, 0);
  };
  for (const ScanAlgorithm algorithm : algorithms) {
    INFO(name(algorithm));
    ScanOptions options{.dim = 1};
    options.algorithm = algorithm;
    const auto clean = matmul_scan_scaled(m, options);
    for (const double value : {0.0, double(NAN), double(INFINITY)}) {
      const auto got = matmul_scan_scaled(with(value), options);
      for (const std::int64_t i : {0, 2}) {
        CHECK(same_bits(select(got.states, 0, i), select(clean.states, 0, i)));
        CHECK(same_bits(select(got.exponents, 0, i), select(clean.exponents, 0, i)));
      }
      const Tensor before = slice(select(got.states, 0, 1), 0, 0, 80);
      CHECK(distance(normalised(before), normalised(slice(select(clean.states, 0, 1), 0, 0, 80))) <
            1e-12);
      const Tensor after = slice(select(got.states, 0, 1), 0, 80);
      if (value == 0) {
        CHECK(max(abs(after)).item<double>() == 0);
      } else {
        CHECK_FALSE(any(isfinite(after)).item<bool>());
      }
    }
  }
  // The gradient of what leads to a zero matrix is finite.
  Tensor x = with(0.0);
  x.requires_grad_();
  const Tensor d = grad(sum(matmul_scan_scaled(x, {.dim = 1}).states), x);
  CHECK(all(isfinite(d)).item<bool>());
}

TEST_CASE("matmul_scan_scaled says what is wrong with its arguments") {
  const Tensor m = zeros({2, 5, 3, 3}), start = zeros({2, 3, 3});
  CHECK_THROWS_WITH(matmul_scan_scaled(m, {.dim = 1}, zeros({2}, {i32})),
                    "matmul_scan_scaled: initial_exponent is given without options.initial");
  CHECK_THROWS_WITH(matmul_scan_scaled(m, {.dim = 1, .initial = start}, zeros({3}, {i32})),
                    "matmul_scan_scaled: initial_exponent has shape [3], not [2]");
  CHECK_THROWS_AS(matmul_scan_scaled(m, {.dim = 1, .initial = start}, zeros({2})), DTypeError);
  CHECK_THROWS_WITH(matmul_scan_scaled(zeros({2, 5, 3, 4}), {.dim = 1}),
                    ContainsSubstring("matmul_scan_scaled: the matrices"));
  const auto none =
      matmul_scan_scaled(zeros({2, 0, 3, 3}), {.dim = 1, .initial = start}, full({2}, 7, {i32}));
  CHECK(none.exponents.shape() == Shape{2, 0});
  CHECK(none.last_exponent.to_vector<std::int32_t>() == std::vector<std::int32_t>{7, 7});
}
