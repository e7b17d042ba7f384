// Ten training steps against an independent PyTorch implementation: tests/golden/README.md says
// what the files hold and how they were made.
#include <scangrad/autograd/engine.h>
#include <scangrad/models/language_model.h>
#include <scangrad/models/mru_schemes.h>
#include <scangrad/ops/loss.h>
#include <scangrad/ops/shape.h>
#include <scangrad/tests/support/catch.h>
#include <scangrad/tests/support/devices.h>
#include <scangrad/train/optimizer.h>
#include <scangrad/train/param_groups.h>
#include <scangrad/train/safetensors.h>

#include <nlohmann/json.hpp>

#include <cmath>
#include <map>

using namespace scangrad;

namespace {

struct Golden {
  std::map<std::string, Tensor> tensors;
  nlohmann::json model;
  nlohmann::json training;
};

Golden read_golden(const std::string& name) {
  const TensorFile file =
      load_safetensors(std::string(SCANGRAD_SOURCE_DIR) + "/tests/golden/" + name + ".safetensors");
  Golden golden;
  for (const NamedTensor& entry : file.tensors) golden.tensors[entry.name] = entry.tensor;
  const auto config = nlohmann::json::parse(file.metadata.at("config"));
  golden.model = config.at("model");
  golden.training = config.at("training");
  return golden;
}

LanguageModelConfig config_of(const nlohmann::json& model) {
  LanguageModelConfig config;
  config.vocab_size = model.at("vocab_size");
  config.context = model.at("context_length");
  config.width = model.at("width");
  config.heads = model.value("heads", 1);
  config.layers = model.at("layers").get<std::vector<std::string>>();
  config.positions = model.value("positions", "none");
  config.position_order = model.value("position_order", 1);
  config.scheme = model.value("scheme", "identity");
  const std::int64_t order = model.value("order", 1);
  config.state_size = config.heads * order * order;
  return config;
}

/// ‖actual − expected‖ / ‖expected‖.
double normwise_error(const Tensor& actual, const Tensor& expected) {
  REQUIRE(actual.shape() == expected.shape());
  const auto a = actual.to_vector<double>(), e = expected.to_vector<double>();
  double difference = 0, norm = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    difference += (a[i] - e[i]) * (a[i] - e[i]);
    norm += e[i] * e[i];
  }
  return std::sqrt(difference / norm);
}

/// The largest deviations of ten steps from the reference.
struct Deviation {
  double loss = 0;
  double gradient = 0;
  double group_norm = 0;
  double parameter = 0;
};

Deviation train_and_compare(const std::string& name, DType dtype, Device device) {
  Golden golden = read_golden(name);
  Generator generator(1);
  LanguageModel model(config_of(golden.model), generator);
  model.to({dtype, device});
  NamedTensors initial;
  for (const NamedTensor& p : model.named_parameters()) {
    initial.push_back({p.name, golden.tensors.at("init." + p.name)});
  }
  model.load_state_dict(initial);
  const auto& training = golden.training;
  AdamW optimizer(language_model_groups(model.named_parameters(),
                                        {.context = golden.model.at("context_length")}),
                  {.beta1 = training.at("betas").at(0),
                   .beta2 = training.at("betas").at(1),
                   .eps = training.at("eps")});

  Deviation worst;
  const auto raise = [](double& to, double value) {
    to = std::isfinite(value) ? std::max(to, value) : HUGE_VAL;  // max would drop a NaN
  };
  const auto losses = golden.tensors.at("losses").to_vector<double>();
  const auto norms = golden.tensors.at("group_norms").to_vector<double>();
  const std::size_t steps = losses.size(), groups = norms.size() / steps;
  REQUIRE(steps == 10);
  REQUIRE(optimizer.group_count() == groups);
  for (std::size_t step = 0; step < steps; ++step) {
    const Tensor tokens =
        to(select(golden.tensors.at("tokens"), 0, static_cast<std::int64_t>(step)), device);
    const std::int64_t length = tokens.size(1) - 1;
    optimizer.zero_grad();
    const Tensor logits = model.forward(slice(tokens, 1, 0, length));
    const Tensor loss =
        cross_entropy(flatten(logits, 0, 1), flatten(slice(tokens, 1, 1, length + 1)));
    backward(loss);
    raise(worst.loss, std::abs(loss.item<double>() - losses[step]));
    if (step == 0 || step == steps - 1) {
      const std::string prefix = "grad." + std::to_string(step + 1) + ".";
      for (const NamedTensor& p : model.named_parameters()) {
        raise(worst.gradient, normwise_error(p.tensor.grad(), golden.tensors.at(prefix + p.name)));
      }
    }
    optimizer.step(training.at("lr"));
    for (std::size_t g = 0; g < groups; ++g) {
      const double expected = norms[step * groups + g];
      raise(worst.group_norm, std::abs(optimizer.gradient_norms()[g] - expected) / expected);
    }
  }
  for (const NamedTensor& p : model.named_parameters()) {
    raise(worst.parameter, normwise_error(p.tensor, golden.tensors.at("final." + p.name)));
  }
  return worst;
}

std::vector<std::pair<std::string, Device>> models_on_devices() {
  std::vector<std::pair<std::string, Device>> all;
  for (const Device device : devices()) {
    for (const std::string& scheme : reduced(mru_scheme_names(), {"ldu"})) {
      all.emplace_back("mru_" + scheme, device);
    }
    for (const std::string& name : reduced<std::string>(
             {"attention_none", "attention_learned", "attention_rope", "attention_xpos", "ffn"},
             {"attention_xpos", "ffn"})) {
      all.emplace_back(name, device);
    }
  }
  return all;
}

}  // namespace

TEST_CASE("ten float64 steps agree with PyTorch's to rounding",
          "[model, gradients, clipping, groups and AdamW are exactly what they are said to be]") {
  for (const auto& [name, device] : models_on_devices()) {
    CAPTURE(name, to_string(device));
    const Deviation worst = train_and_compare(name, DType::f64, device);
    CHECK(worst.loss < 1e-9);
    CHECK(worst.gradient < 1e-8);
    CHECK(worst.group_norm < 1e-8);
    CHECK(worst.parameter < 1e-8);
  }
}

TEST_CASE("ten float32 steps stay close to the float64 reference",
          "[the precision that training runs in]") {
  for (const auto& [name, device] : models_on_devices()) {
    CAPTURE(name, to_string(device));
    const Deviation worst = train_and_compare(name, DType::f32, device);
    CHECK(worst.loss < 1e-4);
    CHECK(worst.gradient < 1e-3);
    CHECK(worst.group_norm < 1e-3);
  }
}
