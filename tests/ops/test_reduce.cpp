#include <scangrad/autograd/engine.h>
#include <scangrad/core/error.h>
#include <scangrad/core/parallel.h>
#include <scangrad/ops/creation.h>
#include <scangrad/ops/elementwise.h>
#include <scangrad/ops/index.h>
#include <scangrad/ops/random.h>
#include <scangrad/ops/reduce.h>
#include <scangrad/ops/shape.h>
#include <scangrad/tests/support/catch.h>

#include <cmath>
#include <limits>

namespace sg = scangrad;
using Values = std::vector<double>;
using Indices = std::vector<std::int64_t>;

namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr double not_a_number = std::numeric_limits<double>::quiet_NaN();

sg::Tensor leaf(const Values& values, const sg::Shape& shape) {
  return sg::from<double>(values, shape).requires_grad_();
}
Values gradient(const sg::Tensor& y, const sg::Tensor& x) {
  return sg::grad(sg::sum(y), x).to_vector<double>();
}
sg::Tensor random(const sg::Shape& shape, sg::DType dtype = sg::f64) {
  sg::Generator generator(11);
  return sg::randn(shape, {.dtype = dtype}, &generator);
}
/// f over the reduced dimension of a (outer, n, inner) tensor by plain loops.
template <class F>
Values by_loops(const sg::Tensor& x, F f) {
  const Values v = x.to_vector<double>();
  const auto n = static_cast<std::size_t>(x.shape()[1]),
             inner = static_cast<std::size_t>(x.shape()[2]);
  Values out;
  for (std::size_t o = 0; o < v.size() / (n * inner); ++o) {
    for (std::size_t j = 0; j < inner; ++j) {
      double total = v[o * n * inner + j];
      for (std::size_t i = 1; i < n; ++i) total = f(total, v[(o * n + i) * inner + j]);
      out.push_back(total);
    }
  }
  return out;
}

}  // namespace

TEST_CASE("reductions over any dimension agree with plain loops, whatever path the shape takes") {
  // Rows, columns (partial tiles, few and many rows), ranges long enough to be split, one column.
  const std::vector<sg::Shape> shapes = {
      {3, 5, 7},    {1, 4096, 65}, {2, 1000, 513}, {1, 70000, 3}, {1, 200001, 1},
      {300, 17, 1}, {70, 64, 8},   {5, 1, 4},      {1, 9000, 4},  {1000, 33, 1}};
  for (const sg::Shape& shape : shapes) {
    INFO(sg::to_string(shape));
    const sg::Tensor x = random(shape);
    const Values expected = by_loops(x, [](double a, double b) { return a + b; });
    const Values totals = sg::sum(x, {1}).to_vector<double>();
    double worst = 0;
    for (std::size_t i = 0; i < expected.size(); ++i) {
      worst = std::max(worst, std::abs(totals[i] - expected[i]));
    }
    CHECK(worst < 1e-9);
    CHECK(sg::amax(x, {1}).to_vector<double>() ==
          by_loops(x, [](double a, double b) { return std::max(a, b); }));
    CHECK(sg::amin(x, {1}).to_vector<double>() ==
          by_loops(x, [](double a, double b) { return std::min(a, b); }));
    // Both permutations of the memory give the same elements to the same totals.
    const sg::Tensor turned = sg::transpose(sg::clone(sg::transpose(x, 0, 2)), 0, 2);
    CHECK(sg::amax(turned, {1}).to_vector<double>() == sg::amax(x, {1}).to_vector<double>());
  }
}

TEST_CASE("a sum does not depend on the number of threads, so runs repeat on any machine") {
  const int threads = sg::num_threads();
  for (const sg::Shape& shape : {sg::Shape{1, 300001, 1}, {1, 5000, 130}, {90, 1000, 3}}) {
    const sg::Tensor x = random(shape, sg::f32);
    std::vector<std::vector<float>> results;
    for (const int n : {1, 2, 3, 8}) {
      sg::set_num_threads(n);
      results.push_back(sg::sum(x, {1}).to_vector<float>());
    }
    for (const auto& result : results) CHECK(result == results[0]);
  }
  sg::set_num_threads(threads);
}

