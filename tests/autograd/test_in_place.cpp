// Edits in place: allowed where no gradient goes wrong by them, found where one would.
#include <scangrad/autograd/engine.h>
#include <scangrad/autograd/grad_mode.h>
#include <scangrad/core/error.h>
#include <scangrad/ops/elementwise.h>
#include <scangrad/ops/reduce.h>
#include <scangrad/ops/shape.h>
#include <scangrad/tests/support/catch.h>

#include <functional>
#include <string>
#include <vector>

namespace sg = scangrad;
using sg::Tensor;

namespace {

using Values = std::vector<double>;

Tensor leaf(const Values& values) { return Tensor(sg::from<double>(values)).requires_grad_(true); }
Values of(const Tensor& x) { return x.to_vector<double>(); }

}  // namespace

TEST_CASE("an edit of a saved tensor is found, an edit of another is not") {
  const Tensor w = leaf({2});
  Tensor x = sg::from<double>({3});
  const Tensor y = w * x;  // saves x
  const Tensor z = w + x;  // does not
  sg::add_(x, sg::ones({1}, {sg::f64}));
  CHECK_THROWS_WITH(sg::backward(y), ContainsSubstring("mul") && ContainsSubstring("in place"));
  sg::backward(z);
  CHECK(of(w.grad()) == Values{1});
}

TEST_CASE("an edit through a view of a saved tensor is found too") {
  const Tensor w = leaf({2, 3});
  const Tensor x = sg::from<double>({3, 4});
  const Tensor y = w * x;
  Tensor part = sg::slice(x, 0, 0, 1);
  sg::mul_(part, 2);
  CHECK_THROWS_AS(sg::backward(sg::sum(y)), sg::GradError);
}

TEST_CASE("in-place edits that would get gradients wrong are refused, and change nothing") {
  Tensor x = leaf({1, 2});
  Tensor y = x * 2.0;
  Tensor plain = sg::from<double>({1, 1});
  CHECK_THROWS_WITH(sg::add_(x, plain), ContainsSubstring("leaf"));
  CHECK_THROWS_WITH(sg::mul_(y, 2), ContainsSubstring("recorded operation"));
  CHECK_THROWS_AS(sg::copy_(plain, y), sg::GradError);
  CHECK_THROWS_AS(sg::add_(plain, x), sg::GradError);
  Tensor expanded = sg::expand(sg::from<double>({1}), {3});
  CHECK_THROWS_WITH(sg::mul_(expanded, 2), ContainsSubstring("share memory"));
  CHECK(of(x) == Values{1, 2});
  CHECK(of(plain) == Values{1, 1});
  const auto guard = sg::no_grad();
  sg::add_(x, plain);  // an optimizer's step
  CHECK(of(x) == Values{2, 3});
}

TEST_CASE("every operation in place counts as an edit, of a saved input and of a saved output") {
  const struct {
    std::string name;
    std::function<void(Tensor&)> edit;
  } operations[] = {
      {"add_", [](Tensor& x) { sg::add_(x, sg::ones({2}, {sg::f64})); }},
      {"mul_", [](Tensor& x) { sg::mul_(x, 2); }},
      {"copy_", [](Tensor& x) { sg::copy_(x, sg::ones({2}, {sg::f64})); }},
      {"zero_", [](Tensor& x) { sg::zero_(x); }},
  };
  for (const auto& [name, edit] : operations) {
    INFO(name);
    const Tensor w = leaf({2, 3});
    Tensor input = sg::from<double>({4, 5});
    const Tensor product = sg::sum(w * input);
    edit(input);
    CHECK_THROWS_WITH(sg::backward(product), ContainsSubstring("in place"));

    Tensor output = sg::exp(w);  // its backward reads the output
    const Tensor total = sg::sum(output);
    {
      const auto guard = sg::no_grad();
      edit(output);
    }
    CHECK_THROWS_WITH(sg::backward(total), ContainsSubstring("in place"));
    CHECK_FALSE(w.grad().defined());
  }
}
