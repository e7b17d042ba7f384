// scangrad sweep: one run for each of many settings, and a table of how they did. Each is a process
// of its own (scangrad train), so that several can share a device and none can take others with it.
#include <scangrad/core/error.h>
#include <scangrad/tools/commands.h>
#include <scangrad/tools/presets.h>
#include <scangrad/tools/results.h>
#include <scangrad/tools/run_processes.h>
#include <scangrad/train/files.h>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cctype>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace scangrad::tools {
namespace {

namespace fs = std::filesystem;

struct Arguments {
  ConfigOptions config;
  std::vector<std::string> grid, points;
  std::string out;
  std::int64_t jobs = 1;
  bool resume = false, json = false;
};

/// Assignments, `key=value`, that make a run of the base configuration.
using Setting = std::vector<std::string>;

/// The parts between separators that stand outside of brackets and quotes.
std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts(1);
  int depth = 0;
  bool quoted = false;
  for (const char c : text) {
    if (c == '"') quoted = !quoted;
    if (!quoted) depth += c == '[' || c == '{' ? 1 : c == ']' || c == '}' ? -1 : 0;
    if (c == separator && depth == 0 && !quoted) {
      parts.emplace_back();
    } else {
      parts.back() += c;
    }
  }
  return parts;
}

/// The preset's axes; one of the same key in `--grid` stands for it, others come after.
std::vector<GridAxis> grid_of(const Arguments& arguments, std::vector<GridAxis> grid) {
  for (const std::string& axis : arguments.grid) {
    const std::size_t equals = axis.find('=');
    if (equals == std::string::npos) {
      throw CLI::ValidationError("--grid: '" + axis + "' is not key=value,value,…");
    }
    const std::string key = axis.substr(0, equals);
    const auto same = [&](const GridAxis& other) { return other.key == key; };
    auto place = std::find_if(grid.begin(), grid.end(), same);
    if (place == grid.end()) place = grid.insert(place, {key});
    place->values = split(axis.substr(equals + 1), ',');
  }
  return grid;
}

/// Every point with every combination of the grid's values.
std::vector<Setting> settings_of(const Arguments& arguments, const std::vector<GridAxis>& grid) {
  std::vector<Setting> settings;
  for (const std::string& point : arguments.points) {
    Setting setting = split(point, ' ');
    std::erase(setting, "");
    settings.push_back(std::move(setting));
  }
  if (settings.empty()) settings.emplace_back();
  for (const auto& [key, values] : grid) {
    std::vector<Setting> more;
    for (const Setting& setting : settings) {
      for (const std::string& value : values) {
        more.push_back(setting);
        more.back().push_back(key + "=" + value);
      }
    }
    settings = std::move(more);
  }
  return settings;
}

/// A row of the table: a setting, and its run or its run with each seed.
struct Trial {
  Setting setting;
  std::vector<Run> runs;
};

/// `optimizer.w_in_rate=4,seed=1`, with nothing that a file's name must not have.
std::string name_of(const Setting& setting) {
  std::string name = fmt::format("{}", fmt::join(setting, ","));
  for (char& c : name) {
    const bool plain = std::isalnum(static_cast<unsigned char>(c)) != 0;
    if (!plain && std::strchr("._=+,-", c) == nullptr) c = '-';
  }
  return name;
}

/// The base configuration with a setting, checked.
Run run_of(const RunConfig& base, const Setting& setting, const fs::path& out) {
  Run run = {name_of(setting), base};
  run.folder = out / run.name;
  try {
    for (const std::string& assignment : setting) set(run.config, assignment);
    validate(run.config);
  } catch (const ValueError& error) {
    throw CLI::ValidationError(error.what());
  }
  return run;
}

bool decides(const Setting& setting, const std::string& key) {
  return std::any_of(setting.begin(), setting.end(), [&](const std::string& assignment) {
    return assignment.starts_with(key + "=");
  });
}

std::vector<Trial> trials_of(const Arguments& arguments, const fs::path& out) {
  const auto [base, grid] = arguments.config.sweep();
  const std::vector<std::uint64_t>& seeds = arguments.config.seeds;
  std::vector<Trial> trials;
  std::set<std::string> names;
  for (const Setting& setting : settings_of(arguments, grid_of(arguments, grid))) {
    if (setting.empty() && seeds.empty()) {
      throw CLI::ValidationError("give --grid, --point, --seeds or several of them");
    }
    if (decides(setting, "seed") && !seeds.empty()) {
      throw CLI::ValidationError("give --seeds or settings of seed, not both");
    }
    trials.push_back({setting, {}});
    for (const std::uint64_t seed : seeds) {
      Setting seeded = setting;
      seeded.push_back(fmt::format("seed={}", seed));
      trials.back().runs.push_back(run_of(base, seeded, out));
    }
    if (seeds.empty()) trials.back().runs.push_back(run_of(base, setting, out));
    for (const Run& run : trials.back().runs) {
      if (names.insert(run.name).second) continue;
      throw CLI::ValidationError(fmt::format("'{}' is there twice", run.name));
    }
  }
  return trials;
}