TEST_CASE(
    "long f32 and bf16 sums keep their precision: running totals would lose the small terms") {
  const sg::Tensor ones = sg::full({1 << 25}, 0.1);
  CHECK(sg::sum(ones).item<double>() == Approx(0.1 * (1 << 25)).epsilon(1e-5));
  CHECK(sg::sum(sg::full({1 << 18, 64}, 0.1), {0}).to_vector<double>()[63] ==
        Approx(0.1 * (1 << 18)).epsilon(1e-5));
  const sg::Tensor coarse = sg::ones({100000, 8}, {.dtype = sg::bf16});
  CHECK(sg::sum(coarse, {0}).to_vector<double>() == Values(8, 99840));  // 100000 as bf16
}

TEST_CASE(
    "amax and amin share the gradient evenly among ties, max along a dimension gives it to the "
    "first") {
  const sg::Tensor x = leaf({1, 3, 3, -2, 3, 0, 0, 0, 0, 0}, {2, 5});
  CHECK(gradient(sg::amax(x, {1}), x) ==
        Values{0, 1.0 / 3, 1.0 / 3, 0, 1.0 / 3, 0.2, 0.2, 0.2, 0.2, 0.2});
  CHECK(gradient(sg::amin(x, {1}), x) == Values{0, 0, 0, 1, 0, 0.2, 0.2, 0.2, 0.2, 0.2});
  CHECK(gradient(sg::max(x), x) == Values{0, 1.0 / 3, 1.0 / 3, 0, 1.0 / 3, 0, 0, 0, 0, 0});
  const auto [values, indices] = sg::max(x, 1);
  CHECK(values.to_vector<double>() == Values{3, 0});
  CHECK(indices.to_vector<std::int64_t>() == Indices{1, 0});
  CHECK(gradient(values, x) == Values{0, 1, 0, 0, 0, 1, 0, 0, 0, 0});
}

TEST_CASE("max along a dimension and argmax agree over rows and columns") {
  const sg::Tensor x = random({7, 40, 9});
  for (const int dim : {0, 1, 2}) {
    const auto [values, indices] = sg::max(x, dim, true);
    CHECK(values.to_vector<double>() == sg::amax(x, {dim}, true).to_vector<double>());
    CHECK(sg::gather(x, dim, indices).to_vector<double>() == values.to_vector<double>());
    const auto least = sg::min(x, dim);
    CHECK(least.values.to_vector<double>() == sg::amin(x, {dim}).to_vector<double>());
    CHECK(sg::argmin(x, dim).to_vector<std::int64_t>() == least.indices.to_vector<std::int64_t>());
  }
  CHECK(sg::argmax(sg::from<double>({2}, {}), 0).item<std::int64_t>() == 0);
  CHECK(sg::max(sg::from<double>({2}, {}), 0).values.shape() == sg::Shape{});
}

TEST_CASE("a NaN is the maximum and the minimum, wherever it stands: a diverged run must show") {
  for (const std::int64_t n : {3, 40, 1000}) {
    for (const std::int64_t at : {std::int64_t{0}, n / 2, n - 1}) {
      sg::Tensor x = random({1, n, 1});
      x.data<double>()[at] = not_a_number;
      const sg::Tensor columns = sg::expand(x, {1, n, 6});
      CHECK(std::isnan(sg::amax(x).item<double>()));
      CHECK(std::isnan(sg::amin(x).item<double>()));
      CHECK(sg::argmax(x, 1).item<std::int64_t>() == at);
      CHECK(sg::argmin(columns, 1).to_vector<std::int64_t>() == Indices(6, at));
    }
  }
}

TEST_CASE("infinities and integer limits are found too") {
  CHECK(sg::amax(sg::full({40}, -infinity, {.dtype = sg::f64})).item<double>() == -infinity);
  CHECK(sg::argmax(sg::full({40}, -infinity), 0).item<std::int64_t>() == 0);
  const auto lowest = std::numeric_limits<std::int64_t>::min();
  CHECK(sg::amax(sg::from<std::int64_t>({lowest, lowest})).to_vector<std::int64_t>()[0] == lowest);
}

TEST_CASE("empty ranges: sums and truths have a neutral result, extremes an error") {
  const sg::Tensor none = sg::zeros({2, 0});
  CHECK(sg::sum(none, {1}).to_vector<double>() == Values{0, 0});
  CHECK(sg::logsumexp(none, {1}).to_vector<double>() == Values{-infinity, -infinity});
  CHECK(sg::all(none, {1}).to_vector<bool>() == std::vector<bool>{true, true});
  CHECK(sg::any(none, {1}).to_vector<bool>() == std::vector<bool>{false, false});
  CHECK(sg::amax(none, {0}).shape() == sg::Shape{0});
  CHECK(sg::max(none, 0).indices.shape() == sg::Shape{0});
  CHECK_THROWS_WITH(sg::amax(none, {1}), ContainsSubstring("amax: a range of [2,0] is empty"));
  CHECK_THROWS_AS(sg::argmax(none, 1), sg::ValueError);
}

