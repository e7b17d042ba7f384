// What the table of operations cannot show: values at infinities, errors, dropout, pivoting.
#include <scangrad/core/error.h>
#include <scangrad/ops/attention.h>
#include <scangrad/ops/creation.h>
#include <scangrad/ops/elementwise.h>
#include <scangrad/ops/join.h>
#include <scangrad/ops/linalg.h>
#include <scangrad/ops/loss.h>
#include <scangrad/ops/norm.h>
#include <scangrad/ops/softmax.h>
#include <scangrad/tests/support/catch.h>

#include <cmath>

namespace sg = scangrad;

// Logits beyond the range of exp are ordinary: only their differences count.
TEST_CASE("softmax and cross_entropy do not overflow for large logits") {
  const sg::Tensor x = sg::from<float>({1000, 1001, -1000}, {1, 3});
  CHECK(sg::softmax(x, 1).to_vector<double>()[1] == Approx(0.7310585786));
  CHECK(sg::log_softmax(x, 1).to_vector<double>()[0] == Approx(-1.3132616875));
  CHECK(sg::cross_entropy(x, sg::from<std::int64_t>({0})).item<double>() == Approx(1.3132616875));
}

// PyTorch's answer, and the honest one: there is no distribution over nothing.
TEST_CASE("softmax of minus infinity throughout is NaN, masked_softmax of it is 0") {
  const sg::Tensor x = sg::from<float>({-INFINITY, -INFINITY}, {1, 2});
  CHECK(std::isnan(sg::softmax(x, 1).to_vector<double>()[0]));
  CHECK(sg::masked_softmax(x, {}, false).to_vector<double>() == std::vector<double>{0, 0});
}

// A diverged model must show: a NaN that became 0 would train on in silence.
TEST_CASE("NaN scores stay NaN through every softmax and norm") {
  const sg::Tensor x = sg::from<double>({NAN, NAN, 1, NAN}, {2, 2});
  for (const sg::Tensor& y : {sg::softmax(x, 1), sg::log_softmax(x, 1), sg::layer_norm(x),
                              sg::rms_norm(x), sg::masked_softmax(x, {}, false)}) {
    for (double value : y.to_vector<double>()) CHECK(std::isnan(value));
  }
}

TEST_CASE("cross_entropy names a bad target and skips the ignored one") {
  const sg::Tensor logits = sg::zeros({2, 3});
  CHECK_THROWS_WITH(sg::cross_entropy(logits, sg::from<std::int64_t>({0, 3})),
                    "cross_entropy: index 3 is out of range for 3 classes");
  CHECK_THROWS_AS(sg::cross_entropy(logits, sg::from<std::int64_t>({-1, 0})), sg::IndexError);
  CHECK(sg::cross_entropy(logits, sg::from<std::int64_t>({-100, 1})).item<double>() ==
        Approx(std::log(3.0)));
  // The mean over no rows has no value; PyTorch says NaN as well.
  CHECK(std::isnan(sg::cross_entropy(logits, sg::from<std::int64_t>({-100, -100})).item<double>()));
}

TEST_CASE("solve exchanges rows where a pivot is 0") {
  const sg::Tensor a = sg::from<double>({0, 2, 4, 0}, {2, 2});
  const sg::Tensor x = sg::solve(a, sg::from<double>({6, 8}, {2, 1}));
  CHECK(x.to_vector<double>() == std::vector<double>{2, 3});
}

TEST_CASE("solve names the first singular matrix of the batch") {
  const sg::Tensor a = sg::stack({sg::eye(2), sg::ones({2, 2}), sg::zeros({2, 2})});
  CHECK_THROWS_WITH(sg::solve(a, sg::ones({3, 2, 1})), "solve: matrix 1 of the batch is singular");
}

TEST_CASE("a query that a mask leaves no key gives 0, and its gradient is 0") {
  const sg::Tensor q = sg::ones({1, 2, 2}), v = sg::ones({1, 3, 2});
  const sg::Tensor mask = sg::from<bool>({true, false, true, false, false, false}, sg::Shape{2, 3});
  const sg::Tensor y = sg::scaled_dot_product_attention(q, v, v, {.mask = mask});
  CHECK(y.to_vector<double>() == std::vector<double>{1, 1, 0, 0});
}

// The probabilities are dropped, not the output: with equal scores over 1,000 keys of value 1, an
// output is the share of keys that stayed, rescaled, so near 1 and hardly ever 1.
TEST_CASE("attention's dropout falls on the probabilities and follows the generator") {
  const sg::Tensor q = sg::zeros({4, 2}), k = sg::zeros({1000, 2}), v = sg::ones({1000, 1});
  sg::Generator first(5), again(5), other(6);
  const auto run = [&](sg::Generator& generator) {
    return sg::scaled_dot_product_attention(q, k, v, {.dropout = 0.5, .generator = &generator})
        .to_vector<double>();
  };
  const auto y = run(first);
  for (double value : y) CHECK(value == Approx(1).margin(0.2));
  CHECK(y[0] != y[1]);
  CHECK(y == run(again));
  CHECK(y != run(other));
}

TEST_CASE("joining and norms say in one sentence what does not fit") {
  CHECK_THROWS_WITH(sg::cat({sg::ones({2, 2}), sg::ones({3, 3})}),
                    "cat: [2,2] and [3,3] differ outside dimension 0");
  CHECK_THROWS_AS(sg::split(sg::ones({5}), std::vector<std::int64_t>{2, 2}), sg::ShapeError);
  CHECK_THROWS_WITH(sg::layer_norm(sg::ones({2, 3}), sg::ones({2})),
                    "layer_norm: weight [2] does not fit the last dimension of x [2,3]");
  CHECK_THROWS_AS(sg::pad(sg::ones({2}), {-2, -1}), sg::ShapeError);
}
