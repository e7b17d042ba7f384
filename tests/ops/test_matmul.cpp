#include <scangrad/autograd/engine.h>
#include <scangrad/core/random.h>
#include <scangrad/ops/elementwise.h>
#include <scangrad/ops/linalg.h>
#include <scangrad/ops/matmul.h>
#include <scangrad/ops/random.h>
#include <scangrad/ops/reduce.h>
#include <scangrad/ops/shape.h>
#include <scangrad/tests/support/catch.h>

#include <algorithm>
#include <cmath>

using namespace scangrad;
using Values = std::vector<double>;

namespace {

/// The same normal numbers for every call with one seed.
Tensor random(const Shape& shape, DType dtype, std::uint64_t seed) {
  Generator generator(seed);
  return cast(randn(shape, {.dtype = f64}, &generator), dtype);
}

/// One way to hold an (m, k) matrix in memory.
struct Layout {
  const char* name;
  Tensor (*make)(std::int64_t m, std::int64_t k, DType dtype, std::uint64_t seed);
};

const Layout layouts[] = {
    {"dense",
     [](auto m, auto k, auto dtype, auto seed) {
       return random({m, k}, dtype, seed);
     }},
    {"transposed",
     [](auto m, auto k, auto dtype, auto seed) {
       return transpose(random({k, m}, dtype, seed), 0, 1);
     }},
    {"columns of a wider matrix",
     [](auto m, auto k, auto dtype, auto seed) {
       return slice(random({m, k + 3}, dtype, seed), 1, 2, k + 2);
     }},
    {"every second column",
     [](auto m, auto k, auto dtype, auto seed) {
       return slice(random({m, 2 * k}, dtype, seed), 1, 0, {}, 2);
     }},
    {"every second row, transposed",
     [](auto m, auto k, auto dtype, auto seed) {
       return transpose(slice(random({k, 2 * m}, dtype, seed), 1, 1, {}, 2), 0, 1);
     }},
    {"one row for all",
     [](auto m, auto k, auto dtype, auto seed) {
       return expand(random({1, k}, dtype, seed), {m, k});
     }},
    {"one column for all",
     [](auto m, auto k, auto dtype, auto seed) {
       return expand(random({m, 1}, dtype, seed), {m, k});
     }},
    {"one value for all",
     [](auto m, auto k, auto dtype, auto seed) {
       return expand(random({1, 1}, dtype, seed), {m, k});
     }},
};

/// Without printing them all where they differ.
bool identical(const Tensor& x, const Tensor& y) {
  return x.dtype() == y.dtype() && x.to_vector<double>() == y.to_vector<double>();
}

/// The largest |computed − exact| / (Σ |a_il b_lj|), with the exact product in float64.
double worst_error(const Tensor& computed, const Tensor& a, const Tensor& b) {
  const std::int64_t m = a.size(0), k = a.size(1), n = b.size(1);
  const Values y = computed.to_vector<double>(), x = a.to_vector<double>(),
               w = b.to_vector<double>();
  const auto at = [](const Values& v, std::int64_t i) { return v[static_cast<std::size_t>(i)]; };
  double worst = 0;
  for (std::int64_t i = 0; i < m; ++i) {
    for (std::int64_t j = 0; j < n; ++j) {
      double exact = 0, size = 1e-300;
      for (std::int64_t l = 0; l < k; ++l) {
        const double term = at(x, i * k + l) * at(w, l * n + j);
        exact += term;
        size += std::fabs(term);
      }
      worst = std::max(worst, std::fabs(at(y, i * n + j) - exact) / size);
    }
  }
  return worst;
}

}  // namespace

