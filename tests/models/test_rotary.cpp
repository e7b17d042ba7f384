#include <scangrad/core/error.h>
#include <scangrad/models/rotary.h>
#include <scangrad/ops/elementwise.h>
#include <scangrad/ops/matmul.h>
#include <scangrad/ops/random.h>
#include <scangrad/ops/shape.h>
#include <scangrad/tests/support/catch.h>

#include <cmath>

using namespace scangrad;

namespace {

constexpr std::int64_t length = 9, d = 6;

/// One query and one key, the same at all times: (1, T, 2, 1, d).
Tensor constant_in_time() {
  Generator generator(3);
  const Tensor one = randn({1, 1, 2, 1, d}, {.dtype = DType::f64}, &generator);
  return expand(one, {1, length, 2, 1, d});
}

/// q_t · k_s, row-major (T, T).
std::vector<double> products(const Tensor& rotated) {
  const Tensor q = reshape(select(rotated, 2, 0), {length, d});
  const Tensor k = reshape(select(rotated, 2, 1), {length, d});
  return matmul(q, transpose(k, 0, 1)).to_vector<double>();
}

}  // namespace

TEST_CASE("rotated products depend on the distance alone",
          "[what makes rope and xpos relative positions: Su et al. 2021, Sun et al. 2022]") {
  for (const bool scaled : {false, true}) {
    CAPTURE(scaled);
    const auto scores = products(Rotary(d, scaled).forward(constant_in_time(), 0));
    for (std::size_t t = 1; t < length; ++t) {
      for (std::size_t s = 1; s <= t; ++s) {
        CHECK(scores[t * length + s] == Approx(scores[(t - 1) * length + s - 1]).margin(1e-12));
      }
    }
    CHECK(std::abs(scores[length] - scores[0]) > 1e-3);  // and they do depend on it
  }
}

TEST_CASE("xpos scales by ((2i + 0.4 d)/(1.4 d))^(distance/512)",
          "[the published exponent and base, on a pair whose angle hardly turns]") {
  // The last of 500 pairs turns by 1e-4 a step: products with itself show the scale.
  const std::int64_t wide = 1000;
  Tensor x = zeros({1, 513, 2, 1, wide}, {.dtype = DType::f64});
  Tensor last = slice(x, -1, wide - 2);
  copy_(last, ones({1}, {.dtype = DType::f64}));
  const Tensor y = slice(Rotary(wide, true).forward(x, 0), -1, wide - 2);
  const Tensor plain = slice(Rotary(wide, false).forward(x, 0), -1, wide - 2);
  const double zeta = (998 + 400) / 1400.0;
  const auto at = [](const Tensor& t, std::int64_t time, std::int64_t which) {
    return select(select(t, 1, time), 1, which).to_vector<double>()[0];
  };
  CHECK(at(y, 512, 0) == Approx(at(plain, 512, 0) * zeta));
  CHECK(at(y, 512, 1) == Approx(at(plain, 512, 1) / zeta));
  CHECK(at(y, 256, 0) == Approx(at(plain, 256, 0) * std::sqrt(zeta)));
}

TEST_CASE("the first pair turns by one radian a step, neighbours together",
          "[pairs are interleaved, (x_0, x_1), not halves]") {
  Tensor x = zeros({1, 3, 2, 1, 4}, {.dtype = DType::f64});
  Tensor first = slice(x, -1, 0, 1);
  copy_(first, ones({1}, {.dtype = DType::f64}));
  const auto y = Rotary(4, false).forward(x, 0).to_vector<double>();
  for (std::size_t t = 0; t < 3; ++t) {
    CHECK(y[t * 8] == Approx(std::cos(static_cast<double>(t))));
    CHECK(y[t * 8 + 1] == Approx(std::sin(static_cast<double>(t))));
    CHECK(y[t * 8 + 2] == 0);
  }
}

TEST_CASE("a later start gives the later part of the whole",
          "[sampling rotates one token at a time, far beyond the first table too]") {
  for (const bool scaled : {false, true}) {
    const Tensor x = constant_in_time();
    const Tensor whole = Rotary(d, scaled).forward(x, 0);
    Rotary steps(d, scaled);
    for (std::int64_t t = 0; t < length; ++t) {
      CHECK(steps.forward(slice(x, 1, t, t + 1), t).to_vector<double>() ==
            slice(whole, 1, t, t + 1).to_vector<double>());
    }
  }
}

TEST_CASE("an odd head size is refused", "[it has no pairs]") {
  CHECK_THROWS_WITH(Rotary(5, false), ContainsSubstring("heads of size 5"));
}
