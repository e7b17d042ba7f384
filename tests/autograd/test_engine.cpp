#include <scangrad/autograd/engine.h>
#include <scangrad/autograd/grad_mode.h>
#include <scangrad/autograd/node.h>
#include <scangrad/core/backend.h>
#include <scangrad/core/error.h>
#include <scangrad/ops/elementwise.h>
#include <scangrad/ops/reduce.h>
#include <scangrad/ops/shape.h>
#include <scangrad/tests/support/catch.h>

#include <cmath>
#include <memory>
#include <vector>

namespace sg = scangrad;
using sg::Tensor;
using sg::Tensors;

namespace {

using Values = std::vector<double>;

Tensor leaf(const Values& values) { return Tensor(sg::from<double>(values)).requires_grad_(true); }
Values of(const Tensor& x) { return x.to_vector<double>(); }
std::size_t active() { return sg::memory_stats(sg::Device::cpu()).active; }

}  // namespace

TEST_CASE("backward: gradients arrive at the leaves, and add up over calls") {
  const Tensor a = leaf({1, 2}), b = leaf({3, 4});
  const Tensor loss = sg::sum(a * b + a);
  sg::backward(loss, {}, {.retain_graph = true});
  CHECK(of(a.grad()) == Values{4, 5});
  CHECK(of(b.grad()) == Values{1, 2});
  sg::backward(loss);
  CHECK(of(a.grad()) == Values{8, 10});
}

TEST_CASE("backward: a tensor used many times gets the sum over its uses") {
  const Tensor x = leaf({3});
  Tensor y = x;
  for (int i = 0; i < 10; ++i) y = y + y;  // 2^10 paths, but eleven nodes
  sg::backward(sg::sum(y));
  CHECK(of(x.grad()) == Values{1024});
}

TEST_CASE("backward: several outputs at once, each with its gradient") {
  const Tensor x = leaf({1, 2});
  const Tensor y = x * 3.0, z = sg::square(x);
  sg::backward({y, z, y},
               {sg::from<double>({1, 0}), sg::from<double>({0, 1}), sg::from<double>({10, 10})});
  CHECK(of(x.grad()) == Values{33, 34});
}

TEST_CASE("backward: a leaf may be its own output") {
  const Tensor x = leaf({5});
  const Tensor g = sg::from<double>({2});
  sg::backward(x, g);
  CHECK(of(x.grad()) == Values{2});
  sg::backward(x, g);
  CHECK(of(x.grad()) == Values{4});
  CHECK(of(g) == Values{2});  // the caller's tensor was not taken over
}

