#include <scangrad/autograd/engine.h>
#include <scangrad/core/error.h>
#include <scangrad/ops/elementwise.h>
#include <scangrad/ops/join.h>
#include <scangrad/ops/linalg.h>
#include <scangrad/ops/reduce.h>
#include <scangrad/ops/shape.h>
#include <scangrad/tests/support/catch.h>

#include <limits>

using namespace scangrad;
using Values = std::vector<double>;

namespace {

constexpr std::int64_t most = std::numeric_limits<std::int64_t>::max();
constexpr std::int64_t least = std::numeric_limits<std::int64_t>::min();
constexpr std::int64_t huge = std::int64_t{1} << 32;

Tensor square() { return from<double>({1, 2, 3, 4}, {2, 2}); }

}  // namespace

TEST_CASE("no shape has a negative size, wherever it is asked for") {
  CHECK_THROWS_WITH(expand(zeros({1, 3}), {-2, 3}), "expand: shape [-2,3] has a negative size");
  CHECK_THROWS_WITH(expand(zeros({3}), {-1, 3}), ContainsSubstring("[-1,3] has a negative size"));
  CHECK_THROWS_WITH(reshape(zeros({6}), {-2, -3}), ContainsSubstring("has a negative size"));
  CHECK(expand(zeros({1, 3}), {2, -1}).shape() == Shape{2, 3});
}

TEST_CASE("shapes whose elements cannot be counted are refused, also where there are none") {
  // 2^32 · 2^32 wraps to 0, which an empty tensor has.
  CHECK_THROWS_AS(reshape(zeros({0}), {huge, huge}), ShapeError);
  CHECK_THROWS_AS(reshape(zeros({0}), {huge, huge, -1}), ShapeError);
  CHECK_THROWS_AS(expand(zeros({1}), {huge, huge}), ShapeError);
  CHECK_THROWS_AS(unflatten(zeros({0, 2}), 0, {huge, huge}), ShapeError);
  CHECK_THROWS_AS(repeat(zeros({2}), {most}), ShapeError);
  CHECK_THROWS_AS(repeat(zeros({0}), {huge, huge}), ShapeError);
  CHECK_THROWS_AS(reshape(zeros({0}), {0, -1}), ShapeError);  // −1 could be anything
  CHECK(reshape(zeros({0, 3}), {5, 0}).shape() == Shape{5, 0});
  CHECK(reshape(zeros({0, 3}), {3, -1}).shape() == Shape{3, 0});
}

TEST_CASE("the largest numbers mean what smaller ones beyond the end mean") {
  const Tensor x = square().requires_grad_(true);
  CHECK(tril(x, most).to_vector<double>() == Values{1, 2, 3, 4});
  CHECK(triu(x, most).to_vector<double>() == Values(4, 0));
  CHECK(tril(x, least).to_vector<double>() == Values(4, 0));
  CHECK(triu(x, least).to_vector<double>() == Values{1, 2, 3, 4});
  CHECK(tril(x, -1).to_vector<double>() == Values{0, 0, 3, 0});
  CHECK(triu(x, 1).to_vector<double>() == Values{0, 2, 0, 0});
  CHECK(diagonal(x, most).shape() == Shape{0});
  CHECK(diagonal(x, least).shape() == Shape{0});
  CHECK(diagonal(x, -1).to_vector<double>() == Values{3});

  const Tensor first = slice(x, 0, 0, {}, most);
  CHECK(first.to_vector<double>() == Values{1, 2});
  CHECK(grad(sum(first), x).to_vector<double>() == Values{1, 1, 0, 0});
  CHECK(slice(x, 0, least, most).to_vector<double>() == Values{1, 2, 3, 4});
  CHECK(slice(x, 1, 1, most, most - 1).to_vector<double>() == Values{2, 4});

  CHECK(chunk(x, most).size() == 2);
  CHECK_THROWS_AS(split(x, std::vector<std::int64_t>{most, most, 4}), ShapeError);
  CHECK_THROWS_AS(split(x, std::vector<std::int64_t>{1}), ShapeError);
  CHECK_THROWS_AS(pad(x, {most, most}), ValueError);
  CHECK(roll(x, {most}, {0}).to_vector<double>() == Values{3, 4, 1, 2});
}

TEST_CASE("cat of several dtypes gives each operand the gradient in its own") {
  const Tensor a = from<float>({1, 2}).requires_grad_(true);
  const Tensor b = from<double>({3}).requires_grad_(true);
  const Tensor whole = from<std::int32_t>({4});
  const Tensor y = cat({a, b, whole});
  CHECK(y.dtype() == f64);
  CHECK(y.to_vector<double>() == Values{1, 2, 3, 4});
  const Tensors grads = grad({sum(y * y)}, {a, b});
  CHECK(grads[0].dtype() == f32);
  CHECK(grads[0].to_vector<double>() == Values{2, 4});
  CHECK(grads[1].to_vector<double>() == Values{6});
  CHECK(cat({whole, ones({1}, {.dtype = i64})}).dtype() == i64);
}

TEST_CASE("solve divides by pivots whose reciprocal overflows") {
  const double tiny = 1e-310;  // subnormal
  CHECK(solve(from<double>({tiny}, {1, 1}), from<double>({tiny}, {1, 1})).item<double>() == 1);
  const Tensor a = from<double>({tiny, tiny, 0, tiny, 3 * tiny, 0, 0, 0, 1}, {3, 3});
  const Tensor b = from<double>({3 * tiny, 7 * tiny, 5}, {3, 1});
  const Values x = solve(a, b).to_vector<double>();
  CHECK(x[0] == Approx(1));
  CHECK(x[1] == Approx(2));
  CHECK(x[2] == 5);
}
