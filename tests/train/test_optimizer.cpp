// Optimizers follow PyTorch's formulas, here written out once more in double, one value at a time;
// groups, clipping and accumulation do what the models' recipe (parameter groups) relies on.
#include <scangrad/scangrad.h>
#include <scangrad/tests/support/catch.h>
#include <scangrad/train/optimizer.h>

#include <cmath>

using namespace scangrad;

namespace {

/// A parameter with these values.
Tensor parameter(const std::vector<double>& values, DType dtype = DType::f64) {
  return cast(from<double>(values), dtype).requires_grad_(true);
}

/// Adds `values` to the parameter's gradient, as a backward pass does.
void add_gradient(const Tensor& p, const std::vector<double>& values) {
  backward(sum(p * cast(from<double>(values), p.dtype())));
}

std::vector<ParameterGroup> one_group(const Tensor& p, double decay = 0, double clip = 0) {
  return {{"all", {{"p", p}}, 1.0, decay, clip}};
}

const std::vector<double> start = {0.5, -1.25, 2.0, 0.0};

/// A different gradient for every step.
std::vector<double> gradient_at(int step) {
  std::vector<double> g;
  for (int i = 0; i < 4; ++i) g.push_back(std::sin(1.7 * step + i) * (i + 0.5));
  return g;
}

void check_close(const Tensor& tensor, const std::vector<double>& expected, double tolerance) {
  const auto values = tensor.to_vector<double>();
  REQUIRE(values.size() == expected.size());
  for (std::size_t i = 0; i < values.size(); ++i) {
    CHECK(std::abs(values[i] - expected[i]) <= tolerance * (1 + std::abs(expected[i])));
  }
}

/// PyTorch's AdamW in double.
std::vector<double> reference_adamw(int steps, double rate, double decay) {
  std::vector<double> p = start, m(4), v(4);
  for (int t = 1; t <= steps; ++t) {
    const auto g = gradient_at(t);
    for (std::size_t i = 0; i < 4; ++i) {
      p[i] -= rate * decay * p[i];
      m[i] = 0.9 * m[i] + 0.1 * g[i];
      v[i] = 0.99 * v[i] + 0.01 * g[i] * g[i];
      const double m_hat = m[i] / (1 - std::pow(0.9, t)), v_hat = v[i] / (1 - std::pow(0.99, t));
      p[i] -= rate * m_hat / (std::sqrt(v_hat) + 1e-8);
    }
  }
  return p;
}

}  // namespace

TEST_CASE("AdamW: bias-corrected moments and decoupled decay, in every floating dtype") {
  const auto expected = reference_adamw(20, 0.01, 0.1);
  for (const auto& [dtype, tolerance] :
       {std::pair{DType::f64, 1e-13}, std::pair{DType::f32, 2e-6}, std::pair{DType::bf16, 0.1}}) {
    const Tensor p = parameter(start, dtype);
    AdamW optimizer(one_group(p, 0.1));
    for (int t = 1; t <= 20; ++t) {
      optimizer.zero_grad();
      add_gradient(p, gradient_at(t));
      optimizer.step(0.01);
    }
    check_close(p, expected, tolerance);
  }
}

TEST_CASE("AdamW keeps the moments of bf16 parameters in f32, where small steps add up") {
  const Tensor p = parameter(start, DType::bf16);
  const AdamW optimizer(one_group(p));
  for (const auto& [name, tensor] : optimizer.state_dict()) {
    if (name != "step") CHECK(tensor.dtype() == DType::f32);
  }
}

TEST_CASE("SGD: plain, with momentum and with Nesterov's momentum") {
  for (const bool nesterov : {false, true}) {
    for (const double momentum : {0.0, 0.9}) {
      if (nesterov && momentum == 0) continue;
      const Tensor p = parameter(start);
      Sgd optimizer(one_group(p, 0.1), {momentum, nesterov});
      std::vector<double> expected = start, b(4);
      for (int t = 1; t <= 10; ++t) {
        optimizer.zero_grad();
        add_gradient(p, gradient_at(t));
        optimizer.step(0.05);
        const auto g = gradient_at(t);
        for (std::size_t i = 0; i < 4; ++i) {
          const double total = g[i] + 0.1 * expected[i];
          b[i] = momentum * b[i] + total;
          expected[i] -= 0.05 * (nesterov ? total + momentum * b[i] : b[i]);
        }
      }
      check_close(p, expected, 1e-13);
    }
  }
}

