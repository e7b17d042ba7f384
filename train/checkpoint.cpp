#include <scangrad/core/format.h>
#include <scangrad/train/checkpoint.h>
#include <scangrad/train/files.h>
#include <scangrad/train/safetensors.h>

#include <nlohmann/json.hpp>

#include <charconv>
#include <cmath>
#include <string>
#include <vector>

namespace scangrad {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr const char* temporary = ".unfinished";

/// N of `step-N`, or nothing for another name.
std::optional<std::int64_t> step_of(const fs::path& folder) {
  const std::string name = folder.filename().string();
  if (!name.starts_with("step-")) return {};
  std::int64_t step = 0;
  const auto [rest, error] = std::from_chars(name.data() + 5, name.data() + name.size(), step);
  if (error != std::errc{} || rest != name.data() + name.size()) return {};
  return step;
}

std::string to_json(const TrainingState& state) {
  return Json{{"step", state.step},
              {"generator", {{"seed", state.generator.seed}, {"offset", state.generator.offset}}},
              {"loader", {{"epoch", state.loader.epoch}, {"position", state.loader.position}}},
              // JSON has no infinity: null before the first validation.
              {"best_loss", std::isfinite(state.best_loss) ? Json(state.best_loss) : Json()},
              {"best_step", state.best_step},
              {"data", {{"tokens", state.data.tokens}, {"hash", state.data.hash}}}}
             .dump(2) +
         "\n";
}

TrainingState read_state(const fs::path& path) {
  try {
    const Json json = Json::parse(read_file(path));
    TrainingState state;
    json.at("step").get_to(state.step);
    json.at("generator").at("seed").get_to(state.generator.seed);
    json.at("generator").at("offset").get_to(state.generator.offset);
    json.at("loader").at("epoch").get_to(state.loader.epoch);
    json.at("loader").at("position").get_to(state.loader.position);
    if (!json.at("best_loss").is_null()) json.at("best_loss").get_to(state.best_loss);
    json.at("best_step").get_to(state.best_step);
    json.at("data").at("tokens").get_to(state.data.tokens);
    json.at("data").at("hash").get_to(state.data.hash);
    return state;
  } catch (const Json::exception&) {
    fail<IoError>("checkpoint: {} is not a training state", path.string());
  }
}

void load_weights(const fs::path& file, Module& model) {
  const NamedTensors tensors = load_safetensors(file).tensors;
  const auto [missing, unexpected] = model.differences(tensors);
  if (!missing.empty()) {
    fail<ValueError>("{} is another model's: it has no tensor {}", file.string(), missing[0]);
  }
  if (!unexpected.empty()) {
    fail<ValueError>("{} is another model's: this one has no tensor {}", file.string(),
                     unexpected[0]);
  }
  try {
    model.load_state_dict(tensors);
  } catch (const ShapeError& error) {
    fail<ShapeError>("{} is another model's: {}", file.string(), error.what());
  }
}

}  // namespace

void save_checkpoint(const fs::path& run, const TrainingState& state, const Module& model,
                     const Optimizer* optimizer) {
  const fs::path all = run / "checkpoints";
  const fs::path target = all / fmt::format("step-{}", state.step);
  const fs::path unfinished = all / temporary;
  try {
    // A run comes to a step in one way only, so this would be another run's.
    check<ValueError>(!fs::exists(target), "checkpoint: {} is there already", target.string());
    fs::remove_all(unfinished);
    make_folder(unfinished);
    save_safetensors(unfinished / "model.safetensors", model.state_dict());
    if (optimizer != nullptr) {
      save_safetensors(unfinished / "optimizer.safetensors", optimizer->state_dict());
    }
    write_file(unfinished / "state.json", to_json(state));
    sync_to_disk(unfinished);
    fs::rename(unfinished, target);
    sync_to_disk(all);  // before the others go
    for (const auto& entry : fs::directory_iterator(all)) {
      if (step_of(entry.path()) && entry.path() != target) fs::remove_all(entry.path());
    }
  } catch (const fs::filesystem_error& error) {
    fail<IoError>("checkpoint: {} cannot be written: {}", target.string(), error.code().message());
  }
}

std::optional<fs::path> latest_checkpoint(const fs::path& run) {
  std::optional<fs::path> latest;
  std::int64_t most = -1;
  std::error_code none;
  for (const auto& entry : fs::directory_iterator(run / "checkpoints", none)) {
    const auto step = step_of(entry.path());
    if (!step || *step <= most) continue;
    most = *step;
    latest = entry.path();
  }
  return latest;
}

TrainingState load_checkpoint(const fs::path& checkpoint, Module& model, Optimizer* optimizer) {
  const TrainingState state = read_state(checkpoint / "state.json");
  load_weights(checkpoint / "model.safetensors", model);
  if (optimizer != nullptr) {
    optimizer->load_state_dict(load_safetensors(checkpoint / "optimizer.safetensors").tensors);
  }
  return state;
}

}  // namespace scangrad
