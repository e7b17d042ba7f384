#include <scangrad/autograd/engine.h>
#include <scangrad/core/error.h>
#include <scangrad/ops/creation.h>
#include <scangrad/ops/elementwise.h>
#include <scangrad/ops/index.h>
#include <scangrad/ops/random.h>
#include <scangrad/ops/reduce.h>
#include <scangrad/ops/shape.h>
#include <scangrad/tests/support/catch.h>

#include <algorithm>
#include <limits>
#include <numeric>

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

TEST_CASE("gather reads, and scatter_add writes, along each dimension of strided tensors") {
  sg::Generator generator(3);
  for (int dim = 0; dim < 3; ++dim) {
    const sg::Tensor base = sg::randn({5, 4, 3}, {.dtype = sg::f64}, &generator);
    const sg::Tensor x = sg::transpose(base, 0, 2);  // (3, 4, 5)
    sg::Shape shape{2, 3, 4};                        // smaller than x along the others
    shape[dim] = 7;
    const sg::Tensor index = sg::randint(0, x.shape()[dim], shape, {sg::i64}, &generator);
    const auto picks = index.to_vector<std::int64_t>();
    const sg::Tensor y = sg::gather(x, dim, index);
    sg::Tensor scattered = sg::clone(x);
    const sg::Tensor source = sg::randn({7, 7, 7}, {.dtype = sg::f64}, &generator);
    std::size_t at = 0;
    const sg::Tensor expected = sg::empty(shape, {.dtype = sg::f64});
    for (std::int64_t i = 0; i < shape[0]; ++i) {
      for (std::int64_t j = 0; j < shape[1]; ++j) {
        for (std::int64_t k = 0; k < shape[2]; ++k, ++at) {
          std::int64_t place[3] = {i, j, k};
          place[dim] = picks[at];
          expected.data<double>()[at] =
              sg::select(sg::select(sg::select(x, 0, place[0]), 0, place[1]), 0, place[2])
                  .item<double>();
          scattered.data<double>()[(place[0] * 4 + place[1]) * 5 + place[2]] +=
              source.data<double>()[(i * 7 + j) * 7 + k];
        }
      }
    }
    CHECK(y.to_vector<double>() == expected.to_vector<double>());
    CHECK(sg::scatter_add(x, dim, index, source).to_vector<double>() ==
          scattered.to_vector<double>());
  }
}

TEST_CASE(
    "gather and scatter_add are each other's gradient; what src has beyond the index gets 0") {
  sg::Tensor x = sg::from<double>({1, 2, 3, 4}, {2, 2}).requires_grad_();
  const sg::Tensor index = sg::from<std::int64_t>({1, 1, 0}, {1, 3});
  const sg::Tensor y = sg::gather(x, 1, index);
  CHECK(y.to_vector<double>() == Values{2, 2, 1});
  CHECK(sg::grad(sg::sum(y), x).to_vector<double>() == Values{1, 2, 0, 0});
  sg::Tensor src = sg::ones({2, 3}, {.dtype = sg::f64}).requires_grad_();
  const sg::Tensor z = sg::scatter_add(x, 1, index, src);
  CHECK(z.to_vector<double>() == Values{2, 4, 3, 4});
  CHECK(sg::grad(sg::sum(sg::square(z)), src).to_vector<double>() == Values{8, 8, 4, 0, 0, 0});
  CHECK(sg::gather(sg::full({}, 3), 0, sg::zeros({}, {sg::i64})).item<double>() == 3);
  CHECK(sg::gather(x, 0, sg::zeros({0, 2}, {sg::i64})).shape() == sg::Shape{0, 2});
}