TEST_CASE("Each group is clipped by its own total norm, and has its own rate and decay") {
  const Tensor a = parameter({3.0}), b = parameter({4.0}), c = parameter({1.0});
  Sgd optimizer(
      {{"far", {{"a", a}, {"b", b}}, 1.0, 0.0, 1.0}, {"near", {{"c", c}}, 10.0, 0.5, 1.0}});
  add_gradient(a, {30.0});
  add_gradient(b, {40.0});
  add_gradient(c, {0.25});
  optimizer.step(0.1);
  // far: norm 50 is scaled to 1 (over the tensors together); near: norm 0.25 is left alone.
  CHECK(optimizer.gradient_norms()[0] == Approx(50.0));
  CHECK(optimizer.gradient_norms()[1] == Approx(0.25));
  CHECK(a.item<double>() == Approx(3.0 - 0.1 * 30.0 / (50.0 + 1e-6)).epsilon(1e-14));
  CHECK(b.item<double>() == Approx(4.0 - 0.1 * 40.0 / (50.0 + 1e-6)).epsilon(1e-14));
  CHECK(c.item<double>() == Approx(1.0 - 0.1 * 10.0 * (0.25 + 0.5)).epsilon(1e-14));
}

TEST_CASE("The norm of a large group does not depend on the number of threads") {
  std::vector<double> values(300'001);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = std::sin(static_cast<double>(i));
  const int usual = num_threads();
  std::vector<double> norms;
  for (const int threads : {1, 2, 3}) {
    set_num_threads(threads);
    const Tensor p = parameter(std::vector<double>(values.size()), DType::f32);
    Sgd optimizer(one_group(p));
    add_gradient(p, values);
    optimizer.step(0.1);
    norms.push_back(optimizer.gradient_norms()[0]);
  }
  set_num_threads(usual);
  double total = 0;
  for (double v : values) total += v * v;
  CHECK(norms[0] == Approx(std::sqrt(total)).epsilon(1e-7));
  CHECK(norms[1] == norms[0]);
  CHECK(norms[2] == norms[0]);
}

TEST_CASE("Backward passes before a step accumulate in the bucket; zero_grad starts again") {
  const Tensor p = parameter(start);
  Sgd optimizer(one_group(p));
  const void* bucket = p.grad().raw_data();
  for (int round = 0; round < 2; ++round) {
    optimizer.zero_grad();
    add_gradient(p, {1, 2, 3, 4});
    add_gradient(p, {1, 0, 0, -4});
    CHECK(p.grad().to_vector<double>() == std::vector<double>{2, 2, 3, 0});
    CHECK(p.grad().raw_data() == bucket);  // added in place: nothing was allocated
  }
}

TEST_CASE("A gradient set or dropped by hand between steps is respected") {
  Tensor p = parameter(start);
  Sgd optimizer(one_group(p));
  p.set_grad(from<double>({1, 1, 1, 1}));
  optimizer.step(0.5);
  check_close(p, {0.0, -1.75, 1.5, -0.5}, 1e-15);
  p.set_grad({});
  optimizer.step(0.5);
  check_close(p, {0.0, -1.75, 1.5, -0.5}, 1e-15);
}

TEST_CASE("Frozen and empty parameters are left alone") {
  const Tensor p = parameter(start), frozen = from<double>({7.0});
  const Tensor none = zeros({0, 3}).requires_grad_(true);
  AdamW optimizer({{"a", {{"p", p}, {"frozen", frozen}}, 1.0, 0.1, 1.0}, {"b", {{"none", none}}}});
  CHECK(optimizer.group_count() == 1);
  add_gradient(p, {1, 1, 1, 1});
  optimizer.step(0.1);
  CHECK(frozen.item<double>() == 7.0);
}

TEST_CASE("An optimizer restored from its state goes on bit for bit") {
  const Tensor p = parameter(start, DType::f32), q = parameter(start, DType::f32);
  AdamW whole(one_group(p, 0.1, 1.0));
  const auto run = [](AdamW& optimizer, const Tensor& x, int first, int last) {
    for (int t = first; t <= last; ++t) {
      optimizer.zero_grad();
      add_gradient(x, gradient_at(t));
      optimizer.step(0.01);
    }
  };
  run(whole, p, 1, 10);

  AdamW before(one_group(q, 0.1, 1.0));
  run(before, q, 1, 5);
  NamedTensors saved;
  for (const auto& [name, tensor] : before.state_dict()) {
    saved.push_back(
        {name, tensor.dtype() == DType::i64
                   ? from<std::int64_t>(tensor.to_vector<std::int64_t>(), tensor.shape())
                   : from<float>(tensor.to_vector<float>(), tensor.shape())});
  }
  AdamW after(one_group(q, 0.1, 1.0));
  after.load_state_dict(saved);
  CHECK(after.steps() == 5);
  run(after, q, 6, 10);
  CHECK(p.to_vector<float>() == q.to_vector<float>());
}

TEST_CASE("A state that does not fit is refused by name, and nothing is changed") {
  const Tensor p = parameter(start);
  AdamW optimizer(one_group(p));
  add_gradient(p, {1, 1, 1, 1});
  optimizer.step(0.1);
  NamedTensors state = optimizer.state_dict();
  state[1].tensor = zeros({5}, {DType::f64});
  CHECK_THROWS_WITH(optimizer.load_state_dict(state),
                    ContainsSubstring("'p.exp_avg' is [5], but [4] is needed"));
  state.erase(state.begin() + 1);
  CHECK_THROWS_WITH(optimizer.load_state_dict(state), ContainsSubstring("has no 'p.exp_avg'"));
  state = optimizer.state_dict();
  state.push_back({"other", ones({1})});
  CHECK_THROWS_AS(optimizer.load_state_dict(state), ValueError);
  CHECK(optimizer.state_dict()[1].tensor.to_vector<double>()[0] == Approx(0.1));
}

TEST_CASE("Groups that cannot be updated together are refused") {
  const Tensor p = parameter(start), q = parameter(start, DType::f32);
  CHECK_THROWS_WITH(AdamW({{"g", {{"p", p}, {"q", q}}}}),
                    ContainsSubstring("'g' mixes f64 and f32"));
  CHECK_THROWS_WITH(AdamW({{"g", {{"p", p}}}, {"h", {{"p", p}}}}),
                    ContainsSubstring("'p' is given twice"));
  CHECK_THROWS_AS(AdamW(one_group(p), {1.0, 0.99, 1e-8}), ValueError);
  CHECK_THROWS_AS(Sgd(one_group(p), {0.0, true}), ValueError);
}

TEST_CASE("A tensor under two names, or parameters that overlap, would be updated twice: refused") {
  const Tensor p = parameter(start);
  CHECK_THROWS_WITH(AdamW({{"g", {{"wte", p}, {"lm_head", p}}}}),
                    ContainsSubstring("'wte' and 'lm_head' share memory"));
  CHECK_THROWS_AS(AdamW({{"g", {{"a", p}}}, {"h", {{"b", p}}}}), ValueError);

  const Tensor whole = from<double>({1, 2, 3, 4});
  const auto part = [&](std::int64_t size, std::int64_t first) {
    return whole.as_strided({size}, {1}, first).requires_grad_(true);
  };
  CHECK_THROWS_WITH(Sgd({{"g", {{"a", part(2, 0)}, {"b", part(2, 1)}}}}),
                    ContainsSubstring("'a' and 'b' share memory"));
  Sgd side_by_side({{"g", {{"a", part(2, 2)}, {"b", part(2, 0)}}}});  // each has its own
  const Tensor frozen = whole.detach();
  Sgd with_frozen({{"g", {{"a", part(2, 0)}, {"frozen", frozen}}}});  // is not updated
}

TEST_CASE("An update in place is noticed by a graph that saved the old value") {
  const Tensor p = parameter(start);
  Sgd optimizer(one_group(p));
  const Tensor y = sum(square(p));
  optimizer.step(0.1);
  CHECK_THROWS_AS(backward(y), GradError);
}
