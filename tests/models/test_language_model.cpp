#include <scangrad/autograd/engine.h>
#include <scangrad/autograd/grad_mode.h>
#include <scangrad/core/error.h>
#include <scangrad/models/language_model.h>
#include <scangrad/models/mru_schemes.h>
#include <scangrad/ops/elementwise.h>
#include <scangrad/ops/join.h>
#include <scangrad/ops/loss.h>
#include <scangrad/ops/random.h>
#include <scangrad/ops/reduce.h>
#include <scangrad/ops/shape.h>
#include <scangrad/tests/support/catch.h>

#include <cmath>
#include <map>

using namespace scangrad;

namespace {

using Names = std::vector<std::string>;

constexpr std::int64_t vocab = 7, length = 8, batch = 2;

LanguageModelConfig tiny(const Names& layers) {
  LanguageModelConfig config;
  config.vocab_size = vocab;
  config.context = length;
  config.width = 16;
  config.heads = 2;
  config.state_size = 2 * 2 * 2;
  config.position_order = 4;
  config.layers = layers;
  return config;
}

/// One tiny model for every mixer, scheme and kind of positions, and a hybrid.
std::vector<LanguageModelConfig> every_kind() {
  std::vector<LanguageModelConfig> all;
  for (const std::string& scheme : mru_scheme_names()) {
    all.push_back(tiny({"mru", "mlp"}));
    all.back().scheme = scheme;
  }
  for (const char* positions : {"none", "learned", "rope", "xpos", "mru"}) {
    all.push_back(tiny({"attention", "mlp"}));
    all.back().positions = positions;
  }
  for (const char* mixer : {"linear", "ssm", "gru", "delta"}) {
    all.push_back(tiny({mixer, "mlp"}));
  }
  all.push_back(tiny({"mru", "attention", "mlp", "delta", "gru", "linear", "ssm"}));
  all.back().positions = "rope";
  return all;
}

std::string label(const LanguageModelConfig& config) {
  return config.layers[0] + " " + config.scheme + " " + config.positions;
}

/// Far from the initial values, where MRU is the identity and attention nearly uniform.
void randomise(LanguageModel& model) {
  Generator generator(11);
  const auto guard = no_grad();
  for (NamedTensor& p : model.named_parameters()) {
    copy_(p.tensor, normal(p.tensor.shape(), 0, 0.3, p.tensor.options(), &generator));
  }
}

struct Model : LanguageModel {
  explicit Model(const LanguageModelConfig& config, Generator generator = Generator(1))
      : LanguageModel(config, generator) {
    to(DType::f64);
    randomise(*this);
  }
};

Tensor some_tokens(std::int64_t count = length) {
  Generator generator(2);
  return randint(0, vocab, {batch, count}, {DType::i64}, &generator);
}

double largest_difference(const Tensor& a, const Tensor& b) {
  REQUIRE(a.shape() == b.shape());
  const auto x = a.to_vector<double>(), y = b.to_vector<double>();
  double largest = 0;
  for (std::size_t i = 0; i < x.size(); ++i) largest = std::max(largest, std::abs(x[i] - y[i]));
  return largest;
}

Tensor loss_of(LanguageModel& model, const Tensor& tokens) {
  const Tensor logits = model.forward(slice(tokens, 1, 0, length - 1));
  return cross_entropy(flatten(logits, 0, 1), flatten(slice(tokens, 1, 1)));
}

}  // namespace

TEST_CASE("logits do not depend on later tokens", "[a causal model; training would be cheating]") {
  const auto guard = no_grad();
  for (const LanguageModelConfig& config : every_kind()) {
    CAPTURE(label(config));
    Model model(config);
    const Tensor tokens = some_tokens();
    Tensor changed = clone(tokens);
    Tensor at = slice(changed, 1, 5, 6);
    copy_(at, cast(eq(at, 0.0), DType::i64));  // any other token
    const Tensor before = model.forward(tokens), after = model.forward(changed);
    CHECK(largest_difference(slice(before, 1, 0, 5), slice(after, 1, 0, 5)) < 1e-13);
    CHECK(largest_difference(slice(before, 1, 5), slice(after, 1, 5)) > 1e-3);
  }
}

