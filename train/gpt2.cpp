#include <scangrad/core/format.h>
#include <scangrad/ops/creation.h>
#include <scangrad/ops/elementwise.h>
#include <scangrad/ops/reduce.h>
#include <scangrad/ops/shape.h>
#include <scangrad/train/files.h>
#include <scangrad/train/gpt2.h>
#include <scangrad/train/safetensors.h>

#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include <cstdint>
#include <map>
#include <vector>

namespace scangrad {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

const std::string prefix = "transformer.";

bool is_mask(const std::string& name) {
  return name.ends_with(".attn.bias") || name.ends_with(".attn.masked_bias");
}

/// A tensor under both names, without the prefix.
struct Entry {
  std::string theirs, ours;
  bool transposed = false;  // a linear weight
};

std::vector<Entry> entries(std::size_t layers) {
  struct Part {
    const char *theirs, *ours;
    std::size_t layer;  // of ours: attention or MLP
    bool is_linear;
  };
  constexpr Part parts[] = {{"ln_1", "ln", 0, false},
                            {"attn.c_attn", "attn.c_attn", 0, true},
                            {"attn.c_proj", "attn.c_proj", 0, true},
                            {"ln_2", "ln", 1, false},
                            {"mlp.c_fc", "mlp.c_fc", 1, true},
                            {"mlp.c_proj", "mlp.c_proj", 1, true}};
  std::vector<Entry> all = {{"wte.weight", "wte.weight"}, {"wpe.weight", "wpe.weight"}};
  for (std::size_t i = 0; i < layers; ++i) {
    for (const Part& part : parts) {
      const std::string theirs = fmt::format("h.{}.{}", i, part.theirs);
      const std::string ours = fmt::format("h.{}.{}", 2 * i + part.layer, part.ours);
      all.push_back({theirs + ".weight", ours + ".weight", part.is_linear});
      all.push_back({theirs + ".bias", ours + ".bias"});
    }
  }
  all.insert(all.end(), {{"ln_f.weight", "ln_f.weight"}, {"ln_f.bias", "ln_f.bias"}});
  return all;
}

/// What there must be, and what this library's GPT-2 can only be.
LanguageModelConfig read_config(const fs::path& path) {
  const std::string name = path.string();
  const Json json = Json::parse(read_file(path), nullptr, /*allow_exceptions=*/false);
  check<IoError>(json.is_object(), "{}: not a JSON object", name);
  check<ValueError>(json.value("model_type", Json()) == "gpt2",
                    "{}: model_type is {}; only gpt2 can be read", name,
                    json.value("model_type", Json()).dump());
  const auto size = [&](const char* key) {
    check<ValueError>(json.contains(key) && json[key].is_number_unsigned() && json[key] > 0 &&
                          json[key] <= INT32_MAX,
                      "{}: {} must be a positive integer, below 2^31", name, key);
    return json[key].get<std::int64_t>();
  };
  LanguageModelConfig config;
  config.vocab_size = size("vocab_size");
  config.context = size("n_positions");
  config.width = size("n_embd");
  config.heads = size("n_head");
  config.layers.clear();
  check<ValueError>(size("n_layer") <= 10'000, "{}: n_layer is too large", name);
  for (std::int64_t i = size("n_layer"); i > 0; --i) {
    config.layers.insert(config.layers.end(), {"attention", "mlp"});
  }
  config.positions = "learned";
  config.bias = true;
  const Json activation = json.value("activation_function", Json("gelu_new"));
  config.gelu = activation == "gelu" ? "erf" : "tanh";
  const auto only = [&](const char* key, const Json& value) {
    const Json found = json.value(key, value);
    check<ValueError>(found == value, "{}: {} is {}; only {} can be read", name, key, found.dump(),
                      value.dump());
  };
  if (activation != "gelu" && activation != "gelu_pytorch_tanh") {
    only("activation_function", "gelu_new");
  }
  only("layer_norm_epsilon", 1e-5);
  only("scale_attn_weights", true);
  only("scale_attn_by_inverse_layer_idx", false);
  only("tie_word_embeddings", true);
  only("add_cross_attention", false);
  if (json.contains("n_inner") && json["n_inner"] != 4 * config.width) only("n_inner", nullptr);
  const Json dropout = json.value("resid_pdrop", Json(0.1));
  if (dropout.is_number()) config.dropout = dropout.get<double>();
  return config;
}

}  // namespace

PretrainedModel load_gpt2(const fs::path& folder) {
  PretrainedModel model = {read_config(folder / "config.json"), {}};
  std::map<std::string, Entry> entry_of;
  for (Entry& entry : entries(model.config.layers.size() / 2)) {
    const std::string name = entry.theirs;
    entry_of[name] = std::move(entry);
  }
  const fs::path file = folder / "model.safetensors";
  Tensor embedding, head;
  for (const auto& [full_name, tensor] : load_safetensors(file, is_mask).tensors) {
    const bool prefixed = full_name.starts_with(prefix);
    const std::string name = prefixed ? full_name.substr(prefix.size()) : full_name;
    if (is_mask(name)) continue;
    if (name == "wte.weight") embedding = tensor;
    if (name == "lm_head.weight") {
      head = tensor;
      continue;
    }
    const auto found = entry_of.find(name);
    check<ValueError>(found != entry_of.end(), "{}: {} is no tensor of a GPT-2 of {} layers",
                      file.string(), full_name, model.config.layers.size() / 2);
    const bool transposed = found->second.transposed && tensor.rank() == 2;
    model.state.push_back(
        {prefix + found->second.ours, transposed ? transpose(tensor, 0, 1) : tensor});
  }
  const bool both = head.defined() && embedding.defined();
  check<ValueError>(
      !both || (head.shape() == embedding.shape() && all(eq(head, embedding)).item<bool>()),
      "{}: lm_head.weight differs from wte.weight; here they are one", file.string());
  return model;
}

void save_gpt2(const fs::path& folder, const LanguageModel& model) {
  const LanguageModelConfig& config = model.config();
  const std::size_t layers = config.layers.size() / 2;
  bool in_turn = layers > 0 && config.layers.size() == 2 * layers;
  for (std::size_t i = 0; i < config.layers.size(); ++i) {
    in_turn = in_turn && config.layers[i] == (i % 2 == 0 ? "attention" : "mlp");
  }
  check<ValueError>(in_turn && config.positions == "learned",
                    "GPT-2: its layers are attention and mlp in turn and its positions learned, "
                    "not {} with positions {}",
                    fmt::join(config.layers, ", "), config.positions);

  std::map<std::string, Tensor> state;
  for (const auto& [name, tensor] : model.state_dict()) state[name] = tensor;
  NamedTensors tensors;
  for (const Entry& entry : entries(layers)) {
    const auto found = state.find(prefix + entry.ours);
    Tensor value;
    if (found != state.end()) {
      value = entry.transposed ? transpose(found->second, 0, 1) : found->second;
    } else {  // a bias, as long as the first dimension of our weight
      const std::string module = entry.ours.substr(0, entry.ours.rfind('.'));
      const Tensor& weight = state.at(prefix + module + ".weight");
      value = zeros({weight.size(0)}, weight.options());
    }
    tensors.push_back({prefix + entry.theirs, value});
  }
  const Json json = {{"model_type", "gpt2"},
                     {"architectures", Json::array({"GPT2LMHeadModel"})},
                     {"activation_function", config.gelu == "erf" ? "gelu" : "gelu_new"},
                     {"vocab_size", config.vocab_size},
                     {"n_positions", config.context},
                     {"n_embd", config.width},
                     {"n_layer", layers},
                     {"n_head", config.heads},
                     {"n_inner", nullptr},
                     {"layer_norm_epsilon", 1e-5},
                     {"attn_pdrop", config.dropout},
                     {"embd_pdrop", config.dropout},
                     {"resid_pdrop", config.dropout}};
  save_safetensors(folder / "model.safetensors", tensors, {{"format", "pt"}});
  write_file(folder / "config.json", json.dump(2) + "\n");
}

}  // namespace scangrad
