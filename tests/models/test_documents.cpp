// Documents packed into one sequence must be to the model what they are alone: else it learns to
// expect of a story what the one before it said.
#include <scangrad/autograd/engine.h>
#include <scangrad/autograd/grad_mode.h>
#include <scangrad/scangrad.h>
#include <scangrad/tests/support/catch.h>

#include <cmath>

using namespace scangrad;

namespace {

using Names = std::vector<std::string>;

constexpr std::int64_t mark = 6;  // begins a document

LanguageModelConfig tiny(const Names& layers, const std::string& scheme = "ldu") {
  LanguageModelConfig config;
  config.vocab_size = 7;
  config.width = 16;
  config.heads = 2;
  config.state_size = 2 * 2 * 2;
  config.layers = layers;
  config.scheme = scheme;
  config.document_start = mark;
  return config;
}

/// Every mixer, with positions that are relative.
std::vector<LanguageModelConfig> every_kind() {
  std::vector<LanguageModelConfig> all = {
      tiny({"mru", "mlp"}),    tiny({"mru", "mlp"}, "cayley"),
      tiny({"mru", "mlp"}),    tiny({"ssm", "mlp"}),
      tiny({"gru", "mlp"}),    tiny({"ssm", "attention", "mlp", "mru"}),
      tiny({"linear", "mlp"}), tiny({"delta", "mlp"})};
  all[2].normalize = "frobenius";
  for (const char* positions : {"none", "rope", "xpos", "mru"}) {
    all.push_back(tiny({"attention", "mlp", "attention"}));
    all.back().positions = positions;
  }
  return all;
}

std::string label(const LanguageModelConfig& config) {
  return config.layers[0] + " " + config.scheme + " " + config.positions + " " + config.normalize;
}

struct Model : LanguageModel {
  explicit Model(const LanguageModelConfig& config, Generator generator = Generator(1))
      : LanguageModel(config, generator) {
    to(DType::f64);
    Generator values(11);
    const auto guard = no_grad();
    for (NamedTensor& p : named_parameters()) {
      copy_(p.tensor, normal(p.tensor.shape(), 0, 0.3, p.tensor.options(), &values));
    }
  }
};

Tensor sequences(const std::vector<std::int64_t>& tokens, std::int64_t batch) {
  return from<std::int64_t>(tokens, {batch, static_cast<std::int64_t>(tokens.size()) / batch});
}

/// Documents of other lengths in each of two sequences; the first begins without a mark.
Tensor packed() {
  return sequences({1, 2, 3, mark, 4, 5, mark, 0, 1, 2, mark, 3, 3, 1, 0, mark, 2, 5, mark, mark},
                   2);
}

double largest_difference(const Tensor& a, const Tensor& b) {
  REQUIRE(a.shape() == b.shape());
  return max(abs(a - b)).item<double>();
}

}  // namespace

TEST_CASE("Packed documents have the logits that each has alone") {
  const auto guard = no_grad();
  for (const LanguageModelConfig& config : every_kind()) {
    CAPTURE(label(config));
    Model model(config);
    const Tensor tokens = packed();
    const Tensor together = model.forward(tokens);
    const auto values = tokens.to_vector<std::int64_t>();
    const std::int64_t length = tokens.size(1);
    for (std::int64_t row = 0; row < 2; ++row) {
      for (std::int64_t begin = 0, end = 1; begin < length; begin = end++) {
        const auto at = [&](std::int64_t t) {
          return values[static_cast<std::size_t>(row * length + t)];
        };
        while (end < length && at(end) != mark) ++end;
        const Tensor alone = slice(slice(tokens, 0, row, row + 1), 1, begin, end);
        CHECK(largest_difference(model.forward(alone),
                                 slice(slice(together, 0, row, row + 1), 1, begin, end)) < 1e-11);
      }
    }
  }
}

TEST_CASE("Without the option the same mark is a token like any other") {
  const auto guard = no_grad();
  for (LanguageModelConfig config : every_kind()) {
    CAPTURE(label(config));
    Model apart(config);
    config.document_start = -1;
    Model across(config);
    CHECK(largest_difference(apart.forward(packed()), across.forward(packed())) > 1e-6);
  }
}

TEST_CASE("Fed in pieces, documents are kept apart as they are at once") {
  const auto guard = no_grad();
  for (const LanguageModelConfig& config : every_kind()) {
    CAPTURE(label(config));
    Model model(config);
    const Tensor tokens = packed(), whole = model.forward(tokens);
    for (const auto& pieces :
         {std::vector<std::int64_t>(10, 1), std::vector<std::int64_t>{4, 3, 1, 2}}) {
      LanguageModelState state = model.initial_state(2);
      std::int64_t start = 0;
      for (const std::int64_t count : pieces) {
        const Tensor logits = model.step(slice(tokens, 1, start, start + count), state);
        CHECK(largest_difference(logits, slice(whole, 1, start, start + count)) < 1e-11);
        start += count;
      }
    }
  }
}

TEST_CASE("No gradient goes from a document to the one before it") {
  for (const LanguageModelConfig& config : every_kind()) {
    CAPTURE(label(config));
    Model model(config);
    // 4 and 5 stand in the first document only; the loss is of the second.
    const Tensor logits = model.forward(sequences({4, 5, 4, mark, 1, 2}, 1));
    // Not of 4 and 5 as outputs, since the embedding is both.
    backward(sum(square(slice(slice(logits, 1, 3), 2, 0, 4))));
    const Tensor gradient = model.named_parameters()[0].tensor.grad();  // (vocab, width)
    CHECK(max(abs(slice(gradient, 0, 4, 6))).item<double>() == 0);
    CHECK(max(abs(slice(gradient, 0, 1, 3))).item<double>() > 0);
  }
}

TEST_CASE("Documents that end anywhere in a chunk, or go on for several, are kept apart") {
  const auto guard = no_grad();
  for (const char* mixer : {"linear", "delta"}) {  // which work in chunks of 64 and 32
    CAPTURE(mixer);
    Model model(tiny({mixer, "mlp"}));
    std::vector<std::int64_t> tokens;
    for (const std::int64_t length : {1, 31, 1, 2, 29, 70, 128, 1, 40}) {
      tokens.push_back(mark);
      for (std::int64_t t = 1; t < length; ++t) tokens.push_back(t * t % 6);
    }
    const Tensor all = sequences(tokens, 1), together = model.forward(all);
    LanguageModelState state = model.initial_state(1), alone;
    for (std::int64_t t = 0; t < all.size(1); ++t) {
      const Tensor token = slice(all, 1, t, t + 1), here = slice(together, 1, t, t + 1);
      if (tokens[static_cast<std::size_t>(t)] == mark) alone = model.initial_state(1);
      CHECK(largest_difference(model.step(token, state), here) < 1e-11);
      CHECK(largest_difference(model.step(token, alone), here) < 1e-11);
    }
  }
}