TEST_CASE("later logits depend on earlier tokens through every mixer",
          "[memory works: without this the causal test could pass on an MLP]") {
  const auto guard = no_grad();
  for (const LanguageModelConfig& config : every_kind()) {
    CAPTURE(label(config));
    Model model(config);
    const Tensor tokens = some_tokens();
    Tensor changed = clone(tokens);
    Tensor at = slice(changed, 1, 0, 1);
    copy_(at, cast(eq(at, 0.0), DType::i64));
    const Tensor last = slice(model.forward(tokens), 1, length - 1);
    CHECK(largest_difference(last, slice(model.forward(changed), 1, length - 1)) > 1e-6);
  }
}

TEST_CASE("fed token by token or in pieces, the model says what it says of the whole",
          "[sampling must follow the distribution that was trained]") {
  const auto guard = no_grad();
  for (const LanguageModelConfig& config : every_kind()) {
    CAPTURE(label(config));
    Model model(config);
    const Tensor tokens = some_tokens();
    const Tensor whole = model.forward(tokens);
    for (const auto& pieces : {std::vector<std::int64_t>{1, 1, 1, 1, 1, 1, 1, 1}, {3, 1, 2, 2}}) {
      LanguageModelState state = model.initial_state(batch);
      std::int64_t start = 0;
      for (const std::int64_t count : pieces) {
        const Tensor logits = model.step(slice(tokens, 1, start, start + count), state);
        CHECK(largest_difference(logits, slice(whole, 1, start, start + count)) < 1e-11);
        start += count;
      }
      CHECK(state.position == length);
    }
  }
}

TEST_CASE("a recurrent mixer's state does not grow with the text",
          "[O(1) memory per token is its point]") {
  const std::map<std::string, std::int64_t> sizes = {
      {"mru", 2 * 2 * 2}, {"linear", 2 * 8 * 9}, {"ssm", 16}, {"gru", 16}, {"delta", 2 * 8 * 8}};
  for (const auto& [mixer, size] : sizes) {
    CAPTURE(mixer);
    Model model(tiny({mixer, "mlp"}));
    LanguageModelState state = model.initial_state(batch);
    const Shape fresh = state.layers[0][0].shape();
    model.step(some_tokens(), state);
    CHECK(state.layers[0].size() == 1);
    CHECK(state.layers[0][0].shape() == fresh);
    CHECK(fresh.numel() == batch * size);
  }
}

TEST_CASE("in bf16 every model says roughly what it says in f64",
          "[mixed precision; scans and states stay in f32]") {
  const auto guard = no_grad();
  for (const LanguageModelConfig& config : every_kind()) {
    CAPTURE(label(config));
    Generator generator(1);
    LanguageModel model(config, generator);
    const Tensor tokens = some_tokens();
    model.to(DType::f64);
    const Tensor exact = model.forward(tokens);
    // bf16 has 8 bits; some dozen roundings lie between a token and its logits.
    const double near = largest_difference(exact, zeros_like(exact)) / 32;
    model.to(DType::bf16);
    const Tensor logits = model.forward(tokens);
    CHECK(logits.dtype() == DType::bf16);
    CHECK(largest_difference(logits, exact) < near);
    LanguageModelState state = model.initial_state(batch);
    model.step(slice(tokens, 1, 0, 5), state);
    const Tensor rest = model.step(slice(tokens, 1, 5), state);
    CHECK(largest_difference(rest, slice(exact, 1, 5)) < near);
  }
}

TEST_CASE("gradients of a whole tiny model agree with finite differences",
          "[every layer's backward and the tied embedding, together, in float64]") {
  for (const LanguageModelConfig& config : every_kind()) {
    Model model(config);
    const Tensor tokens = some_tokens();
    backward(loss_of(model, tokens));
    Generator generator(4);
    for (NamedTensor& p : model.named_parameters()) {
      CAPTURE(label(config), p.name);
      REQUIRE(p.tensor.grad().defined());
      const Tensor direction = randn(p.tensor.shape(), p.tensor.options(), &generator);
      const auto guard = no_grad();
      const double slope = sum(p.tensor.grad() * direction).item<double>();
      const double h = 1e-5;
      add_(p.tensor, direction, h);
      const double above = loss_of(model, tokens).item<double>();
      add_(p.tensor, direction, -2 * h);
      const double below = loss_of(model, tokens).item<double>();
      add_(p.tensor, direction, h);
      CHECK(slope == Approx((above - below) / (2 * h)).epsilon(1e-5).margin(1e-8));
    }
  }
}

