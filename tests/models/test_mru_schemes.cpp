#include <scangrad/core/backend.h>
#include <scangrad/core/error.h>
#include <scangrad/models/mru_schemes.h>
#include <scangrad/ops/elementwise.h>
#include <scangrad/ops/matmul.h>
#include <scangrad/ops/random.h>
#include <scangrad/ops/shape.h>
#include <scangrad/tests/support/catch.h>

#include <cmath>

using namespace scangrad;

namespace {

Tensor matrices(const std::string& scheme, std::int64_t n, const Tensor& elements) {
  return mru_scheme(scheme).matrices(elements, n);
}

Tensor random_elements(const std::string& scheme, std::int64_t n, std::int64_t count) {
  Generator generator(5);
  return normal({count, mru_scheme(scheme).element_count(n)}, 0, 0.7, {.dtype = DType::f64},
                &generator);
}

/// By elimination with pivoting.
double determinant(std::vector<double> m, std::size_t n) {
  double result = 1;
  for (std::size_t c = 0; c < n; ++c) {
    std::size_t pivot = c;
    for (std::size_t r = c; r < n; ++r) {
      if (std::abs(m[r * n + c]) > std::abs(m[pivot * n + c])) pivot = r;
    }
    if (pivot != c) result = -result;
    for (std::size_t k = 0; k < n; ++k) std::swap(m[pivot * n + k], m[c * n + k]);
    result *= m[c * n + c];
    for (std::size_t r = c + 1; r < n; ++r) {
      const double factor = m[r * n + c] / m[c * n + c];
      for (std::size_t k = c; k < n; ++k) m[r * n + k] -= factor * m[c * n + k];
    }
  }
  return result;
}

std::vector<double> identity_matrix(std::int64_t n) {
  std::vector<double> one(static_cast<std::size_t>(n * n));
  for (std::int64_t i = 0; i < n; ++i) one[static_cast<std::size_t>(i * n + i)] = 1;
  return one;
}

void check_close(const Tensor& actual, const std::vector<double>& expected) {
  const auto values = actual.to_vector<double>();
  REQUIRE(values.size() == expected.size());
  for (std::size_t i = 0; i < values.size(); ++i) {
    CHECK(values[i] == Approx(expected[i]).margin(1e-12));
  }
}

}  // namespace

TEST_CASE("every scheme gives exactly I for zero elements, at any order",
          "[W_in starts at zero: a fresh model must keep its memory unchanged]") {
  for (const std::string& scheme : mru_scheme_names()) {
    for (const std::int64_t n : {1, 2, 3, 8}) {
      CAPTURE(scheme, n);
      const std::int64_t count = mru_scheme(scheme).element_count(n);
      const Tensor m = matrices(scheme, n, zeros({1, count}, {.dtype = DType::f64}));
      CHECK(m.shape() == Shape{1, n, n});
      CHECK(m.to_vector<double>() == identity_matrix(n));
    }
  }
}

TEST_CASE("ldu and cayley have determinant 1",
          "[products over a long text then neither die out nor grow in volume]") {
  for (const std::string scheme : {"ldu", "cayley"}) {
    for (const std::int64_t n : {2, 3, 4, 8}) {
      CAPTURE(scheme, n);
      const Tensor m = matrices(scheme, n, random_elements(scheme, n, 5));
      for (std::int64_t i = 0; i < 5; ++i) {
        CHECK(determinant(select(m, 0, i).to_vector<double>(), static_cast<std::size_t>(n)) ==
              Approx(1).epsilon(1e-10));
      }
    }
  }
}

TEST_CASE("cayley is orthogonal", "[states keep their norm for any length]") {
  for (const std::int64_t n : {1, 2, 3, 8}) {
    CAPTURE(n);
    const Tensor m = select(matrices("cayley", n, random_elements("cayley", n, 1)), 0, 0);
    check_close(matmul(m, transpose(m, 0, 1)), identity_matrix(n));
  }
}

TEST_CASE("identity is X + I", "[the definition, worked by hand]") {
  check_close(matrices("identity", 2, from<double>({1, 2, 3, 4})), {2, 2, 3, 5});
}

TEST_CASE("ldu is (L + D)(U + D)", "[the definition, worked by hand]") {
  const double d1 = 0.8, u = 0.3, l = -0.5, d2 = 0.2;
  const double r = std::exp((d1 - d2) / 4);  // D = diag(r, 1/r)
  check_close(matrices("ldu", 2, from<double>({d1, u, l, d2})),
              {r * r, r * u, l * r, l * u + 1 / (r * r)});
}

TEST_CASE("cayley of order 2 is the rotation by twice the element's arc tangent",
          "[the sign of A and the order of the factors, worked by hand]") {
  const double a = 0.4, angle = 2 * std::atan(a);
  check_close(matrices("cayley", 2, from<double>({a})),
              {std::cos(angle), -std::sin(angle), std::sin(angle), std::cos(angle)});
}

TEST_CASE("cayley fills the lower triangle row by row", "[the layout of W_in in checkpoints]") {
  const double h = 1e-6;  // (I − A)⁻¹(I + A) ≈ I + 2A
  const auto m = matrices("cayley", 3, from<double>({h, 2 * h, 3 * h})).to_vector<double>();
  const std::vector<double> slope = {0, -2, -4, 2, 0, -6, 4, 6, 0};
  for (std::size_t i = 0; i < 9; ++i) {
    CHECK((m[i] - (i % 4 == 0 ? 1 : 0)) / h == Approx(slope[i]).margin(1e-4));
  }
}

TEST_CASE("cayley's constant basis is made once, not in every forward", "[it has n^4/2 elements]") {
  const std::int64_t n = 32;
  const Tensor elements = zeros({mru_scheme("cayley").element_count(n)});
  matrices("cayley", n, elements);
  const Tensor ballast = empty({4'000'000});  // the peak is now what is in use
  const std::size_t before = memory_stats(Device()).peak;
  matrices("cayley", n, elements);
  CHECK(memory_stats(Device()).peak - before < 500'000);
}

TEST_CASE("an unknown scheme is refused with the names that exist", "[a typo in a preset]") {
  CHECK_THROWS_AS(mru_scheme("qr"), ValueError);
  CHECK_THROWS_WITH(mru_scheme("qr"), ContainsSubstring("no scheme is called qr") &&
                                          ContainsSubstring("identity, ldu, cayley"));
}
