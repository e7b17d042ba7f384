#include <scangrad/autograd/engine.h>
#include <scangrad/core/error.h>
#include <scangrad/ops/creation.h>
#include <scangrad/ops/elementwise.h>
#include <scangrad/ops/linalg.h>
#include <scangrad/ops/matmul.h>
#include <scangrad/ops/random.h>
#include <scangrad/ops/reduce.h>
#include <scangrad/ops/shape.h>
#include <scangrad/tests/support/catch.h>

#include <cmath>

using namespace scangrad;

namespace {

double largest(const Tensor& x) { return max(abs(x)).item<double>(); }

}  // namespace

TEST_CASE("matrix_exp of zero is exactly I, at any order and dtype",
          "[a fresh model's memory must stay as it is]") {
  for (const DType dtype : {DType::f32, DType::f64}) {
    for (const std::int64_t n : {1, 2, 7, 8, 16}) {
      CAPTURE(n);
      const Tensor y = matrix_exp(zeros({3, n, n}, {.dtype = dtype}));
      CHECK(largest(y - eye(n, {.dtype = dtype})) == 0);
    }
  }
}

TEST_CASE("matrix_exp holds at every norm, from none to many squarings",
          "[a rotation's exponential is known: cos and sin of the angle]") {
  for (const double angle : {1e-8, 0.1, 0.57, 0.59, 0.79, 1.0, 3.0, 40.0, 1000.0}) {
    CAPTURE(angle);
    const double c = std::cos(angle), s = std::sin(angle);
    const Tensor exact = from<double>({c, -s, s, c}, {2, 2});
    const Tensor a = from<double>({0, -angle, angle, 0}, {2, 2});
    // Relative to the angle: an angle is itself known to its rounding only.
    CHECK(largest(matrix_exp(a) - exact) < 4e-16 * (1 + angle));
    const Tensor rounded = cast(a, DType::f32);
    const double near = select(select(rounded, 0, 1), 0, 0).item<double>();
    const Tensor low =
        from<double>({std::cos(near), -std::sin(near), std::sin(near), std::cos(near)}, {2, 2});
    CHECK(largest(cast(matrix_exp(rounded), DType::f64) - low) < 2.4e-7 * (1 + angle));
  }
}

TEST_CASE("the exponential of a nilpotent matrix is its finite series, whatever its norm",
          "[the squarings must not lose what is small beside the norm]") {
  const Tensor a = from<double>({0, 1e6, 1, 0, 0, 1, 0, 0, 0}, {3, 3});
  const Tensor expected = from<double>({1, 1e6, 1 + 5e5, 0, 1, 1, 0, 0, 1}, {3, 3});
  CHECK(largest((matrix_exp(a) - expected) / maximum(expected, ones({3, 3}, {DType::f64}))) <
        1e-14);
}

TEST_CASE("matrix_exp of a matrix that is not finite is NaN, and its neighbours are right",
          "[a diverged token must show, and no other]") {
  for (const double bad : {HUGE_VAL, -HUGE_VAL, std::nan("")}) {
    const Tensor a = from<double>({0, bad, 0, 0, 0, 0, bad, 0, 0, 0, 0, 0}, {3, 2, 2});
    const Tensor y = matrix_exp(a);
    CHECK(all(isnan(slice(y, 0, 0, 2))).item<bool>());
    CHECK(largest(select(y, 0, 2) - eye(2, {DType::f64})) == 0);
  }
}

TEST_CASE("det and slogdet know signs, row exchanges and zero pivots",
          "[elimination without pivoting would divide by zero here]") {
  const Tensor a = from<double>({0, 1, 0, 0, 0, 2, 3, 0, 0}, {3, 3});  // an even permutation
  const Tensor b = from<double>({0, 1, 1, 0}, {2, 2});                 // an exchange
  CHECK(det(a).item<double>() == Approx(6));
  CHECK(slogdet(a).sign.item<double>() == 1);
  CHECK(det(b).item<double>() == Approx(-1));
  CHECK(slogdet(b).sign.item<double>() == -1);
  const Tensor singular = from<double>({1, 2, 2, 4}, {2, 2});
  CHECK(det(singular).item<double>() == 0);
  CHECK(slogdet(singular).sign.item<double>() == 0);
  CHECK(slogdet(singular).logabsdet.item<double>() == -HUGE_VAL);
  CHECK(det(zeros({0, 0}, {DType::f64})).item<double>() == 1);  // the empty product
}

TEST_CASE("slogdet neither overflows nor underflows where the determinant does",
          "[order 32 in float32]") {
  for (const double scale : {1e-20, 1e20}) {
    const Tensor a = eye(32) * scale;
    CHECK(slogdet(a).logabsdet.item<double>() == Approx(32 * std::log(scale)).epsilon(1e-6));
  }
}

TEST_CASE(
    "the gradient of slogdet at a singular matrix is 0 where it is not asked for, else refused",
    "[a scheme that bounds the determinant from below must train on]") {
  Tensor a = from<double>({1, 2, 2, 4, 2, 0, 0, 4}, {2, 2, 2}).requires_grad_(true);
  backward(sum(slogdet(a).logabsdet * from<double>({0, 1})));
  CHECK(a.grad().to_vector<double>() == std::vector<double>{0, 0, 0, 0, 0.5, 0, 0, 0.25});
  Tensor b = from<double>({1, 2, 2, 4}, {2, 2}).requires_grad_(true);
  CHECK_THROWS_WITH(backward(slogdet(b).logabsdet), ContainsSubstring("is singular"));
  CHECK_THROWS_WITH(backward(det(b)), ContainsSubstring("is singular"));
}

TEST_CASE("inverse undoes the product and names what it cannot invert", "[bad input, by name]") {
  Generator generator(1);
  const Tensor a = randn({5, 6, 6}, {DType::f64}, &generator);
  CHECK(largest(matmul(inverse(a), a) - eye(6, {DType::f64})) < 1e-12);
  const Tensor one_bad = from<double>({1, 0, 0, 1, 1, 1, 1, 1}, {2, 2, 2});
  CHECK_THROWS_WITH(inverse(one_bad), ContainsSubstring("matrix 1 of the batch is singular"));
}

TEST_CASE("square matrices of floating-point numbers are asked for", "[bad input, by name]") {
  const Tensor wide = zeros({2, 3, 4}), integers = zeros({2, 2}, {DType::i64});
  const auto refused = [&](const auto& op, const char* name) {
    CHECK_THROWS_WITH(op(wide),
                      ContainsSubstring(std::string(name) + ": a [2,3,4] must be (..., n, n)"));
    CHECK_THROWS_AS(op(zeros({3})), ShapeError);
    CHECK_THROWS_AS(op(integers), DTypeError);
  };
  refused([](const Tensor& a) { return matrix_exp(a); }, "matrix_exp");
  refused([](const Tensor& a) { return det(a); }, "det");
  refused([](const Tensor& a) { return slogdet(a).sign; }, "slogdet");
  refused([](const Tensor& a) { return inverse(a); }, "inverse");
}
