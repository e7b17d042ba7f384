// GPT-2's published weights must run here as they do elsewhere, and go back unchanged. The golden
// model is tiny and random, in Hugging Face's names and layout: tests/golden/make_gpt2.py.
#include <scangrad/autograd/grad_mode.h>
#include <scangrad/scangrad.h>
#include <scangrad/tests/support/catch.h>
#include <scangrad/train/files.h>
#include <scangrad/train/gpt2.h>
#include <scangrad/train/safetensors.h>

#include <cmath>
#include <filesystem>
#include <map>

namespace fs = std::filesystem;
using namespace scangrad;

namespace {

const fs::path golden = fs::path(SCANGRAD_SOURCE_DIR) / "tests/golden/gpt2";

fs::path fresh(const std::string& name) {
  const fs::path folder = fs::path("gpt2_test") / name;
  fs::remove_all(folder);
  fs::create_directories(folder);
  return folder;
}

/// The golden model, its tensors and configuration changed.
template <class Change>
fs::path changed(const std::string& name, const Change& change) {
  const fs::path folder = fresh(name);
  std::map<std::string, Tensor> tensors;
  for (const auto& [key, tensor] : load_safetensors(golden / "model.safetensors").tensors) {
    tensors[key] = tensor;
  }
  std::string config = read_file(golden / "config.json");
  change(tensors, config);
  NamedTensors list;
  for (const auto& [key, tensor] : tensors) list.push_back({key, tensor});
  save_safetensors(folder / "model.safetensors", list);
  write_file(folder / "config.json", config);
  return folder;
}

using TensorMap = std::map<std::string, Tensor>;

void replace(std::string& text, const std::string& what, const std::string& by) {
  const std::size_t at = text.find(what);
  REQUIRE(at != std::string::npos);
  text.replace(at, what.size(), by);
}

std::unique_ptr<LanguageModel> model_of(const fs::path& folder, DType dtype = DType::f64) {
  const PretrainedModel pretrained = load_gpt2(folder);
  Generator generator(1);
  auto model = std::make_unique<LanguageModel>(pretrained.config, generator);
  model->to(dtype);
  model->load_state_dict(pretrained.state);
  model->eval();
  return model;
}

double largest_difference(const Tensor& a, const Tensor& b) {
  REQUIRE(a.shape() == b.shape());
  return max(abs(cast(a, DType::f64) - cast(b, DType::f64))).item<double>();
}

struct Expected {
  Tensor tokens, logits;
};
Expected expected() {
  Expected result;
  for (const auto& [name, tensor] : load_safetensors(golden / "expected.safetensors").tensors) {
    (name == "tokens" ? result.tokens : result.logits) = tensor;
  }
  return result;
}

std::string refusal(const fs::path& folder) {
  try {
    model_of(folder);
  } catch (const Error& error) {
    return error.what();
  }
  return "accepted";
}

}  // namespace

TEST_CASE("Its logits are PyTorch's, at once and token by token") {
  const auto guard = no_grad();
  const auto [tokens, logits] = expected();
  const auto model = model_of(golden);
  CHECK(largest_difference(model->forward(tokens), logits) < 1e-12);
  LanguageModelState state = model->initial_state(tokens.size(0));
  for (std::int64_t t = 0; t < tokens.size(1); ++t) {
    const Tensor next = model->step(slice(tokens, 1, t, t + 1), state);
    CHECK(largest_difference(next, slice(logits, 1, t, t + 1)) < 1e-12);
  }
  CHECK(largest_difference(model_of(golden, DType::f32)->forward(tokens), logits) < 1e-4);
}

TEST_CASE("Files without the prefix, with the tied head, and without masks are the same model") {
  const auto guard = no_grad();
  const auto [tokens, logits] = expected();
  const fs::path folder = changed("other_names", [](TensorMap& tensors, std::string&) {
    TensorMap plain;
    for (const auto& [name, tensor] : tensors) {
      if (!name.ends_with(".attn.bias"))
        plain[name.substr(std::string("transformer.").size())] = tensor;
    }
    plain["lm_head.weight"] = plain.at("wte.weight");
    tensors = plain;
  });
  CHECK(largest_difference(model_of(folder)->forward(tokens), logits) < 1e-12);
}

