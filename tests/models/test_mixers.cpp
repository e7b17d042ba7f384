// What the recurrent mixers and the positions promise beyond what test_language_model.cpp asks of
// every layer.
#include <scangrad/autograd/grad_mode.h>
#include <scangrad/models/delta.h>
#include <scangrad/models/gru.h>
#include <scangrad/models/linear_attention.h>
#include <scangrad/models/matrix_positions.h>
#include <scangrad/models/ssm.h>
#include <scangrad/ops/creation.h>
#include <scangrad/ops/elementwise.h>
#include <scangrad/ops/join.h>
#include <scangrad/ops/matmul.h>
#include <scangrad/ops/random.h>
#include <scangrad/ops/reduce.h>
#include <scangrad/ops/shape.h>
#include <scangrad/tests/support/catch.h>

#include <functional>
#include <memory>

using namespace scangrad;

namespace {

constexpr std::int64_t batch = 2, width = 12, heads = 2;

double largest_difference(const Tensor& a, const Tensor& b) {
  REQUIRE(a.shape() == b.shape());
  return max(abs(a - b)).item<double>();
}

/// In float64, with parameters far from the initial ones.
template <class M>
void prepare(M& module) {
  module.to(DType::f64);
  Generator generator(3);
  const auto guard = no_grad();
  for (NamedTensor& p : module.named_parameters()) {
    copy_(p.tensor, normal(p.tensor.shape(), 0, 0.4, p.tensor.options(), &generator));
  }
}

Tensor some_input(std::int64_t length) {
  Generator generator(4);
  return randn({batch, length, width}, {DType::f64}, &generator);
}

std::vector<std::pair<std::string, std::unique_ptr<Layer>>> recurrent_mixers() {
  Generator generator(1);
  const MixerConfig config = {width, heads};
  std::vector<std::pair<std::string, std::unique_ptr<Layer>>> all;
  all.emplace_back("linear", std::make_unique<LinearAttention>(config, generator));
  all.emplace_back("ssm", std::make_unique<Ssm>(config, generator));
  all.emplace_back("gru", std::make_unique<Gru>(config, generator));
  all.emplace_back("delta", std::make_unique<Delta>(config, generator));
  for (auto& [name, layer] : all) prepare(*layer);
  return all;
}

/// Scores q'·k', (B, heads, T, T), of fixed queries and keys at the positions of x.
Tensor scores(const MatrixPositions& positions, const Tensor& x, const Tensor& queries_keys,
              Tensor state) {
  const Tensor turned = transpose(positions.forward(x, queries_keys, state), 1, 3);
  return matmul(select(turned, 2, 0), transpose(select(turned, 2, 1), -1, -2));
}

struct Positions {
  Positions() : positions(width, heads, 3, generator) { prepare(positions); }
  Generator generator = Generator(7);
  MatrixPositions positions;
  Tensor x = some_input(9);
  Tensor queries_keys = randn({batch, 9, 2, heads, width / heads}, {DType::f64}, &generator);
};

}  // namespace

TEST_CASE("across many chunks a mixer says what it says token by token",
          "[a step is the recurrence itself; chunks are how all tokens at once are computed]") {
  const auto guard = no_grad();
  const Tensor x = some_input(150);  // no multiple of any chunk
  for (auto& [name, mixer] : recurrent_mixers()) {
    CAPTURE(name);
    const Tensor whole = mixer->forward(x);
    LayerState state = mixer->initial_state(batch);
    Tensors pieces;
    for (std::int64_t t = 0; t < 150; ++t) {
      pieces.push_back(mixer->step(slice(x, 1, t, t + 1), state));
    }
    CHECK(largest_difference(cat(pieces, 1), whole) < 1e-11);
    LayerState other = mixer->initial_state(batch);
    const Tensor first = mixer->step(slice(x, 1, 0, 83), other);
    const Tensor second = mixer->step(slice(x, 1, 83), other);
    CHECK(largest_difference(cat({first, second}, 1), whole) < 1e-11);
    CHECK(largest_difference(other[0], state[0]) < 1e-11);
  }
}

TEST_CASE("a mixer forgets nothing at a chunk's edge", "[state must cross from chunk to chunk]") {
  const auto guard = no_grad();
  const Tensor x = some_input(70);
  Tensor changed = clone(x);
  Tensor at = slice(changed, 1, 60, 61);
  copy_(at, at * -1.0);
  for (auto& [name, mixer] : recurrent_mixers()) {
    CAPTURE(name);
    const Tensor before = slice(mixer->forward(x), 1, 64, 65);
    CHECK(largest_difference(before, slice(mixer->forward(changed), 1, 64, 65)) > 1e-6);
  }
}

