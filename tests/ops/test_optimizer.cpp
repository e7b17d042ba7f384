// The optimizers' steps change what they are given in place, so that a list that does not fit must
// be refused before anything is changed. Their values are checked in
// tests/train/test_optimizer.cpp.
#include <scangrad/scangrad.h>
#include <scangrad/tests/support/catch.h>

using namespace scangrad;

namespace {

const Tensor control = from<double>({0.1, 1, 1});

Tensors list(const Shape& shape, DType dtype = DType::f32) { return {ones(shape, {dtype})}; }

}  // namespace

TEST_CASE("adamw_step takes one gradient and two moments for each parameter, alike") {
  const auto guard = no_grad();
  const Tensors p = list({2}), g = list({2}), m = list({2}), v = list({2});
  CHECK_THROWS_WITH(adamw_step(p, {}, m, v, control), ContainsSubstring("0 gradients for 1"));
  CHECK_THROWS_WITH(adamw_step(p, g, {}, v, control), ContainsSubstring("0 first moments for 1"));
  CHECK_THROWS_WITH(adamw_step(p, g, m, {}, control), ContainsSubstring("0 second moments for 1"));
  CHECK_THROWS_AS(adamw_step(p, list({3}), m, v, control), ShapeError);
  CHECK_THROWS_AS(adamw_step(p, g, m, list({2}, DType::f64), control), DTypeError);
  CHECK_THROWS_AS(adamw_step(p, list({2}, DType::bf16), m, v, control), DTypeError);
  CHECK_THROWS_AS(adamw_step(list({2}, DType::i64), g, m, v, control), DTypeError);
  CHECK_THROWS_AS(adamw_step(p, g, m, v, ones({3})), DTypeError);
  CHECK_THROWS_AS(adamw_step(p, g, m, v, ones({2}, {DType::f64})), ShapeError);
  const Tensors columns = {transpose(ones({2, 3}), 0, 1)};
  CHECK_THROWS_WITH(adamw_step(columns, columns, columns, columns, control),
                    ContainsSubstring("contiguous"));
  CHECK(p[0].to_vector<float>() == std::vector<float>{1, 1});
  CHECK(m[0].to_vector<float>() == std::vector<float>{1, 1});
  adamw_step({}, {}, {}, {}, control);  // nothing to do
}

TEST_CASE("The moments of bf16 are f32") {
  const auto guard = no_grad();
  const Tensors p = list({2}, DType::bf16), m = list({2}), wrong = list({2}, DType::bf16);
  CHECK_THROWS_AS(adamw_step(p, p, wrong, wrong, control), DTypeError);
  adamw_step(p, list({2}, DType::bf16), m, list({2}), control);
  CHECK(p[0].to_vector<double>()[0] < 1);
}

TEST_CASE("sgd_step takes buffers with momentum only") {
  const auto guard = no_grad();
  const Tensors p = list({2}), g = list({2}), b = list({2});
  CHECK_THROWS_WITH(sgd_step(p, g, b, control), ContainsSubstring("1 buffers, but no momentum"));
  CHECK_THROWS_WITH(sgd_step(p, g, {}, control, {.momentum = 0.9}),
                    ContainsSubstring("0 momentum buffers for 1"));
  sgd_step(p, g, {}, control);
  CHECK(p[0].to_vector<float>() == std::vector<float>{0.9f, 0.9f});
}

TEST_CASE("Steps are not recorded, and a graph that saved the old values notices them") {
  const Tensors p = {ones({2}).requires_grad_(true)};
  CHECK_THROWS_AS(sgd_step(p, list({2}), {}, control), GradError);
  const Tensor y = sum(square(p[0]));
  {
    const auto guard = no_grad();
    sgd_step(p, list({2}), {}, control);
  }
  CHECK_THROWS_AS(backward(y), GradError);
}

TEST_CASE("l2_norm is that of all elements, in f64") {
  const Tensor out = zeros({}, {DType::f64});
  for (const DType dtype : {DType::f32, DType::f64, DType::bf16}) {
    l2_norm(out, cast(from<double>({3, 0, -4, 12}, {2, 2}), dtype));
    CHECK(out.item<double>() == 13);
  }
  CHECK_THROWS_AS(l2_norm(zeros({}), ones({2})), DTypeError);
  CHECK_THROWS_AS(l2_norm(zeros({1}, {DType::f64}), ones({2})), ShapeError);
  CHECK_THROWS_AS(l2_norm(out, transpose(ones({2, 3}), 0, 1)), ShapeError);
  CHECK_THROWS_AS(l2_norm(out, ones({2}, {DType::i32})), DTypeError);
}
