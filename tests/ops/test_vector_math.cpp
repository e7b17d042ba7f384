// The vectorised float functions (ops/vector_math.h) through the kernels that use them: close to
// the exact value over every magnitude, and libm's answer at the special values.
#include <scangrad/ops/elementwise.h>
#include <scangrad/tests/support/catch.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

namespace sg = scangrad;

namespace {

/// Every 1,021st float: all exponents, both signs, denormals, infinities and NaN.
std::vector<float> floats_of_every_magnitude() {
  std::vector<float> values;
  for (std::uint64_t bits = 0; bits < 0x1'0000'0000ull; bits += 1021) {
    values.push_back(std::bit_cast<float>(static_cast<std::uint32_t>(bits)));
  }
  return values;
}

/// Distance of y from the exact value, in units of the last place of a float there.
double ulps(float y, double exact) {
  const float rounded = static_cast<float>(exact);
  if (std::isnan(rounded)) return std::isnan(y) ? 0 : std::numeric_limits<double>::infinity();
  if (std::isinf(rounded) || std::isinf(y)) {
    return y == rounded ? 0 : std::numeric_limits<double>::infinity();
  }
  const int exponent = rounded == 0 ? -149 : std::max(std::ilogb(rounded) - 23, -149);
  return std::fabs(static_cast<double>(y) - exact) / std::ldexp(1.0, exponent);
}

double worst_ulps(sg::Tensor (*op)(const sg::Tensor&), double (*exact)(double)) {
  const std::vector<float> x = floats_of_every_magnitude();
  const std::vector<float> y = op(sg::from(x)).to_vector<float>();
  double worst = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    worst = std::max(worst, ulps(y[i], exact(static_cast<double>(x[i]))));
  }
  return worst;
}

}  // namespace

// Overflow to infinity, gradual underflow and NaN are part of it: a float kernel that flushed
// denormals or saturated would show as millions of ulps.
TEST_CASE("exp, tanh and erf of floats are within 2 ulp over the whole range") {
  CHECK(worst_ulps(sg::exp, std::exp) < 2);
  CHECK(worst_ulps(sg::tanh, std::tanh) < 2);
  CHECK(worst_ulps(sg::erf, std::erf) < 2);
}

// elu reads expm1, whose value near 0 must not cancel: e^x - 1 would lose every digit at 1e-8.
TEST_CASE("elu is as accurate near zero as elsewhere") {
  CHECK(worst_ulps([](const sg::Tensor& x) { return sg::elu(x); },
                   [](double x) { return x > 0 ? x : std::expm1(x); }) < 2);
}

// softplus reads log1p, whose argument eˣ is denormal or 0 far below, where the result is eˣ
// itself.
TEST_CASE("softplus is within 3 ulp over the whole range") {
  CHECK(worst_ulps([](const sg::Tensor& x) { return sg::softplus(x); },
                   [](double x) { return std::fmax(x, 0) + std::log1p(std::exp(-std::fabs(x))); }) <
        3);
}

// Below −88 the exponential inside overflows: the result is 0, not NaN and not noise.
TEST_CASE("sigmoid is within 3 ulp where its value is a normal number, and 0 below") {
  const std::vector<float> x = floats_of_every_magnitude();
  const std::vector<float> y = sg::sigmoid(sg::from(x)).to_vector<float>();
  double worst = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double exact = 1 / (1 + std::exp(-static_cast<double>(x[i])));
    if (exact < std::numeric_limits<float>::min()) {
      worst = std::max(worst, y[i] <= std::numeric_limits<float>::min() ? 0.0 : 1e9);
    } else {
      worst = std::max(worst, ulps(y[i], exact));
    }
  }
  CHECK(worst < 3);
}

TEST_CASE("tanh and erf keep the sign of zero") {
  CHECK(std::signbit(sg::tanh(sg::from<float>({-0.0f})).item<float>()));
  CHECK(std::signbit(sg::erf(sg::from<float>({-0.0f})).item<float>()));
}