TEST_CASE("matrix positions: a score depends on the tokens after s up to t alone",
          "[as relative positions do, with distances that the text decides]") {
  const auto guard = no_grad();
  const Positions p;
  const Tensor before = scores(p.positions, p.x, p.queries_keys, p.positions.initial_state(batch));
  const std::int64_t changed = 4;
  Tensor x = clone(p.x);
  Tensor at = slice(x, 1, changed, changed + 1);
  copy_(at, at * -1.0);
  const Tensor after = scores(p.positions, x, p.queries_keys, p.positions.initial_state(batch));
  for (std::int64_t t = 0; t < 9; ++t) {
    for (std::int64_t s = 0; s <= t; ++s) {
      CAPTURE(s, t);
      const auto pick = [&](const Tensor& all) { return select(select(all, 2, t), 2, s); };
      const double difference = largest_difference(pick(before), pick(after));
      if (s < changed && changed <= t) {
        CHECK(difference > 1e-3);
      } else {
        CHECK(difference < 1e-12);
      }
    }
  }
}

TEST_CASE("matrix positions: scores do not depend on the state that the text began with",
          "[a text may begin anywhere]") {
  const auto guard = no_grad();
  const Positions p;
  Tensor state = p.positions.initial_state(batch);
  const Tensor fresh = scores(p.positions, p.x, p.queries_keys, state);
  p.positions.forward(p.x, p.queries_keys, state);  // some other text came before
  CHECK(largest_difference(state, p.positions.initial_state(batch)) > 0.1);
  CHECK(largest_difference(fresh, scores(p.positions, p.x, p.queries_keys, state)) < 1e-12);
}

TEST_CASE("matrix positions keep lengths, and a fresh model has none",
          "[rotations; W_pos is zero at first]") {
  const auto guard = no_grad();
  const Positions p;
  Tensor state = p.positions.initial_state(batch);
  const Tensor turned = p.positions.forward(p.x, p.queries_keys, state);
  CHECK(largest_difference(turned, p.queries_keys) > 0.1);
  CHECK(largest_difference(norm(turned, 2, {-1}), norm(p.queries_keys, 2, {-1})) < 1e-12);
  Generator generator(1);
  MatrixPositions untrained(width, heads, 3, generator);
  untrained.to(DType::f64);
  state = untrained.initial_state(batch);
  CHECK(largest_difference(untrained.forward(p.x, p.queries_keys, state), p.queries_keys) == 0);
}

TEST_CASE("delta: a key written twice recalls the second value, others keep theirs",
          "[the delta rule replaces, where linear attention adds up]") {
  const auto guard = no_grad();
  Generator generator(1);
  Delta mixer({4, 1}, generator);
  mixer.to(DType::f64);
  // Keys and queries are channels 0 and 1 times 20 (one-hot after silu and scaling), values
  // channels 2 and 3; β is σ of 40 times the constant that the keys' channels sum to: 1.
  const auto set = [&](const std::string& name, const std::vector<double>& values) {
    for (NamedTensor& p : mixer.named_parameters()) {
      if (p.name == name) copy_(p.tensor, from<double>(values, p.tensor.shape()));
    }
  };
  std::vector<double> attn(12 * 4, 0.0);
  for (const int row : {0, 1, 4, 5}) attn[static_cast<std::size_t>(row * 4 + row % 4)] = 20;
  for (const int row : {10, 11}) attn[static_cast<std::size_t>(row * 4 + row % 4)] = 1;
  set("c_attn.weight", attn);
  set("c_beta.weight", {40, 40, 0, 0});
  set("c_proj.weight", eye(4).to_vector<double>());
  const Tensor x = from<double>({1, 0, 5, 0,   // key 0 is 5
                                 0, 1, 0, 7,   // key 1 is 7
                                 1, 0, -3, 0,  // key 0 is −3 instead
                                 0, 1, 0, 7},  // what key 1 is has not changed
                                {1, 4, 4});
  const auto y = mixer.forward(x).to_vector<double>();
  const std::vector<double> expected = {0, 0, 5, 0, 0, 0, 0, 7, 0, 0, -3, 0, 0, 0, 0, 7};
  for (std::size_t i = 0; i < 16; ++i) CHECK(y[i] == Approx(expected[i]).margin(1e-4));
}
