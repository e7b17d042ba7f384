#include <scangrad/core/error.h>
#include <scangrad/tools/commands.h>
#include <scangrad/tools/presets.h>
#include <scangrad/train/open_run.h>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

namespace scangrad::tools {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

/// Where presets are: beside an installed program, else in the source tree.
fs::path preset_folder() {
  std::error_code ignored;
  const fs::path program = fs::read_symlink("/proc/self/exe", ignored);
  const fs::path installed = program.parent_path() / "../share/scangrad/presets";
  return fs::is_directory(installed, ignored) ? installed : fs::path(SCANGRAD_PRESET_DIR);
}

fs::path find_preset(const std::string& name) {
  std::vector<std::string> names;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(preset_folder(), ignored)) {
    if (entry.path().extension() != ".json") continue;
    if (entry.path().stem() == name) return entry.path();
    names.push_back(entry.path().stem());
  }
  std::sort(names.begin(), names.end());
  throw ValueError(
      fmt::format("there is no preset '{}'; there are {}", name, fmt::join(names, ", ")));
}

Json read_json(const fs::path& path) {
  std::ifstream file(path);
  if (!file) throw IoError(fmt::format("config: {} cannot be read", path.string()));
  try {
    return Json::parse(file);
  } catch (const Json::parse_error& error) {
    throw ValueError(
        fmt::format("config: {} is not valid JSON at byte {}", path.string(), error.byte));
  }
}

bool is_comparison(const Json& json) { return json.contains("models"); }

/// What a comparison says of one of its models.
Comparison::Model read_model(const Json& json, const RunConfig& base, std::size_t number) {
  for (const auto& item : json.items()) {
    const std::string& key = item.key();
    if (key == "name" || key == "config" || key == "seeds") continue;
    throw ValueError(
        fmt::format("a model of a comparison has a name, a config and seeds, but no '{}'", key));
  }
  Comparison::Model model = {
      json.value("name", fmt::format("model {}", number)),
      run_config_from_json(json.value("config", Json::object()).dump(), base)};
  const Json seeds = json.value("seeds", Json::array());
  const auto is_seed = [](const Json& seed) { return seed.is_number_unsigned(); };
  if (!seeds.is_array() || !std::all_of(seeds.begin(), seeds.end(), is_seed)) {
    throw ValueError(fmt::format("{}: seeds must be a list of integers of 0 or more, not {}",
                                 model.name, seeds.dump()));
  }
  model.seeds = seeds.get<std::vector<std::uint64_t>>();
  return model;
}

std::vector<GridAxis> read_grid(const Json& json) {
  std::vector<GridAxis> grid;
  for (const auto& [key, values] : json.items()) {
    if (!values.is_array() || values.empty()) {
      throw ValueError(
          fmt::format("grid: {} must have a list of values, not {}", key, values.dump()));
    }
    grid.push_back({key});
    for (const Json& value : values) {
      grid.back().values.push_back(value.is_string() ? value.get<std::string>() : value.dump());
    }
  }
  return grid;
}

}  // namespace

void ConfigOptions::add_to(CLI::App& command) {
  auto* from_preset = command.add_option("--preset", preset, "A configuration by name");
  auto* from_file = command.add_option("--config", file, "A configuration file (JSON)");
  command
      .add_option("--from", from,
                  "A run: its configuration, and its latest weights and tokenizer to begin with")
      ->excludes(from_preset)
      ->excludes(from_file);
  from_preset->excludes(from_file);
  command.add_option("--data", data,
                     "What to train on: a text, or what scangrad tokenize made of one");
  command.add_option("--device", device, "cpu or cuda");
  command.add_option("--precision", precision, "fp32, tf32 or bf16");
  command.add_option("--steps", steps, "Length of the run")->check(at_least(1));
  command.add_option("--seed", seed, "Of initial weights, dropout and the order of the data")
      ->check(at_least(0));
  command.add_option("--set", assignments, "path.to.key=value (may be repeated)");
}

void ConfigOptions::add_seeds_to(CLI::App& command) {
  command
      .add_option("--seeds", seeds,
                  "1,2,3: a run with each; the table has their mean (least to largest)")
      ->delimiter(',')
      ->check(at_least(0))
      ->excludes("--seed");
}