TEST_CASE("with bf16 activations a model says nearly the same, and its weights stay f32",
          "[mixed precision: every layer takes the dtype of its input]") {
  for (const LanguageModelConfig& config : every_kind()) {
    INFO(label(config));
    Generator generator(1);
    LanguageModel model(config, generator);
    const auto trace = [&](DType activations) {
      model.set_activations(activations);
      const Tensor logits = model.forward(some_tokens());
      CHECK(logits.dtype() == activations);
      for (NamedTensor& p : model.named_parameters()) p.tensor.set_grad({});
      backward(cross_entropy(reshape(logits, {-1, vocab}), reshape(some_tokens(), {-1})));
      LanguageModelState state = model.initial_state(batch);
      model.step(slice(some_tokens(), 1, 0, 3), state);
      const Tensor continued = model.step(slice(some_tokens(), 1, 3), state);
      return cat({flatten(logits), flatten(continued)}, 0);
    };
    const auto gradients = [&] {
      Tensors all;
      for (const NamedTensor& p : model.named_parameters()) {
        CHECK(p.tensor.grad().dtype() == DType::f32);
        all.push_back(flatten(p.tensor.grad()));
      }
      return cat(all, 0);
    };
    const Tensor exact = trace(DType::f32), exact_gradients = gradients();
    const Tensor rounded = trace(DType::bf16), rounded_gradients = gradients();
    const auto relative = [](const Tensor& a, const Tensor& b) {
      return norm(cast(a, DType::f32) - b).item<double>() / norm(b).item<double>();
    };
    CHECK(relative(rounded, exact) < 0.02);
    CHECK(relative(rounded_gradients, exact_gradients) < 0.05);
    CHECK(relative(rounded, exact) > 0);  // it did compute in bf16
  }
}

TEST_CASE("parameters have the names and the order of checkpoints",
          "[files written by other programs, and by us, are read by name]") {
  LanguageModelConfig config = tiny({"mru", "attention", "mlp"});
  config.positions = "learned";
  Names names;
  for (const NamedTensor& p : Model(config).named_parameters()) names.push_back(p.name);
  CHECK(names == Names{"transformer.wte.weight", "transformer.wpe.weight",
                       "transformer.h.0.ln.weight", "transformer.h.0.mru.w_in.weight",
                       "transformer.h.0.mru.w_down", "transformer.h.0.mru.w_out.weight",
                       "transformer.h.1.ln.weight", "transformer.h.1.attn.c_attn.weight",
                       "transformer.h.1.attn.c_proj.weight", "transformer.h.2.ln.weight",
                       "transformer.h.2.mlp.c_fc.weight", "transformer.h.2.mlp.c_proj.weight",
                       "transformer.ln_f.weight"});
}

