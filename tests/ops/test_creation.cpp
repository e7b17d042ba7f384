#include <scangrad/core/error.h>
#include <scangrad/ops/creation.h>
#include <scangrad/tests/support/catch.h>

namespace sg = scangrad;
using Values = std::vector<double>;

TEST_CASE("arange counts up or down and leaves its end out") {
  CHECK(sg::arange(0, 5).to_vector<double>() == Values{0, 1, 2, 3, 4});
  CHECK(sg::arange(3, -3, -2).to_vector<double>() == Values{3, 1, -1});
  CHECK(sg::arange(0, 1, 0.25, {.dtype = sg::f64}).to_vector<double>() ==
        Values{0, 0.25, 0.5, 0.75});
  CHECK(sg::arange(2, 2).shape() == sg::Shape{0});
  CHECK(sg::arange(2, 0).shape() == sg::Shape{0});
  const sg::Tensor positions = sg::arange(0, 100000, 1, {.dtype = sg::i64});
  CHECK(positions.dtype() == sg::i64);
  CHECK(positions.to_vector<std::int64_t>()[99999] == 99999);
  CHECK_THROWS_WITH(sg::arange(0, 1, 0), ContainsSubstring("no finite range"));
  CHECK_THROWS_WITH(sg::arange(0x1p31 - 1, 0x1p31 + 1, 1, {.dtype = sg::i32}),
                    ContainsSubstring("values beyond i32"));
  CHECK(sg::arange(0x1p31 - 2, 0x1p31, 1, {.dtype = sg::i32}).to_vector<double>()[1] == 0x1p31 - 1);
}

TEST_CASE("eye is the identity matrix, of size 0 too") {
  CHECK(sg::eye(3).to_vector<double>() == Values{1, 0, 0, 0, 1, 0, 0, 0, 1});
  CHECK(sg::eye(2, {.dtype = sg::i32}).dtype() == sg::i32);
  CHECK(sg::eye(0).shape() == sg::Shape{0, 0});
}