TEST_CASE("any and all take every dtype; NaN counts as nonzero, as in NumPy") {
  CHECK(sg::any(sg::from<float>({0, 0, 2})).item<bool>());
  CHECK_FALSE(sg::any(sg::from<std::int32_t>({0, 0})).item<bool>());
  CHECK_FALSE(sg::all(sg::from<bool>({true, false})).item<bool>());
  CHECK(sg::all(sg::from<double>({not_a_number, 1})).item<bool>());
  const sg::Tensor table = sg::from<bool>({true, false, true, true}, {2, 2});
  CHECK(sg::all(table, {0}).to_vector<bool>() == std::vector<bool>{true, false});
  CHECK(sg::any(table, {1}, true).shape() == sg::Shape{2, 1});
}

TEST_CASE("var divides by n minus the correction, and one value has none") {
  const sg::Tensor x = sg::from<double>({1, 2, 4, 9}, {2, 2});
  CHECK(sg::var(x, {1}).to_vector<double>() == Values{0.5, 12.5});
  CHECK(sg::var(x, {1}, 0).to_vector<double>() == Values{0.25, 6.25});
  CHECK(sg::var(x).item<double>() == Approx(38.0 / 3));
  CHECK(std::isnan(sg::var(sg::ones({1})).item<double>()));
}

TEST_CASE("logsumexp neither overflows nor turns infinities into NaN") {
  CHECK(sg::logsumexp(sg::from<double>({1000, 1001})).item<double>() ==
        Approx(1001 + std::log1p(std::exp(-1.0))));
  const sg::Tensor x = leaf({-infinity, -infinity, -infinity, 0, infinity, 1}, {3, 2});
  const sg::Tensor y = sg::logsumexp(x, {1});
  CHECK(y.to_vector<double>() == Values{-infinity, 0, infinity});
  const Values g = gradient(sg::slice(y, 0, 0, 2), x);
  CHECK(Values(g.begin(), g.begin() + 4) == Values{0, 0, 0, 1});
  // As PyTorch: the infinite one's own weight is ∞/∞, all others have none.
  const sg::Tensor infinite = leaf({infinity, 1, -2}, {3});
  const Values weights = gradient(sg::logsumexp(infinite), infinite);
  CHECK(std::isnan(weights[0]));
  CHECK(Values(weights.begin() + 1, weights.end()) == Values{0, 0});
}

TEST_CASE("norms of any order have finite gradients at zeros, to the second derivative") {
  for (const double p : {0.5, 1.0, 1.5, 2.0, 2.5, 3.0}) {
    INFO(p);
    const sg::Tensor x = leaf({3, 0, -4}, {3});
    const sg::Tensor slope = sg::grad(sg::norm(x, p), x, {.create_graph = true});
    CHECK(slope.to_vector<double>()[1] == 0);
    CHECK(slope.to_vector<double>()[0] ==
          Approx(std::pow(3 / sg::norm(x, p).item<double>(), p - 1)));
    for (const double second : gradient(sg::square(slope), x)) CHECK(std::isfinite(second));
  }
}

TEST_CASE("norms, with gradient 0 where everything is 0") {
  const sg::Tensor x = leaf({3, -4, 0, 0}, {2, 2});
  CHECK(sg::norm(x, 2, {1}).to_vector<double>() == Values{5, 0});
  const Values g = gradient(sg::norm(x, 2, {1}), x);
  CHECK(g[0] == Approx(0.6));
  CHECK(g[1] == Approx(-0.8));
  CHECK(Values(g.begin() + 2, g.end()) == Values{0, 0});
  CHECK(gradient(sg::norm(x, 1, {1}), x) == Values{1, -1, 0, 0});
  CHECK(sg::norm(x, 3).item<double>() == Approx(std::cbrt(91.0)));
  CHECK(gradient(sg::norm(x, 3, {1}), x)[1] == Approx(-16 / std::pow(91.0, 2.0 / 3)));
  CHECK(gradient(sg::norm(x, 3, {1}), x)[2] == 0);
  CHECK(sg::norm(x, infinity).item<double>() == 4);
  CHECK_THROWS_AS(sg::norm(x, 0), sg::ValueError);
}
