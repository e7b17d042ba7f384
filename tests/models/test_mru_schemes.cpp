#include <scangrad/autograd/engine.h>
#include <scangrad/autograd/gradcheck.h>
#include <scangrad/core/backend.h>
#include <scangrad/core/error.h>
#include <scangrad/models/mru_schemes.h>
#include <scangrad/ops/creation.h>
#include <scangrad/ops/elementwise.h>
#include <scangrad/ops/linalg.h>
#include <scangrad/ops/matmul.h>
#include <scangrad/ops/random.h>
#include <scangrad/ops/reduce.h>
#include <scangrad/ops/shape.h>
#include <scangrad/tests/support/catch.h>

#include <cmath>
#include <set>

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

TEST_CASE("every scheme gives I for zero elements, at any order",
          "[W_in starts at zero: a fresh model must keep its memory unchanged]") {
  for (const std::string& scheme : mru_scheme_names()) {
    for (const std::int64_t n : {1, 2, 3, 8}) {
      CAPTURE(scheme, n);
      const std::int64_t count = mru_scheme(scheme).element_count(n);
      const Tensor m = matrices(scheme, n, zeros({1, count}, {.dtype = DType::f64}));
      CHECK(m.shape() == Shape{1, n, n});
      if (scheme == "ldu_newton_schulz") {  // divides by 1 + μ what it has multiplied by it
        check_close(m, identity_matrix(n));
      } else {
        CHECK(m.to_vector<double>() == identity_matrix(n));
      }
    }
  }
}

TEST_CASE("a scheme takes as many elements as its matrices have degrees of freedom, or all n²",
          "[the size of W_in in checkpoints]") {
  const std::set<std::string> rotations = {"cayley", "expm", "householder"};
  for (const std::string& scheme : mru_scheme_names()) {
    CAPTURE(scheme);
    for (const std::int64_t n : {1, 2, 8}) {
      const std::int64_t expected = rotations.count(scheme) ? n * (n - 1) / 2 : n * n;
      CHECK(mru_scheme(scheme).element_count(n) == expected);
    }
  }
}

TEST_CASE("determinants are 1 where a scheme promises it",
          "[products over a long text then neither die out nor grow in volume]") {
  for (const std::string scheme :
       {"scalar", "ldu", "cayley", "expm", "qr_cayley", "qr_expm", "householder"}) {
    for (const std::int64_t n : {2, 3, 4, 8}) {
      CAPTURE(scheme, n);
      const Tensor m = matrices(scheme, n, random_elements(scheme, n, 5));
      for (std::int64_t i = 0; i < 5; ++i) {
        const double det =
            determinant(select(m, 0, i).to_vector<double>(), static_cast<std::size_t>(n));
        // scalar divides by |det|, and keeps its sign.
        CHECK((scheme == "scalar" ? std::abs(det) : det) == Approx(1).epsilon(1e-10));
      }
    }
  }
}

TEST_CASE("cayley, expm and householder are orthogonal",
          "[states keep their norm for any length]") {
  for (const std::string scheme : {"cayley", "expm", "householder"}) {
    for (const std::int64_t n : {1, 2, 3, 8}) {
      CAPTURE(scheme, n);
      const Tensor m = select(matrices(scheme, n, random_elements(scheme, n, 1)), 0, 0);
      check_close(matmul(m, transpose(m, 0, 1)), identity_matrix(n));
    }
  }
}

TEST_CASE("ldu_newton_schulz keeps the determinant at 1 up to third order in the elements",
          "[its factor s is what the other schemes have by construction]") {
  const std::int64_t n = 4;
  const Tensor elements = random_elements("ldu_newton_schulz", n, 1);
  const auto error = [&](double scale) {
    const Tensor m = matrices("ldu_newton_schulz", n, elements * scale);
    return std::abs(determinant(m.to_vector<double>(), n) - 1);
  };
  CHECK(error(0.1) > 1e-7);  // it is an approximation
  CHECK(error(0.05) < error(0.1) / 6);
  CHECK(error(0.025) < error(0.05) / 6);
}