/// Every key that some setting has, in the order of their first appearance.
std::vector<std::string> keys_of(const std::vector<Trial>& trials) {
  std::vector<std::string> keys;
  for (const Trial& trial : trials) {
    for (const std::string& assignment : trial.setting) {
      const std::string key = assignment.substr(0, assignment.find('='));
      if (std::find(keys.begin(), keys.end(), key) == keys.end()) keys.push_back(key);
    }
  }
  return keys;
}

/// What a setting says of a key; empty where nothing.
std::string value_of(const Setting& setting, const std::string& key) {
  std::string value;
  for (const std::string& assignment : setting) {
    if (assignment.starts_with(key + "=")) value = assignment.substr(key.size() + 1);
  }
  return value;
}

std::vector<Row> table_of(const std::vector<Trial>& trials) {
  std::vector<std::vector<RunResult>> results;
  for (const Trial& trial : trials) {
    results.emplace_back();
    for (const Run& run : trial.runs) results.back().push_back(run_result(run));
  }
  const std::vector<std::string> keys = keys_of(trials);
  const std::vector<Row> scores = score_rows(results, /*stability=*/true);
  std::vector<Row> rows(1);
  for (const std::string& key : keys) rows[0].push_back(key.substr(key.rfind('.') + 1));
  rows[0].insert(rows[0].end(), scores[0].begin(), scores[0].end());
  rows[0].insert(rows[0].end(), {"steps", "seconds"});
  for (std::size_t i = 0; i < trials.size(); ++i) {
    Row row;
    for (const std::string& key : keys) row.push_back(value_of(trials[i].setting, key));
    row.insert(row.end(), scores[i + 1].begin(), scores[i + 1].end());
    std::vector<double> steps, seconds;
    bool finished = true, diverged = false;
    for (const RunResult& run : results[i]) {
      steps.push_back(run.steps);
      seconds.push_back(run.seconds);
      finished = finished && run.finished;
      diverged = diverged || run.diverged;
    }
    const char* end = finished ? "" : diverged ? " (not finite)" : " (unfinished)";
    row.push_back(mean_text(steps, 0, end));
    row.push_back(mean_text(seconds, 0));
    rows.push_back(std::move(row));
  }
  return rows;
}

void print_json(const std::vector<Trial>& trials) {
  const std::vector<std::string> keys = keys_of(trials);
  for (const Trial& trial : trials) {
    for (const Run& run : trial.runs) {
      const RunResult result = run_result(run);
      nlohmann::ordered_json row = {{"run", run.folder.string()}};
      for (const std::string& key : keys) row[key] = value_of(trial.setting, key);
      if (trial.runs.size() > 1) row["seed"] = run.config.seed;
      add_scores(row, result);
      row["steps"] = result.steps;
      row["seconds"] = result.seconds;
      row["finished"] = result.finished;
      fmt::print("{}\n", row.dump());
    }
  }
}

void sweep(const Arguments& arguments) {
  if (arguments.resume && arguments.out.empty()) {
    throw CLI::ValidationError("--resume needs --out, the sweep's folder");
  }
  const fs::path out = arguments.out.empty() ? arguments.config.unused_folder() : arguments.out;
  const std::vector<Trial> trials = trials_of(arguments, out);
  std::vector<Run> runs;
  for (const Trial& trial : trials) runs.insert(runs.end(), trial.runs.begin(), trial.runs.end());
  if (!arguments.resume && fs::exists(out) && !fs::is_empty(out)) {
    throw ValueError(fmt::format(
        "{} is not empty; give --resume to go on with it, or another --out", out.string()));
  }
  make_folder(out);
  train_all(runs, arguments.jobs);
  arguments.json ? print_json(trials) : print_table(table_of(trials), keys_of(trials).size());
  std::fflush(stdout);
  const auto unfinished = std::count_if(runs.begin(), runs.end(), [](const Run& run) {
    const RunResult result = run_result(run);
    return !result.finished && !result.diverged;
  });
  if (unfinished > 0) {
    throw Error(fmt::format("{} of {} runs did not reach their last step; what they said is {}",
                            unfinished, runs.size(),
                            arguments.jobs == 1 ? "above" : "in " + (out / "*.log").string()));
  }
}

}  // namespace

void add_sweep(CLI::App& program) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command = program.add_subcommand(
      "sweep", "Train one configuration with many settings: a run for each, and one table");
  arguments->config.add_to(*command);
  arguments->config.add_seeds_to(*command);
  command->add_option("--grid", arguments->grid, "key=value,value,… (repeated: every combination)");
  command->add_option("--point", arguments->points,
                      "'key=value key=value' (repeated: each, with every combination of the grid)");
  command->add_option("--jobs", arguments->jobs, "Runs at work at the same time, on one device")
      ->capture_default_str()
      ->check(at_least(1));
  command->add_option("--out", arguments->out, "A folder for the runs (default runs/NAME)");
  command->add_flag("--resume", arguments->resume,
                    "Go on with the sweep in --out; finished runs stay as they are");
  command->add_flag("--json", arguments->json, "Results as one JSON object a line");
  command->callback([arguments] { sweep(*arguments); });
}

}  // namespace scangrad::tools