TEST_CASE("the width-256 models have the expected numbers of parameters",
          "[counted by hand from the definitions, vocabulary 65]") {
  LanguageModelConfig config;
  config.vocab_size = 65;
  Generator generator(1);
  // Embedding and final norm; an MLP with its norm: 2 × 4 × 256² + 256.
  const std::int64_t base = 65 * 256 + 256, mlp = 8 * 256 * 256 + 256;
  const auto count = [&] { return LanguageModel(config, generator).parameter_count(); };
  config.layers = {"mlp", "mlp", "mlp", "mlp"};
  CHECK(count() == base + 4 * mlp);
  config.layers = {"attention", "mlp", "mlp", "mlp", "mlp"};
  CHECK(count() == base + 4 * mlp + 4 * 256 * 256 + 256);
  // Norm, W_in 256 × 256, W_down 4 × 8 × 8, W_out 256².
  config.layers[0] = "mru";
  CHECK(count() == base + 4 * mlp + 256 + 2 * 256 * 256 + 4 * 8 * 8);
  // A norm, queries, keys, values, output; β of each head; a gate, an input and an output; two maps
  // with biases for three gates, and an output.
  config.layers[0] = "linear";
  CHECK(count() == base + 4 * mlp + 256 + 4 * 256 * 256);
  config.layers[0] = "delta";
  CHECK(count() == base + 4 * mlp + 256 + 4 * 256 * 256 + 4 * 256);
  config.layers[0] = "ssm";
  CHECK(count() == base + 4 * mlp + 256 + 3 * 256 * 256);
  config.layers[0] = "gru";
  CHECK(count() == base + 4 * mlp + 256 + 7 * 256 * 256 + 6 * 256);
  // Beside attention's, 28 elements for each of the 32 chunks of 8 that the 4 heads have.
  config.layers[0] = "attention";
  config.positions = "mru";
  CHECK(count() == base + 4 * mlp + 256 + 4 * 256 * 256 + 32 * 28 * 256);
  config.layers[0] = "mru";
  // cayley takes 28 elements for each of the 4 heads.
  config.scheme = "cayley";
  CHECK(count() == base + 4 * mlp + 256 + 4 * 28 * 256 + 4 * 8 * 8 + 256 * 256);
}

TEST_CASE("a fresh model starts as defined",
          "[initial deviations decide how training goes; n_layers counts every mixer and MLP]") {
  LanguageModelConfig config = tiny({"mru", "mlp", "attention", "mlp"});
  config.width = 64;
  config.state_size = 0;
  config.heads = 4;
  config.vocab_size = 500;
  Generator generator(1);
  const LanguageModel model(config, generator);
  for (const NamedTensor& p : model.named_parameters()) {
    CAPTURE(p.name);
    const auto ends = [&](const std::string& end) {
      return p.name.size() >= end.size() && p.name.ends_with(end);
    };
    double squares = 0;
    for (const double x : p.tensor.to_vector<double>()) squares += x * x;
    const double deviation = std::sqrt(squares / static_cast<double>(p.tensor.numel()));
    double expected = 0.02;
    if (ends("c_proj.weight") || ends("w_out.weight")) expected = 0.02 / std::sqrt(4.0);
    if (ends("w_down")) expected = 0.02 * std::sqrt(4.0);
    if (ends("ln.weight") || ends("ln_f.weight")) expected = 1;
    if (ends("w_in.weight")) expected = 0;
    // A sample of n has a relative error of 1/√(2n).
    const double n = static_cast<double>(p.tensor.numel());
    CHECK(deviation == Approx(expected).epsilon(4 / std::sqrt(2 * n)).margin(1e-12));
  }
}

TEST_CASE("one generator state gives one model", "[a seed in config.json must mean the same run]") {
  const auto values = [](std::uint64_t seed) {
    Generator generator(seed);
    return LanguageModel(tiny({"mru", "attention"}), generator)
        .named_parameters()[0]
        .tensor.to_vector<float>();
  };
  CHECK(values(1) == values(1));
  CHECK(values(1) != values(2));
}

TEST_CASE("state_dict restores a model exactly", "[checkpoints]") {
  const auto guard = no_grad();
  for (const LanguageModelConfig& config : every_kind()) {
    CAPTURE(label(config));
    Model saved(config);
    Generator generator(99);
    LanguageModel restored(config, generator);
    restored.to(DType::f64);
    restored.load_state_dict(saved.state_dict());
    CHECK(largest_difference(restored.forward(some_tokens()), saved.forward(some_tokens())) == 0);
  }
}

TEST_CASE("dropout acts in training only and everywhere it should",
          "[evaluation must be deterministic; each mixer has its own dropout]") {
  for (const std::string& layer : layer_names()) {
    CAPTURE(layer);
    LanguageModelConfig config = tiny({layer});
    config.dropout = 0.5;
    Model model(config);
    const auto guard = no_grad();
    const Tensor tokens = some_tokens();
    CHECK(largest_difference(model.forward(tokens), model.forward(tokens)) > 1e-3);
    model.eval();
    CHECK(largest_difference(model.forward(tokens), model.forward(tokens)) == 0);
  }
  LanguageModelConfig config = tiny({"mlp"});
  config.dropout = 1;
  Generator generator(1);
  CHECK_THROWS_AS(LanguageModel(config, generator), ValueError);
}

