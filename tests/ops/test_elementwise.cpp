#include <scangrad/autograd/engine.h>
#include <scangrad/autograd/gradcheck.h>
#include <scangrad/core/error.h>
#include <scangrad/ops/elementwise.h>
#include <scangrad/ops/reduce.h>
#include <scangrad/ops/shape.h>
#include <scangrad/tests/support/catch.h>

#include <limits>

using namespace scangrad;
using Values = std::vector<double>;
using Truths = std::vector<bool>;

namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr double not_a_number = std::numeric_limits<double>::quiet_NaN();
constexpr std::int32_t least = std::numeric_limits<std::int32_t>::min();
constexpr std::int32_t most = std::numeric_limits<std::int32_t>::max();

Tensor counts() { return from<std::int32_t>({least, -1, 0, 2, most}); }
Values ints(const Tensor& x) {
  CHECK(x.dtype() == i32);
  return x.to_vector<double>();
}
Values floats(const Tensor& x) {
  CHECK(x.dtype() == f32);
  return x.to_vector<double>();
}

}  // namespace

TEST_CASE("integers compare with any number as numbers do",
          "[a bound may have a fraction, lie beyond the dtype, or be no number]") {
  const Tensor x = counts();
  CHECK(lt(x, 3e9).to_vector<bool>() == Truths(5, true));
  CHECK(ge(x, 3e9).to_vector<bool>() == Truths(5, false));
  CHECK(gt(x, -infinity).to_vector<bool>() == Truths(5, true));
  CHECK(le(cast(x, i64), infinity).to_vector<bool>() == Truths(5, true));
  CHECK(lt(x, not_a_number).to_vector<bool>() == Truths(5, false));
  CHECK(ne(x, not_a_number).to_vector<bool>() == Truths(5, true));
  CHECK(lt(x, 1.5).to_vector<bool>() == Truths{true, true, true, false, false});
  CHECK(le(x, 1.5).to_vector<bool>() == Truths{true, true, true, false, false});
  CHECK(gt(x, -0.5).to_vector<bool>() == Truths{false, false, true, true, true});
  CHECK(ge(x, -0.5).to_vector<bool>() == Truths{false, false, true, true, true});
  CHECK(eq(x, 2.0).to_vector<bool>() == Truths{false, false, false, true, false});
  CHECK(eq(x, 1.5).to_vector<bool>() == Truths(5, false));
  CHECK(lt(x, most + 0.5).to_vector<bool>() == Truths(5, true));
  const Tensor large = from<std::int64_t>({(1 << 24) + 1});  // no f32
  CHECK(gt(large, (1 << 24) + 0.5).item<bool>());
  CHECK(eq(from<bool>({true, false}), 1.0).to_vector<bool>() == Truths{true, false});
}

TEST_CASE("integers are clamped to bounds beyond their range, and become f32 for a fraction") {
  CHECK(ints(clamp(counts(), 0, infinity)) == Values{0, 0, 0, 2, most});
  CHECK(ints(clamp(counts(), -infinity, 3e9)) == Values{least, -1, 0, 2, most});
  CHECK(floats(clamp(from<std::int32_t>({0, 1, 5}), 0.5, 2.5)) == Values{0.5, 1, 2.5});
}

TEST_CASE("integers meet a number as integers where it is one that they can hold, else as f32") {
  const Tensor x = from<std::int32_t>({1, 2});
  CHECK(ints(x + 1.0) == Values{2, 3});
  CHECK(ints(x * 3.0) == Values{3, 6});
  CHECK(floats(x * 0.5) == Values{0.5, 1});
  CHECK(floats(add_scalar(x, 0.5)) == Values{1.5, 2.5});
  CHECK(floats(x + 3e9) == Values{3e9, 3e9});
  CHECK(floats(x + infinity) == Values{infinity, infinity});
  CHECK(floats(from<bool>({true, false}) + 1.0) == Values{2, 1});
  CHECK((from<double>({1}) + 0.1).item<double>() == 1.1);
  CHECK((ones({1}, {.dtype = bf16}) + 3e9).dtype() == bf16);
}

TEST_CASE("integers divided are f32, whatever the divisor") {
  const Tensor x = from<std::int32_t>({3, 4});
  CHECK(floats(x / 2.0) == Values{1.5, 2});
  CHECK(floats(x / 1.0) == Values{3, 4});
  CHECK(floats(x / x) == Values{1, 1});
  CHECK((from<double>({3}) / 2.0).dtype() == f64);
}

