#include <scangrad/core/tensor.h>
#include <scangrad/tests/support/catch.h>

#include <limits>
#include <numeric>
#include <sstream>

namespace sg = scangrad;

TEST_CASE("print: brackets as NumPy's, then dtype, shape and device") {
  CHECK(to_string(sg::full({}, 1.5)) == "1.5 f32[] cpu");
  CHECK(to_string(sg::from<float>({1, -2.5, 3})) == "[   1, -2.5,    3] f32[3] cpu");
  CHECK(to_string(sg::from<std::int64_t>({1, 20, 3, 4}, {2, 2})) ==
        "[[ 1, 20],\n [ 3,  4]] i64[2,2] cpu");
  CHECK(to_string(sg::from<bool>({true, false})) == "[ true, false] bool[2] cpu");
  CHECK(to_string(sg::zeros({2, 1, 1})) == "[[[0]],\n\n [[0]]] f32[2,1,1] cpu");
  CHECK(to_string(sg::zeros({0})) == "[] f32[0] cpu");
  CHECK(to_string(sg::zeros({2, 0})) == "[[],\n []] f32[2,0] cpu");
  CHECK(to_string(sg::Tensor{}) == "undefined");
  std::ostringstream stream;
  stream << sg::ones({1});
  CHECK(stream.str() == "[1] f32[1] cpu");
}

TEST_CASE("print: integers are exact, NaN and infinities are named") {
  const std::int64_t large = (std::int64_t{1} << 60) + 1;
  CHECK(to_string(sg::from<std::int64_t>({large})) == "[1152921504606846977] i64[1] cpu");
  const double inf = std::numeric_limits<double>::infinity();
  CHECK(to_string(sg::from<double>({inf, -inf, std::numeric_limits<double>::quiet_NaN()})) ==
        "[ inf, -inf,  nan] f64[3] cpu");
}

TEST_CASE("print: beyond 1000 elements the middle is left out, and only what is shown is aligned") {
  std::vector<std::int64_t> numbers(1001);
  std::iota(numbers.begin(), numbers.end(), 0);
  CHECK(to_string(sg::from<std::int64_t>(numbers)) ==
        "[   0,    1,    2, ...,  998,  999, 1000] i64[1001] cpu");
  numbers[500] = 123456789;  // not shown: must not widen the rest
  numbers.resize(1000);
  CHECK(to_string(sg::from<std::int64_t>(numbers)).find("...") == std::string::npos);
  numbers.resize(1001, 7);
  CHECK(to_string(sg::from<std::int64_t>(numbers)) ==
        "[  0,   1,   2, ..., 998, 999,   7] i64[1001] cpu");
  const std::string matrix = to_string(sg::zeros({100, 100}));
  CHECK(std::count(matrix.begin(), matrix.end(), '\n') == 6);
  CHECK(to_string(sg::zeros({20000000, 0})) ==  // no elements, but many brackets
        "[[],\n [],\n [],\n ...,\n [],\n [],\n []] f32[20000000,0] cpu");
}