TEST_CASE("Written back, every tensor is as it was read, but for the masks") {
  const fs::path folder = fresh("written");
  save_gpt2(folder, *model_of(golden, DType::f32));
  std::map<std::string, Tensor> before;
  for (const auto& [name, tensor] : load_safetensors(golden / "model.safetensors").tensors) {
    if (!name.ends_with(".attn.bias")) before[name] = tensor;
  }
  const TensorFile after = load_safetensors(folder / "model.safetensors");
  CHECK(after.metadata.at("format") == "pt");  // without which transformers refuses a file
  CHECK(after.tensors.size() == before.size());
  for (const auto& [name, tensor] : after.tensors) {
    CAPTURE(name);
    REQUIRE(before.contains(name));
    CHECK(largest_difference(tensor, before.at(name)) == 0);
  }
  const PretrainedModel again = load_gpt2(folder);
  CHECK(again.config.layers == load_gpt2(golden).config.layers);
  CHECK(again.config.gelu == "tanh");
}

TEST_CASE("A model of ours without biases and with the exact GELU is the same GPT-2 elsewhere") {
  const auto guard = no_grad();
  LanguageModelConfig config;
  config.vocab_size = 17;
  config.context = 10;
  config.width = 12;
  config.heads = 2;
  config.layers = {"attention", "mlp", "attention", "mlp"};
  config.positions = "learned";
  Generator generator(3);
  LanguageModel model(config, generator);
  model.eval();
  const fs::path folder = fresh("no_bias");
  save_gpt2(folder, model);
  const Tensor tokens = expected().tokens;
  CHECK(largest_difference(model_of(folder, DType::f32)->forward(tokens), model.forward(tokens)) ==
        0);
  for (const auto& layers : std::vector<std::vector<std::string>>{
           {"linear", "mlp"}, {"attention"}, {"mlp", "attention"}, {}}) {
    config.layers = layers;
    CHECK_THROWS_WITH(save_gpt2(folder, LanguageModel(config, generator)),
                      ContainsSubstring("its layers are attention and mlp in turn"));
  }
}

TEST_CASE("A model that is not GPT-2's is refused, and what differs is named") {
  const auto with_config = [](const std::string& what, const std::string& by) {
    return refusal(
        changed("refused", [&](TensorMap&, std::string& text) { replace(text, what, by); }));
  };
  CHECK_THAT(with_config("\"gpt2\"", "\"llama\""), ContainsSubstring("model_type is \"llama\""));
  CHECK_THAT(with_config("gelu_new", "relu"), ContainsSubstring("activation_function is \"relu\""));
  CHECK_THAT(with_config("1e-05", "1e-6"), ContainsSubstring("layer_norm_epsilon is 1e-06"));
  CHECK_THAT(with_config("\"n_inner\": null", "\"n_inner\": 5"), ContainsSubstring("n_inner is 5"));
  CHECK_THAT(with_config("\"n_head\": 3", "\"n_head\": 5"), ContainsSubstring("5 heads"));
  for (const char* number : {"0", "-1", "\"2\"", "1.5", "1e99"}) {
    CHECK_THAT(with_config("\"n_layer\": 2", std::string("\"n_layer\": ") + number),
               ContainsSubstring("n_layer must be a positive integer"));
  }
  CHECK_THAT(with_config("\"n_layer\": 2", "\"n_layer\": 2000000"), ContainsSubstring("too large"));
  CHECK_THAT(with_config("\"n_layer\": 2", "\"n_layer\": 3"),
             ContainsSubstring("transformer.h.4.ln.weight"));  // is missing
  CHECK_THAT(with_config("\"n_layer\": 2", "\"n_layer\": 1"),
             ContainsSubstring("transformer.h.1.attn.c_attn.bias is no tensor of a GPT-2 of 1"));
  CHECK_THAT(with_config("\"vocab_size\": 17", "\"vocab_size\": 18"),
             ContainsSubstring("transformer.wte.weight"));
  CHECK_THAT(with_config("{", "["), ContainsSubstring("config.json: not a JSON object"));

  const auto with_tensor = [](const std::string& name, const Tensor& tensor) {
    return refusal(
        changed("refused", [&](TensorMap& tensors, std::string&) { tensors[name] = tensor; }));
  };
  CHECK_THAT(with_tensor("lm_head.weight", zeros({17, 12})),
             ContainsSubstring("lm_head.weight differs from wte.weight"));
  CHECK_THAT(with_tensor("lm_head.weight", zeros({3})),
             ContainsSubstring("lm_head.weight differs"));
  CHECK_THAT(with_tensor("transformer.h.0.attn.c_attn.weight", zeros({36, 12})),
             ContainsSubstring("transformer.h.0.attn.c_attn.weight"));
  CHECK_THAT(with_tensor("classifier.weight", zeros({3})),
             ContainsSubstring("classifier.weight is no tensor"));
  CHECK_THROWS_AS(load_gpt2("nowhere"), IoError);
}