TEST_CASE("gather, scatter_add and one_hot name a bad index and change nothing") {
  const sg::Tensor x = sg::zeros({2, 3});
  const sg::Tensor index = sg::from<std::int64_t>({0, -2}, {1, 2});
  CHECK_THROWS_WITH(sg::gather(x, 1, index), "gather: index -2 is out of range for 3 entries");
  CHECK_THROWS_WITH(sg::scatter_add(x, 1, index, sg::ones({1, 2})),
                    "scatter_add: index -2 is out of range for 3 entries");
  CHECK_THROWS_WITH(sg::one_hot(sg::from<std::int64_t>({1, 4}), 4),
                    "one_hot: index 4 is out of range for 4 classes");
  CHECK_THROWS_WITH(sg::gather(x, 1, sg::zeros({3, 1}, {sg::i64})),
                    ContainsSubstring("an index [3,1] does not fit [2,3] along dimension 1"));
  CHECK(x.to_vector<double>() == Values(6, 0));
}

TEST_CASE("one_hot makes rows of the identity") {
  const sg::Tensor y = sg::one_hot(sg::from<std::int64_t>({2, 0}, {2, 1}), 3);
  CHECK(y.dtype() == sg::i64);
  CHECK(y.shape() == sg::Shape{2, 1, 3});
  CHECK(y.to_vector<double>() == Values{0, 0, 1, 1, 0, 0});
}

TEST_CASE("sort is stable both ways and puts NaN with the largest") {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const sg::Tensor x = sg::from<double>({2, 1, nan, 2, 1, 0});
  CHECK(sg::sort(x).indices.to_vector<std::int64_t>() == Indices{5, 1, 4, 0, 3, 2});
  CHECK(sg::sort(x, 0, true).indices.to_vector<std::int64_t>() == Indices{2, 0, 3, 1, 4, 5});
  CHECK(sg::sort(sg::full({}, 7)).indices.item<std::int64_t>() == 0);
  CHECK(sg::sort(sg::zeros({3, 0})).values.shape() == sg::Shape{3, 0});
}

TEST_CASE("sort and topk agree with the standard library for lengths around every run and merge") {
  sg::Generator generator(8);
  for (const std::int64_t n : {1, 2, 15, 16, 17, 31, 32, 33, 64, 100, 1000, 4097}) {
    INFO(n);
    // Few different values: ties everywhere.
    const sg::Tensor x =
        sg::cast(sg::randint(0, n / 3 + 2, {n, 2}, {sg::i64}, &generator), sg::bf16);
    const auto column = sg::select(x, 1, 1).to_vector<float>();
    for (const bool descending : {false, true}) {
      Indices expected(column.size());
      std::iota(expected.begin(), expected.end(), 0);
      std::stable_sort(expected.begin(), expected.end(), [&](auto a, auto b) {
        const float p = column[static_cast<std::size_t>(a)],
                    q = column[static_cast<std::size_t>(b)];
        return descending ? p > q : p < q;
      });
      const auto [values, indices] = sg::sort(x, 0, descending);
      CHECK(sg::select(indices, 1, 1).to_vector<std::int64_t>() == expected);
      CHECK(sg::gather(x, 0, indices).to_vector<float>() == values.to_vector<float>());
      for (const std::int64_t k :
           {std::int64_t{0}, std::int64_t{1}, n / 2, std::min<std::int64_t>(n, 65)}) {
        const auto top = sg::topk(x, k, 0, descending);
        CHECK(top.indices.to_vector<std::int64_t>() ==
              sg::slice(indices, 0, 0, k).to_vector<std::int64_t>());
      }
    }
  }
  CHECK_THROWS_WITH(sg::topk(sg::zeros({3}), 4), ContainsSubstring("topk: 4 of dimension -1"));
}

TEST_CASE("gradients of sort and topk go back to where the values came from") {
  sg::Tensor x = sg::from<double>({3, 1, 2, 5, 4, 6}, {2, 3}).requires_grad_();
  const sg::Tensor weights = sg::from<double>({10, 20, 30});
  CHECK(sg::grad(sg::sum(sg::sort(x).values * weights), x).to_vector<double>() ==
        Values{30, 10, 20, 20, 10, 30});
  CHECK(sg::grad(sg::sum(sg::topk(x, 1, 0).values), x).to_vector<double>() ==
        Values{0, 0, 0, 1, 1, 1});
}