TEST_CASE("matmul is right in every layout of its operands, at sizes that fit no block",
          "[an operand that BLAS cannot read is packed first]") {
  const std::vector<Shape> sizes = {{1, 1, 1},   {1, 37, 5},    {33, 1, 7},
                                    {67, 65, 1}, {31, 129, 63}, {130, 17, 258}};  // m, k, n
  const std::vector<std::pair<DType, double>> dtypes = {
      {f64, 1e-14}, {f32, 1e-5}, {bf16, 5e-3}};  // k eps
  for (const auto& [dtype, bound] : dtypes) {
    for (const Shape& size : sizes) {
      for (const Layout& left : layouts) {
        for (const Layout& right : layouts) {
          const Tensor a = left.make(size[0], size[1], dtype, 1);
          const Tensor b = right.make(size[1], size[2], dtype, 2);
          INFO(name(dtype) << ", lhs " << left.name << ", rhs " << right.name << ", m k n "
                           << to_string(size));
          CHECK(worst_error(matmul(a, b), a, b) < bound);
          const Tensor batch_of_a = expand(a, {3, size[0], size[1]});
          CHECK(worst_error(select(matmul(batch_of_a, expand(b, {3, size[1], size[2]})), 0, 2), a,
                            b) < bound);
        }
      }
    }
  }
}

TEST_CASE("matmul of an expanded or strided operand is that of its dense copy, bit for bit",
          "[both go through BLAS; loops of our own would round otherwise]") {
  for (DType dtype : {f32, f64}) {
    const Tensor b = random({211, 97}, dtype, 3);
    for (const Layout& layout : layouts) {
      INFO(name(dtype) << ", " << layout.name);
      if (std::string(layout.name) == "transposed") continue;  // BLAS reads it, in another order
      const Tensor a = layout.make(101, 211, dtype, 4);
      CHECK(identical(matmul(a, b), matmul(clone(a), b)));
    }
  }
}

TEST_CASE("matmul of bf16 is the f32 product rounded once",
          "[bf16 has 8 bits: rounding partial sums would lose digits]") {
  const Tensor a = random({301, 257}, bf16, 5), b = random({257, 263}, bf16, 6);
  const Tensor wide = matmul(cast(a, f32), cast(b, f32));
  CHECK(identical(matmul(a, b), cast(wide, bf16)));
  // A transposed operand stays transposed.
  const Tensor turned = transpose(random({263, 257}, bf16, 7), 0, 1);
  const Tensor wide_turned = transpose(cast(transpose(turned, 0, 1), f32), 0, 1);
  CHECK(identical(matmul(a, turned), cast(matmul(cast(a, f32), wide_turned), bf16)));
}

TEST_CASE("matmul of integers is exact, in every layout",
          "[they do not go through floating-point numbers]") {
  const std::int64_t large = (std::int64_t{1} << 53) + 1;  // no f64
  const Tensor a = expand(from<std::int64_t>({large}, {1, 1}), {70, 40});
  const Tensor unit = transpose(cast(tril(ones({40, 40}, {.dtype = i64}), 0), i64), 0, 1);
  const auto products = matmul(a, unit).to_vector<std::int64_t>();
  for (std::size_t i = 0; i < products.size(); ++i) {
    REQUIRE(products[i] == large * static_cast<std::int64_t>(i % 40 + 1));
  }
}

TEST_CASE("matmul of batches without elements keeps the other sizes",
          "[shapes (2,3,0) x (0,4) is (2,3,4) zeros: a sum of nothing]") {
  const Tensor y = matmul(zeros({2, 3, 0}), zeros({0, 4}));
  CHECK(y.shape() == Shape{2, 3, 4});
  CHECK(y.to_vector<double>() == Values(24, 0));
  CHECK(matmul(zeros({2, 0, 0}), zeros({0, 4})).shape() == Shape{2, 0, 4});
  CHECK(matmul(zeros({0, 3, 0}), zeros({0, 4})).shape() == Shape{0, 3, 4});
  Tensor a = zeros({2, 3, 0}).requires_grad_(true), b = zeros({0, 4}).requires_grad_(true);
  const Tensors grads = grad({sum(matmul(a, b))}, {a, b});
  CHECK(grads[0].shape() == a.shape());
  CHECK(grads[1].shape() == b.shape());
}