TEST_CASE("names that do not exist are refused with those that do", "[a typo in a preset]") {
  Generator generator(1);
  LanguageModelConfig config = tiny({"mru", "lstm"});
  CHECK_THROWS_WITH(LanguageModel(config, generator),
                    ContainsSubstring("no layer is called lstm") &&
                        ContainsSubstring("mru, attention, linear, ssm, gru, delta, mlp"));
  config = tiny({"mru"});
  config.scheme = "qr";
  CHECK_THROWS_WITH(LanguageModel(config, generator), ContainsSubstring("no scheme is called qr"));
  config = tiny({"attention"});
  config.positions = "alibi";
  CHECK_THROWS_WITH(LanguageModel(config, generator),
                    ContainsSubstring("no positions are called alibi") &&
                        ContainsSubstring("none, learned, rope, xpos and mru"));
}

TEST_CASE("sizes that do not divide are refused, saying which", "[a typo in a preset]") {
  Generator generator(1);
  LanguageModelConfig config = tiny({"attention"});
  config.heads = 3;
  CHECK_THROWS_WITH(LanguageModel(config, generator),
                    ContainsSubstring("width 16 does not divide into 3 heads"));
  config = tiny({"mru"});
  config.state_size = 10;
  CHECK_THROWS_WITH(LanguageModel(config, generator),
                    ContainsSubstring("5 (10 over 2 heads) is not a square"));
  config.state_size = 9;
  CHECK_THROWS_WITH(LanguageModel(config, generator),
                    ContainsSubstring("state size 9 does not divide into 2 heads"));
  config.state_size = 2 * 3 * 3;
  CHECK_THROWS_WITH(LanguageModel(config, generator),
                    ContainsSubstring("width 16 does not divide into 2 heads of 3 rows"));
  config = tiny({"attention"});
  config.width = 18;
  config.heads = 2;
  config.positions = "rope";
  CHECK_THROWS_WITH(LanguageModel(config, generator), ContainsSubstring("heads of size 9"));
  config.width = 16;
  config.positions = "mru";
  config.position_order = 3;
  CHECK_THROWS_WITH(LanguageModel(config, generator),
                    ContainsSubstring("width 16 does not divide into 2 heads of chunks of 3"));
  config.position_order = 1;
  CHECK_THROWS_WITH(LanguageModel(config, generator), ContainsSubstring("chunks of 1 dimensions"));
  for (const char* layer : {"linear", "delta"}) {
    config = tiny({layer});
    config.heads = 3;
    CHECK_THROWS_WITH(LanguageModel(config, generator),
                      ContainsSubstring("width 16 does not divide into 3 heads"));
  }
  config = tiny({"mlp"});
  config.vocab_size = 0;
  CHECK_THROWS_WITH(LanguageModel(config, generator), ContainsSubstring("vocabulary size 0"));
}

TEST_CASE("a sequence longer than the learned positions is refused, at once or step by step",
          "[there is no embedding for what comes after]") {
  LanguageModelConfig config = tiny({"attention"});
  config.positions = "learned";
  Model model(config);
  CHECK_THROWS_AS(model.forward(some_tokens(length + 1)), ShapeError);
  CHECK_THROWS_WITH(model.forward(some_tokens(length + 1)),
                    ContainsSubstring("9 tokens are more than the 8 learned positions"));
  LanguageModelState state = model.initial_state(batch);
  model.step(some_tokens(length), state);
  CHECK_THROWS_AS(model.step(some_tokens(1), state), ShapeError);
  config.positions = "rope";
  Model longer(config);  // others know no limit
  CHECK(longer.forward(some_tokens(3 * length)).shape() == Shape{batch, 3 * length, vocab});
}

TEST_CASE("tokens outside the vocabulary and wrong ranks are refused", "[bad input, by name]") {
  Model model(tiny({"mru"}));
  CHECK_THROWS_AS(model.forward(from<std::int64_t>({0, 7}, {1, 2})), IndexError);
  CHECK_THROWS_WITH(model.forward(from<std::int64_t>({0, 1})), ContainsSubstring("tokens [2]"));
}