void ConfigOptions::override(RunConfig& config) const {
  if (!data.empty()) config.data.file = data;
  if (!device.empty()) config.device = device;
  if (!precision.empty()) config.precision = precision;
  if (steps > 0) config.steps = steps;
  if (seed >= 0) config.seed = static_cast<std::uint64_t>(seed);
  for (const std::string& assignment : assignments) set(config, assignment);
}

RunConfig ConfigOptions::run() const {
  const auto [config, grid] = single(checked(/*possible=*/true));
  if (!grid.empty()) {
    throw CLI::ValidationError(fmt::format("'{}' is a sweep; use scangrad sweep", name()));
  }
  return config;
}

std::pair<RunConfig, std::vector<GridAxis>> ConfigOptions::sweep() const {
  return single(checked(/*possible=*/false));
}

Comparison ConfigOptions::comparison() const {
  Comparison all = checked(/*possible=*/true);
  if (!all.grid.empty()) run();  // says that it is a sweep
  return all;
}

std::pair<RunConfig, std::vector<GridAxis>> ConfigOptions::single(const Comparison& all) const {
  if (all.models.size() != 1) {
    throw CLI::ValidationError(
        fmt::format("'{}' compares {} models; use scangrad compare", name(), all.models.size()));
  }
  return {all.models[0].config, all.grid};
}

Comparison ConfigOptions::checked(bool possible) const {
  try {
    Comparison all = read();
    for (const Comparison::Model& model : all.models) {
      if (possible) validate(model.config);
    }
    return all;
  } catch (const ValueError& error) {
    throw CLI::ValidationError(error.what());
  }
}

bool ConfigOptions::decides_seed() const {
  const auto sets_seed = [](const std::string& text) { return text.starts_with("seed="); };
  return seed >= 0 || std::any_of(assignments.begin(), assignments.end(), sets_seed);
}

bool ConfigOptions::decides_more_than_steps() const {
  return !(preset + file + from + data + device + precision).empty() || seed >= 0 ||
         !assignments.empty();
}

std::string ConfigOptions::name() const { return preset + file + from; }  // only one is given

std::string ConfigOptions::unused_folder() const {
  fs::path last = preset;
  if (!file.empty()) last = fs::path(file).stem();
  if (!from.empty()) last = fs::absolute(fs::path(from) / "").parent_path().filename();
  const std::string first = "runs/" + last.string();
  std::string folder = first;
  for (int i = 2; fs::exists(folder); ++i) folder = fmt::format("{}-{}", first, i);
  return folder;
}

Comparison ConfigOptions::read() const {
  if (name().empty()) throw ValueError("give --preset NAME, --config FILE or --from RUN");
  Comparison out;
  out.title = name();
  const Json json = from.empty() ? read_json(preset.empty() ? fs::path(file) : find_preset(preset))
                                 : Json::object();
  if (!from.empty()) {
    out.models.push_back({name(), read_run_config(from)});
    out.models[0].config.from = from;
    // A new text validates with its own last part.
    if (!data.empty()) out.models[0].config.data.validation_file.clear();
  } else if (json.contains("grid")) {
    for (const auto& item : json.items()) {
      if (item.key() == "base" || item.key() == "grid") continue;
      throw ValueError(
          fmt::format("{}: a sweep has a base and a grid, but no '{}'", name(), item.key()));
    }
    out.models.push_back({name(), run_config_from_json(json.value("base", Json::object()).dump())});
    out.grid = read_grid(json.at("grid"));
  } else if (!is_comparison(json)) {
    out.models.push_back({name(), run_config_from_json(json.dump())});
  } else {
    const RunConfig base = run_config_from_json(json.value("base", Json::object()).dump());
    out.title = json.value("title", name());
    for (const Json& model : json.at("models")) {
      out.models.push_back(read_model(model, base, out.models.size() + 1));
    }
    if (out.models.empty()) throw ValueError(fmt::format("'{}' has no models", name()));
  }
  for (Comparison::Model& model : out.models) {
    override(model.config);
    if (decides_seed()) model.seeds.clear();
    if (!seeds.empty()) model.seeds = seeds;
    std::set<std::uint64_t> different(model.seeds.begin(), model.seeds.end());
    if (different.size() < model.seeds.size()) {
      throw ValueError(fmt::format("{}: a seed is there twice among {}", model.name,
                                   fmt::join(model.seeds, ", ")));
    }
  }
  return out;
}

}  // namespace scangrad::tools
