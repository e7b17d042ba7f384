#include <scangrad/core/format.h>
#include <scangrad/core/random.h>
#include <scangrad/train/checkpoint.h>
#include <scangrad/train/evaluate.h>
#include <scangrad/train/open_run.h>

#include <cmath>

namespace scangrad {

namespace fs = std::filesystem;

Device device_of(const RunConfig& config) {
  check<ValueError>(config.device == "cpu" || config.device == "cuda",
                    "config: device '{}' does not exist; use cpu or cuda", config.device);
  return config.device == "cpu" ? Device::cpu() : Device::cuda();
}

std::unique_ptr<LanguageModel> make_model(const RunConfig& config) {
  Generator generator(stream_seed(config.seed, Stream::weights));
  auto model = std::make_unique<LanguageModel>(config.model, generator);
  model->to(device_of(config));
  return model;
}

RunConfig read_run_config(const fs::path& folder) {
  check<IoError>(fs::exists(folder / "config.json"), "{} holds no run: there is no config.json",
                 folder.string());
  return load_run_config(folder / "config.json");
}

std::shared_ptr<const Tokenizer> read_run_tokenizer(const fs::path& folder) {
  const fs::path path = folder / "tokenizer.json";
  return fs::exists(path) ? load_tokenizer(path) : nullptr;
}

std::int64_t load_run_weights(const fs::path& folder, LanguageModel& model) {
  const auto checkpoint = latest_checkpoint(folder);
  check<IoError>(checkpoint.has_value(), "{} has no checkpoint yet: its training was cut off early",
                 folder.string());
  return load_checkpoint(*checkpoint, model).step;
}

OpenRun open_run(const fs::path& folder) {
  OpenRun run;
  run.config = read_run_config(folder);
  run.tokenizer = read_run_tokenizer(folder);
  run.model = make_model(run.config);
  run.step = load_run_weights(folder, *run.model);
  run.model->eval();
  return run;
}

Metrics evaluate_run(LanguageModel& model, const RunData& data, const RunConfig& config) {
  Metrics metrics;
  for (const auto& dataset : data.validation) {
    const Evaluation e = scangrad::evaluate(model, *dataset, config.validation_batch);
    if (metrics.empty()) {
      metrics.emplace_back("val_loss", e.loss);
      const double norm = log10_state_norm(model, *dataset, config.validation_batch);
      if (!std::isnan(norm)) metrics.emplace_back("log10_state_norm", norm);
    }
    if (config.data.kind != "words") continue;
    metrics.emplace_back(fmt::format("accuracy_{}", dataset->length()), e.accuracy);
    metrics.emplace_back(fmt::format("last_accuracy_{}", dataset->length()), e.last_accuracy);
  }
  return metrics;
}

}  // namespace scangrad