TEST_CASE("gradients of every scheme agree with finite differences, twice",
          "[each is a composition of operations; its formula's own edges are tested here]") {
  for (const std::string& scheme : mru_scheme_names()) {
    for (const std::int64_t n : {2, 3}) {
      CAPTURE(scheme, n);
      const auto function = [&](const Tensors& in) { return Tensors{matrices(scheme, n, in[0])}; };
      Tensor elements = random_elements(scheme, n, 2) * 0.5;
      elements.requires_grad_(true);
      CHECK_NOTHROW(gradcheck(function, {elements}));
      CHECK_NOTHROW(gradgradcheck(function, {elements}));
    }
  }
}

TEST_CASE("scalar leaves a singular matrix singular, and training goes on",
          "[the bound of 1e-6 on the determinant]") {
  Tensor elements = from<double>({0, 2, 2, 3}).requires_grad_(true);  // X + I = (1 2; 2 4)
  const Tensor m = matrices("scalar", 2, elements);
  check_close(m, {1e3, 2e3, 2e3, 4e3});  // over √1e-6
  backward(sum(m));
  check_close(elements.grad(), {1e3, 1e3, 1e3, 1e3});
}

TEST_CASE("householder is minus the product of its reflections, first to last",
          "[the definition, multiplied out]") {
  const std::int64_t n = 4;
  const Tensor elements = random_elements("householder", n, 1);
  const auto values = elements.to_vector<double>();
  Tensor product = eye(n, {DType::f64}) * -1.0;
  for (std::int64_t i = 0; i < n; ++i) {
    std::vector<double> v(static_cast<std::size_t>(n), 0.0);
    v[static_cast<std::size_t>(i)] = 1;
    for (std::int64_t row = i + 1; row < n; ++row) {  // element (row, i) of L, filled row by row
      v[static_cast<std::size_t>(row)] = values[static_cast<std::size_t>(row * (row - 1) / 2 + i)];
    }
    const Tensor vi = from<double>(v);
    product = matmul(product, eye(n, {DType::f64}) - outer(vi, vi) * 2.0 / dot(vi, vi));
  }
  check_close(matrices("householder", n, elements), product.to_vector<double>());
}

TEST_CASE("expm of order 2 is the rotation by the element", "[the sign of A, worked by hand]") {
  const double a = 0.4;
  check_close(matrices("expm", 2, from<double>({a})),
              {std::cos(a), -std::sin(a), std::sin(a), std::cos(a)});
}

TEST_CASE("the qr schemes are a rotation times (U + exp(d − mean d))",
          "[the definition, worked by hand]") {
  const double d1 = 0.8, u = 0.3, l = -0.5, d2 = 0.2, r = std::exp((d1 - d2) / 2);
  for (const auto& [scheme, angle] :
       {std::pair{"qr_expm", l}, std::pair{"qr_cayley", 2 * std::atan(l)}}) {
    const double c = std::cos(angle), s = std::sin(angle);
    check_close(matrices(scheme, 2, from<double>({d1, u, l, d2})),
                {c * r, c * u - s / r, s * r, s * u + c / r});
  }
}

TEST_CASE("ldu_newton_schulz is one step of the iteration on ldu",
          "[the definition, worked by hand]") {
  // Elements d = (ln 2, −ln 2), no triangles: X = diag(2, 1/2), ‖X‖² = 17/4.
  const double a = std::log(2);
  const double e1 = 1 - 4 / 4.25, e2 = 1 - 0.25 / 4.25, mu = 0.25;
  const double v = (e1 * e1 + e2 * e2) / 8 - mu * mu;
  const double s = std::exp(v / (2 * (1 + mu) * (1 + mu))) / (1 + mu);
  check_close(matrices("ldu_newton_schulz", 2, from<double>({a, 0, 0, -a})),
              {s * 2 * (1 + e1 / 2), 0, 0, s * 0.5 * (1 + e2 / 2)});
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
                                          ContainsSubstring("identity, scalar, ldu, cayley, expm"));
}