TEST_CASE("a chain of 100,000 nodes goes forward, backward and out of existence") {
  // By recursion it would overflow the stack, in backward or in the destructors.
  const std::size_t before = active();
  {
    const Tensor x = leaf({1});
    Tensor y = x;
    for (int i = 0; i < 100'000; ++i) y = y + 1.0;
    sg::backward(y);
    CHECK(of(x.grad()) == Values{1});
    Tensor z = x;
    for (int i = 0; i < 100'000; ++i) z = sg::tanh(z);  // saves its own output; never run backward
  }
  CHECK(active() == before);
}

TEST_CASE("the graph is freed by backward, and when its last tensor goes") {
  const Tensor x = leaf(Values(100'000, 0.5));
  const std::size_t before = active();
  {
    const Tensor loss = sg::sum(sg::square(sg::tanh(sg::exp(x))));
    CHECK(active() >= before + 2 * 800'000);  // what exp and square saved
    sg::backward(loss);
    CHECK(active() < before + 900'000);  // x's gradient
  }
  const std::size_t with_gradient = active();
  { const Tensor unused = sg::tanh(sg::tanh(x)); }
  CHECK(active() == with_gradient);
}

TEST_CASE("a node that saves its own output does not keep itself alive") {
  std::weak_ptr<sg::Storage> storage;
  std::weak_ptr<sg::NodeBase> node;
  {
    const Tensor x = leaf({1, 2});
    const Tensor y = sg::exp(x);  // backward reads y
    storage = y.storage();
    node = y.autograd().node;
    CHECK(node.lock() != nullptr);
  }
  CHECK(storage.expired());
  CHECK(node.expired());
}

TEST_CASE("a second backward through a freed graph is an error that says what to do") {
  const Tensor x = leaf({1});
  const Tensor y = sg::square(x);
  sg::backward(y, {}, {.retain_graph = true});
  sg::backward(y);
  CHECK_THROWS_AS(sg::backward(y), sg::GradError);
  CHECK_THROWS_WITH(sg::backward(y),
                    ContainsSubstring("square") && ContainsSubstring("retain_graph"));
  CHECK(of(x.grad()) == Values{4});
}

TEST_CASE("tensors of size 0 and without dimensions go forward and backward like others") {
  const Tensor scalar = Tensor(sg::from<double>({3}, {})).requires_grad_(true);
  const Tensor none = Tensor(sg::from<double>({}, {2, 0})).requires_grad_(true);
  const Tensor row = leaf({1, 2});
  sg::backward(sg::square(scalar));  // 0-d: no gradient need be given
  CHECK(scalar.grad().shape() == sg::Shape{});
  CHECK(of(scalar.grad()) == Values{6});
  // A sum over nothing still leads to every leaf, with zeros for those that were broadcast.
  const Tensor y = none * scalar;
  CHECK(y.shape() == sg::Shape{2, 0});
  sg::backward(sg::sum(y) + sg::sum(row * scalar));
  CHECK(none.grad().shape() == sg::Shape{2, 0});
  CHECK(of(scalar.grad()) == Values{6 + 3});
  CHECK(of(row.grad()) == Values{3, 3});
  sg::backward(sg::exp(none), sg::zeros({2, 0}, {sg::f64}));
  CHECK(none.grad().numel() == 0);
  // Second derivatives of a scalar, to a scalar.
  const Tensor slope = sg::grad(sg::exp(scalar), scalar, {.create_graph = true});
  CHECK(of(sg::grad(slope, scalar))[0] == Approx(std::exp(3)));
}

TEST_CASE("grad: gradients by leaves and by tensors on the way, stored nowhere") {
  const Tensor x = leaf({2}), unused = leaf({1});
  const Tensor y = sg::square(x), z = y * x;
  const Tensors g = sg::grad(Tensors{z}, Tensors{x, y, z, x}, {.retain_graph = true});
  CHECK(of(g[0]) == Values{12});  // d x³ / dx
  CHECK(of(g[1]) == Values{2});   // z = y x
  CHECK(of(g[2]) == Values{1});
  CHECK(of(g[3]) == Values{12});
  CHECK_FALSE(x.grad().defined());
  CHECK_THROWS_WITH(sg::grad(z, unused, {.retain_graph = true}), ContainsSubstring("allow_unused"));
  CHECK_FALSE(sg::grad(z, unused, {.allow_unused = true}).defined());
}

TEST_CASE("grad: higher derivatives by create_graph, to the third order") {
  const Tensor x = leaf({3});
  const Tensor y = sg::square(sg::square(x));  // x⁴
  const Tensor first = sg::grad(y, x, {.create_graph = true});
  const Tensor second = sg::grad(first, x, {.create_graph = true});
  const Tensor third = sg::grad(second, x);
  CHECK(of(first)[0] == Approx(4 * 27));
  CHECK(of(second)[0] == Approx(12 * 9));
  CHECK(of(third)[0] == Approx(24 * 3));
  CHECK_FALSE(third.requires_grad());
}

TEST_CASE("backward with create_graph leaves gradients that can be differentiated") {
  const Tensor x = leaf({3});
  sg::backward(sg::square(x) * x, {}, {.create_graph = true});
  const Tensor penalty = sg::square(x.grad());  // (3x²)²
  CHECK(of(sg::grad(penalty, x))[0] == Approx(36 * 27));
  Tensor owner = x;
  owner.set_grad({});  // the gradient's graph holds x, which holds the gradient
}

TEST_CASE("accumulation: leaves that get one and the same gradient do not share it") {
  for (bool create_graph : {false, true}) {
    INFO("create_graph " << create_graph);
    Tensor a = leaf({1, 2}), b = leaf({3, 4});
    sg::backward(sg::sum(a + b), {}, {.create_graph = create_graph});  // both get the same tensor
    CHECK(a.grad().raw_data() != b.grad().raw_data());
    sg::backward(sg::sum(a * 10.0));
    CHECK(of(a.grad()) == Values{11, 11});
    CHECK(of(b.grad()) == Values{1, 1});
    a.set_grad({});
    b.set_grad({});
  }
}

TEST_CASE("accumulation: a gradient with stride 0 is added to element by element") {
  // The gradient of a sum is one number expanded: adding in place to it would add n times.
  for (bool create_graph : {false, true}) {
    INFO("create_graph " << create_graph);
    Tensor x = leaf({1, 2, 3});
    sg::backward(sg::sum(x), {}, {.create_graph = create_graph});
    sg::backward(sg::sum(x));
    CHECK(of(x.grad()) == Values{2, 2, 2});
    sg::backward(sg::sum(x) + sg::sum(x));  // two expanded gradients meet on the way
    CHECK(of(x.grad()) == Values{4, 4, 4});
    x.set_grad(sg::expand(sg::from<double>({5}), {3}));  // given by the user
    sg::backward(sg::sum(x));
    CHECK(of(x.grad()) == Values{6, 6, 6});
    x.set_grad({});
  }
}

TEST_CASE("accumulation: a backward that returns its own gradient twice does not double it") {
  const Tensor x = leaf({1}), y = leaf({1});
  const Tensor s = x + y;  // returns {g, g}
  sg::backward(s + x);
  CHECK(of(x.grad()) == Values{2});
  CHECK(of(y.grad()) == Values{1});
  const Tensor g = sg::from<double>({7});
  sg::backward(x + y, g);
  CHECK(of(g) == Values{7});
}

TEST_CASE("accumulation: gradients that meet on the way to an inner tensor stay apart") {
  const Tensor x = leaf({1, 1});
  const Tensor y = x * 1.0;
  const Tensor kept = y + y;  // y receives g twice, x's own gradient must not alias g
  const Tensor g = sg::from<double>({1, 2});
  const Tensors grads = sg::grad(Tensors{kept}, Tensors{y, x}, {.grad_outputs = {g}});
  CHECK(of(grads[0]) == Values{2, 4});
  CHECK(of(grads[1]) == Values{2, 4});
  CHECK(of(g) == Values{1, 2});
}

TEST_CASE("no_grad: nothing is recorded inside, also by exception, and scopes nest") {
  const Tensor x = leaf({1});
  try {
    const auto guard = sg::no_grad();
    CHECK_FALSE(sg::grad_enabled());
    CHECK_FALSE((x * 2.0).requires_grad());
    {
      const auto inner = sg::enable_grad();
      CHECK((x * 2.0).requires_grad());
    }
    CHECK_FALSE(sg::grad_enabled());
    throw 1;
  } catch (int) {
  }
  CHECK(sg::grad_enabled());
  CHECK((x * 2.0).requires_grad());
}

TEST_CASE("only what leads to a wanted gradient is worked for") {
  // The needs mask and the search for targets: a constant's product must not be computed.
  std::vector<bool> needs;
  int visits = 0;
  const auto probe = [&](const Tensor& a, const Tensor& b) {
    return sg::record("probe", {a, b}, a.detach(), {}, [&](const sg::Backward& context) {
      needs = context.needs;
      ++visits;
      return Tensors{context.grad(), context.needs[1] ? context.grad() : Tensor{}};
    });
  };
  const Tensor x = leaf({1}), w = leaf({2}), constant = sg::from<double>({3});
  sg::backward(probe(x, constant));
  CHECK(needs == std::vector<bool>{true, false});
  const Tensor y = probe(x, w);
  sg::grad(y, x, {.retain_graph = true});
  CHECK(needs == std::vector<bool>{true, false});  // w's gradient was not asked for
  sg::grad(y, w, {.retain_graph = true});
  CHECK(needs == std::vector<bool>{false, true});
  visits = 0;
  const Tensor other = leaf({1});
  sg::grad(Tensors{y, other * 2.0}, Tensors{other});
  CHECK(visits == 0);
  CHECK_FALSE(probe(constant, constant).requires_grad());
}

TEST_CASE("an output that nothing used counts with a zero gradient; an unused node is skipped") {
  const Tensor x = leaf({1, 2});
  const Tensor first = x.detach(), second = sg::square(x).detach();
  sg::record("two outputs", {x}, Tensors{first, second}, {},
             [](const sg::Backward& b) { return Tensors{b.grad(0) + b.grad(1)}; });
  sg::backward(sg::sum(second * 3.0));
  CHECK(of(x.grad()) == Values{3, 3});
}

TEST_CASE("a backward may leave gradients undefined; what hangs on them gets none") {
  const Tensor x = leaf({1}), y = leaf({1});
  const Tensor inner = y * 2.0;
  const Tensor z = sg::record("first only", {x, inner}, x.detach(), {}, [](const sg::Backward& b) {
    return Tensors{b.grad(), Tensor{}};
  });
  sg::backward(z);
  CHECK(of(x.grad()) == Values{1});
  CHECK_FALSE(y.grad().defined());
}

TEST_CASE("mistakes of the caller and of a backward formula are named") {
  const Tensor x = leaf({1, 2});
  const Tensor y = x * 2.0;
  CHECK_THROWS_WITH(sg::backward(y), ContainsSubstring("[2]") && ContainsSubstring("reduce it"));
  CHECK_THROWS_AS(sg::backward(y, sg::ones({3}, {sg::f64})), sg::ShapeError);
  CHECK_THROWS_WITH(sg::backward(y, sg::ones({2})), ContainsSubstring("f32"));
  CHECK_THROWS_WITH(sg::backward(Tensors{y}, Tensors{y, y}), ContainsSubstring("2 gradients"));
  CHECK_THROWS_WITH(sg::backward(sg::from<double>({1})), ContainsSubstring("does not depend"));
  CHECK_THROWS_WITH(sg::grad(Tensors{y}, Tensors{}), ContainsSubstring("no inputs"));
  CHECK_THROWS_AS(sg::grad(sg::sum(y), sg::from<double>({1})), sg::GradError);
  CHECK_THROWS_WITH((x * 1.0).requires_grad_(true), ContainsSubstring("detach"));

  const auto wrong = [&](const Tensors& gradients) {
    return sg::record("wrong", {x}, x.detach(), {},
                      [gradients](const sg::Backward&) { return gradients; });
  };
  const Tensor g = sg::ones({2}, {sg::f64});
  CHECK_THROWS_WITH(sg::backward(wrong({}), g), ContainsSubstring("0 gradients for 1 inputs"));
  CHECK_THROWS_WITH(sg::backward(wrong({sg::ones({3}, {sg::f64})}), g),
                    ContainsSubstring("f64[3]") && ContainsSubstring("f64[2]"));
  CHECK_THROWS_WITH(sg::backward(wrong({sg::ones({2})}), g), ContainsSubstring("f32[2]"));
}
