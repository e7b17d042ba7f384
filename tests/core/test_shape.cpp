#include <scangrad/core/dtype.h>
#include <scangrad/core/error.h>
#include <scangrad/core/shape.h>
#include <scangrad/tests/support/catch.h>

namespace sg = scangrad;
using sg::Shape;

TEST_CASE("shape: a small array of sizes, compared by value") {
  Shape shape{2, 3};
  shape.push_back(5);
  CHECK(shape == Shape{2, 3, 5});
  shape.insert(1, 7);
  CHECK(shape == Shape{2, 7, 3, 5});
  shape.erase(0);
  CHECK(shape == Shape{7, 3, 5});
  CHECK(shape != Shape{7, 3});
  CHECK(shape != Shape{7, 3, 6});
  CHECK(shape.back() == 5);
  CHECK(shape.slice(1, 3) == Shape{3, 5});
  CHECK(shape.slice(1, 1) == Shape{});
  CHECK(to_string(shape) == "[7,3,5]");
  CHECK(to_string(Shape{}) == "[]");
}

TEST_CASE("shape: a scalar has one element, a size of 0 has none") {
  CHECK(Shape{}.numel() == 1);
  CHECK(Shape{3, 0, 2}.numel() == 0);
  CHECK(Shape{3, 4}.numel() == 12);
}

TEST_CASE("shape: a ninth dimension is refused, for kernels keep eight") {
  Shape shape{1, 1, 1, 1, 1, 1, 1, 1};
  CHECK_THROWS_AS(shape.push_back(1), sg::ShapeError);
  CHECK_THROWS_WITH(shape.push_back(1), "shape: a tensor has at most 8 dimensions");
}

TEST_CASE("contiguous strides are row-major, and sane where a size is 0") {
  CHECK(sg::contiguous_strides({2, 3, 4}) == Shape{12, 4, 1});
  CHECK(sg::contiguous_strides({2, 0, 4}) == Shape{4, 4, 1});
  CHECK(sg::contiguous_strides({}) == Shape{});
}

TEST_CASE("broadcasting follows NumPy") {
  CHECK(sg::broadcast_shapes("op", {3, 1}, {4}) == Shape{3, 4});
  CHECK(sg::broadcast_shapes("op", {}, {2, 3}) == Shape{2, 3});
  CHECK(sg::broadcast_shapes("op", {1}, {0}) == Shape{0});
  CHECK(sg::broadcast_shapes("op", {0, 3}, {1, 1, 3}) == Shape{1, 0, 3});
  CHECK_THROWS_WITH(sg::broadcast_shapes("add", {2, 3}, {4}),
                    "add: shapes [2,3] and [4] do not broadcast: 3 != 4");
  CHECK_THROWS_AS(sg::broadcast_shapes("add", {0}, {2}), sg::ShapeError);  // 0 is no 1
}

TEST_CASE("dimensions count from either end; a scalar counts as one dimension") {
  CHECK(sg::normalize_dim("op", -1, 3) == 2);
  CHECK(sg::normalize_dim("op", 2, 3) == 2);
  CHECK(sg::normalize_dim("op", 0, 0) == 0);
  CHECK(sg::normalize_dim("op", -1, 0) == 0);
  CHECK_THROWS_AS(sg::normalize_dim("op", 3, 3), sg::IndexError);
  CHECK_THROWS_WITH(sg::normalize_dim("sum", -4, 3),
                    "sum: dimension -4 is out of range for a tensor of rank 3");
}

TEST_CASE("dtypes: sizes, names, categories, and promotion order") {
  struct Row {
    sg::DType dtype;
    std::size_t size;
    std::string name;
    bool floating, integer;
  };
  const Row rows[] = {{sg::bool_, 1, "bool", false, false}, {sg::i32, 4, "i32", false, true},
                      {sg::i64, 8, "i64", false, true},     {sg::bf16, 2, "bf16", true, false},
                      {sg::f32, 4, "f32", true, false},     {sg::f64, 8, "f64", true, false}};
  for (const Row& row : rows) {
    INFO(row.name);
    CHECK(sg::size_of(row.dtype) == row.size);
    CHECK(sg::name(row.dtype) == row.name);
    CHECK(sg::is_floating(row.dtype) == row.floating);
    CHECK(sg::is_integer(row.dtype) == row.integer);
  }
  CHECK(std::is_sorted(std::begin(rows), std::end(rows),
                       [](const Row& a, const Row& b) { return a.dtype < b.dtype; }));
}

TEST_CASE("dispatch calls with the named type once, and refuses a dtype outside its list") {
  int calls = 0;
  sg::dispatch(sg::AllTypes{}, sg::i32, [&](auto tag) {
    ++calls;
    CHECK(sg::dtype_of<typename decltype(tag)::type> == sg::i32);
  });
  CHECK(calls == 1);
  CHECK_THROWS_WITH(sg::dispatch(sg::FloatTypes{}, sg::i32, [](auto) {}),
                    "kernel: no implementation for i32");
}
