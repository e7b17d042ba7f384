#include <scangrad/autograd/engine.h>
#include <scangrad/core/error.h>
#include <scangrad/ops/creation.h>
#include <scangrad/ops/elementwise.h>
#include <scangrad/ops/index.h>
#include <scangrad/ops/random.h>
#include <scangrad/ops/reduce.h>
#include <scangrad/ops/shape.h>
#include <scangrad/tests/support/catch.h>

namespace sg = scangrad;
using Values = std::vector<double>;
using Indices = std::vector<std::int64_t>;

TEST_CASE("embedding reads rows for indices of any shape and sums the gradients of repeated ones") {
  sg::Tensor weight = sg::from<double>({0, 1, 10, 11, 20, 21}, {3, 2});
  weight.requires_grad_();
  const sg::Tensor rows = sg::embedding(sg::from<std::int64_t>({2, 0, 2, 2}, {2, 2}), weight);
  CHECK(rows.shape() == sg::Shape{2, 2, 2});
  CHECK(rows.to_vector<double>() == Values{20, 21, 0, 1, 20, 21, 20, 21});
  const sg::Tensor g = sg::from<double>({1, 2, 3, 4, 5, 6, 7, 8}, {2, 2, 2});
  sg::backward(rows, g);
  CHECK(weight.grad().to_vector<double>() == Values{3, 4, 0, 0, 13, 16});
}

TEST_CASE("embedding on 0-d, i32 and no indices") {
  const sg::Tensor weight = sg::from<float>({0, 1, 10, 11}, {2, 2});
  CHECK(sg::embedding(sg::from<std::int32_t>({1}, {}), weight).to_vector<double>() ==
        Values{10, 11});
  CHECK(sg::embedding(sg::from<std::int64_t>({}, {0, 4}), weight).shape() == sg::Shape{0, 4, 2});
}

TEST_CASE("a bad index is an error that names it, and says it for the first one") {
  const sg::Tensor weight = sg::zeros({65, 4});
  CHECK_THROWS_WITH(sg::embedding(sg::from<std::int64_t>({3, 70, -1}), weight),
                    "embedding: index 70 is out of range for 65 rows");
  CHECK_THROWS_AS(sg::embedding(sg::from<std::int64_t>({-1}), weight), sg::IndexError);
  CHECK_THROWS_WITH(sg::index_select(weight, 1, sg::from<std::int64_t>({4})),
                    "index_select: index 4 is out of range for 4 entries");
  CHECK_THROWS_WITH(sg::embedding(sg::from<float>({1}), weight),
                    ContainsSubstring("must be i64 or i32, not f32"));
}

TEST_CASE("index_select takes entries along any dimension of a strided tensor, and its adjoint") {
  const sg::Tensor base = sg::reshape(sg::arange(0, 24, 1, {.dtype = sg::f64}), {4, 3, 2});
  const Indices picks{2, 0, 2, 1};
  for (int dim = 0; dim < 3; ++dim) {
    sg::Tensor x = sg::clone(sg::permute(base, {1, 2, 0}));  // (3, 2, 4)
    x.requires_grad_();
    const sg::Tensor view = sg::transpose(x, 0, 1);  // (2, 3, 4), strided
    Indices index = picks;
    for (auto& i : index) i = std::min<std::int64_t>(i, view.shape()[dim] - 1);
    const sg::Tensor y = sg::index_select(view, dim, sg::from<std::int64_t>(index));
    for (std::size_t i = 0; i < index.size(); ++i) {
      CHECK(sg::select(y, dim, static_cast<std::int64_t>(i)).to_vector<double>() ==
            sg::select(view, dim, index[i]).to_vector<double>());
    }
    // <select(x), g> = <x, adjoint(g)>
    sg::Generator generator(1);
    const sg::Tensor g = sg::randn(y.shape(), {.dtype = sg::f64}, &generator);
    const sg::Tensor adjoint = sg::grad(y, x, {.grad_outputs = {g}});
    CHECK(sg::sum(y * g).item<double>() == Approx(sg::sum(x * adjoint).item<double>()));
  }
}

TEST_CASE("the gradient of a wide embedding equals a plain loop's, bit for bit") {
  // 300 columns: several column tiles and a partial one; few rows: each is hit many times.
  sg::Generator generator(2);
  sg::Tensor weight = sg::zeros({7, 300});
  weight.requires_grad_();
  const sg::Tensor index = sg::randint(0, 7, {5000}, {sg::i64}, &generator);
  const sg::Tensor g = sg::randn({5000, 300}, {}, &generator);
  sg::backward(sg::embedding(index, weight), g);
  std::vector<float> expected(7 * 300);
  const auto rows = index.to_vector<std::int64_t>();
  const auto values = g.to_vector<float>();
  for (std::size_t i = 0; i < rows.size(); ++i) {
    for (std::size_t j = 0; j < 300; ++j) {
      expected[static_cast<std::size_t>(rows[i]) * 300 + j] += values[i * 300 + j];
    }
  }
  CHECK(weight.grad().to_vector<float>() == expected);
}