TEST_CASE("values that an integer dtype does not have are refused, or become the nearest") {
  CHECK_THROWS_WITH(full({2}, 3e9, {.dtype = i32}), "full: 3000000000 is no value of i32");
  CHECK_THROWS_AS(full({}, not_a_number, {.dtype = i64}), ValueError);
  CHECK_THROWS_AS(full({}, 0x1p63, {.dtype = i64}), ValueError);
  CHECK(full({}, -0x1p63, {.dtype = i64}).item<std::int64_t>() ==
        std::numeric_limits<std::int64_t>::min());
  CHECK(full({}, most + 0.5, {.dtype = i32}).item<int>() == most);
  CHECK_THROWS_AS(masked_fill(counts(), eq(counts(), 0.0), -infinity), ValueError);
  const Tensor wild = from<double>({not_a_number, infinity, -infinity, 3e9, -2.7});
  CHECK(ints(cast(wild, i32)) == Values{0, most, least, most, -2});
  CHECK(cast(cast(wild, f32), i64).to_vector<std::int64_t>()[1] ==
        std::numeric_limits<std::int64_t>::max());
  CHECK(from<double>({not_a_number}).item<int>() == 0);
  CHECK(from<float>({1e20F}).item<std::uint8_t>() == 255);
}

TEST_CASE("in place: integers do not silently lose fractions") {
  Tensor x = from<std::int32_t>({2, 4});
  CHECK_THROWS_WITH(mul_(x, 0.5), ContainsSubstring("mul_: an i32 tensor cannot hold f32"));
  CHECK_THROWS_AS(add_(x, x, 0.5), DTypeError);
  CHECK_THROWS_AS(add_(x, ones({2})), DTypeError);
  mul_(x, 3);
  add_(x, x, -2);
  CHECK(ints(x) == Values{-6, -12});
  copy_(x, full({2}, 1.5));
  CHECK(ints(x) == Values{1, 1});
}

TEST_CASE("in place: the source may be another view of the same memory",
          "[it is read as it was before the edit]") {
  const auto square = [] { return from<double>({1, 2, 3, 4}, {2, 2}); };
  Tensor x = square();
  add_(x, transpose(x, 0, 1));
  CHECK(x.to_vector<double>() == Values{2, 5, 5, 8});
  x = square();
  copy_(x, transpose(x, 0, 1));
  CHECK(x.to_vector<double>() == Values{1, 3, 2, 4});
  x = square();
  add_(x, slice(x, 0, 1));  // a row to both rows
  CHECK(x.to_vector<double>() == Values{4, 6, 6, 8});
  x = square();
  add_(x, x);
  CHECK(x.to_vector<double>() == Values{2, 4, 6, 8});

  for (const std::int64_t n : {5, 100000}) {  // few and many enough for two threads
    const Tensor line = cast(full({n}, 1), f64);
    Tensor later = slice(line, 0, 1), earlier = slice(line, 0, 0, n - 1);
    add_(later, earlier);
    Values expected(static_cast<std::size_t>(n), 2);
    expected[0] = 1;
    CHECK(line.to_vector<double>() == expected);
    copy_(later, earlier);  // 1, 1, 2, 2 …
    expected[1] = 1;
    CHECK(line.to_vector<double>() == expected);
  }
}

TEST_CASE("in place: a call that is refused has not counted as an edit",
          "[backward would be refused for nothing]") {
  Tensor x = ones({2, 3}), flags = zeros({2}, {.dtype = bool_});
  const std::uint64_t version = x.storage()->version();
  CHECK_THROWS_WITH(add_(x, ones({3, 2})), ContainsSubstring("add_: shapes [2,3] and [3,2]"));
  CHECK_THROWS_WITH(add_(x, ones({4, 2, 3})),
                    ContainsSubstring("add_: [4,2,3] does not broadcast to [2,3]"));
  CHECK_THROWS_AS(copy_(x, ones({2})), ShapeError);
  CHECK(x.storage()->version() == version);
  CHECK_THROWS_AS(mul_(flags, 2), DTypeError);
  CHECK_THROWS_AS(add_(flags, flags), DTypeError);
  CHECK(flags.storage()->version() == 0);
}

TEST_CASE("elu has the right gradient for any alpha, also where its output says nothing of x") {
  const Tensor x = from<double>({-3, -0.5, 0.5, 3}).requires_grad_(true);
  for (const double alpha : {1.0, 0.3, 0.0, -0.7}) {
    INFO(alpha);
    const auto f = [alpha](const Tensors& in) { return Tensors{elu(in[0], alpha)}; };
    CHECK_NOTHROW(gradcheck(f, {x}));
    CHECK_NOTHROW(gradgradcheck(f, {x}));
  }
  const Tensor far = from<double>({-800, 0, 800}).requires_grad_(true);
  const Tensor slope = grad(sum(elu(far)), far, {.create_graph = true});
  CHECK(slope.to_vector<double>() == Values{0, 1, 1});
  CHECK(grad(sum(slope), far).to_vector<double>() == Values{0, 1, 0});
}
