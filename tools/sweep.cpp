// scangrad sweep: one run for each of many settings, and a table of how they did. Each is a process
// of its own (scangrad train), so that several can share a device and none can take others with it.
#include <fcntl.h>
#include <scangrad/core/error.h>
#include <scangrad/tools/commands.h>
#include <scangrad/tools/presets.h>
#include <scangrad/train/files.h>
#include <scangrad/train/metrics.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <map>
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

/// Every point with every combination of the grid's values.
std::vector<Setting> settings_of(const Arguments& arguments) {
  std::vector<Setting> settings;
  for (const std::string& point : arguments.points) {
    Setting setting = split(point, ' ');
    std::erase(setting, "");
    settings.push_back(std::move(setting));
  }
  if (settings.empty()) settings.emplace_back();
  for (const std::string& axis : arguments.grid) {
    const std::size_t equals = axis.find('=');
    if (equals == std::string::npos) {
      throw CLI::ValidationError("--grid: '" + axis + "' is not key=value,value,…");
    }
    std::vector<Setting> more;
    for (const Setting& setting : settings) {
      for (const std::string& value : split(axis.substr(equals + 1), ',')) {
        more.push_back(setting);
        more.back().push_back(axis.substr(0, equals + 1) + value);
      }
    }
    settings = std::move(more);
  }
  return settings;
}

struct Run {
  std::string name;  // of its folder, and of NAME.json and NAME.log beside it
  Setting setting;
  RunConfig config;
  fs::path folder;
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

std::vector<Run> runs_of(const Arguments& arguments, const fs::path& out) {
  const RunConfig base = arguments.config.run();
  std::vector<Run> runs;
  std::set<std::string> names;
  for (const Setting& setting : settings_of(arguments)) {
    if (setting.empty()) throw CLI::ValidationError("give --grid, --point or both");
    Run run = {name_of(setting), setting, base, {}};
    run.folder = out / run.name;
    try {
      for (const std::string& assignment : setting) set(run.config, assignment);
      validate(run.config);
    } catch (const ValueError& error) {
      throw CLI::ValidationError(error.what());
    }
    if (!names.insert(run.name).second) {
      throw CLI::ValidationError(fmt::format("'{}' is there twice", run.name));
    }
    runs.push_back(std::move(run));
  }
  return runs;
}

/// How a run did, by its metrics.
struct Result {
  double steps = 0, seconds = 0;  // of training, also of earlier sessions
  double best_loss = HUGE_VAL, best_step = 0;
  Metrics last = {};  // of the last validation
};

Result result_of(const Run& run) {
  Result result;
  if (!fs::exists(run.folder / "metrics.jsonl")) return result;
  const RunConfig& c = run.config;
  const auto tokens = static_cast<double>(c.batch * c.optimizer.accumulate * c.data.length);
  double logged = 0;
  for (const Metrics& line : read_metrics(run.folder / "metrics.jsonl")) {
    result.steps = metric(line, "step");
    const double rate = metric(line, "tokens_per_second");
    if (rate > 0)
      result.seconds += (result.steps - std::exchange(logged, result.steps)) * tokens / rate;
    const double loss = metric(line, "val_loss");
    if (std::isnan(loss)) continue;
    result.last = line;
    if (loss >= result.best_loss) continue;
    result.best_loss = loss;
    result.best_step = result.steps;
  }
  return result;
}

bool is_finished(const Run& run) {
  return fs::exists(run.folder / "checkpoints" / fmt::format("step-{}", run.config.steps));
}

volatile std::sig_atomic_t stop_requested = 0;

/// The processes at work. Asked to end (SIGINT, SIGTERM), it asks them, and they save their runs.
class Processes {
 public:
  Processes() {
    struct sigaction action = {};
    action.sa_handler = [](int) { stop_requested = 1; };
    sigaction(SIGINT, &action, nullptr);
    sigaction(SIGTERM, &action, nullptr);
  }

  std::size_t count() const { return run_of_.size(); }

  /// `scangrad train`, telling how it goes on stderr or, of several at once, in a file.
  void start(const Run& run, bool alone) {
    const std::string folder = run.folder.string();
    const std::string config = folder + ".json", log = folder + ".log";
    std::vector<std::string> words = {"scangrad", "train", "--out", folder};
    if (fs::exists(run.folder / "config.json")) {
      words.insert(words.end(), {"--resume", "--steps", fmt::to_string(run.config.steps)});
    } else {
      write_file(config, to_json(run.config) + "\n");
      words.insert(words.end(), {"--config", config});
    }
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    if (!alone) {
      posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, log.c_str(),
                                       O_WRONLY | O_CREAT | O_APPEND, 0666);
    }
    pid_t process = 0;
    const int error =
        posix_spawn(&process, "/proc/self/exe", &actions, nullptr, argv.data(), environ);
    posix_spawn_file_actions_destroy(&actions);
    if (error != 0) throw Error(fmt::format("sweep: no process: {}", std::strerror(error)));
    run_of_[process] = &run;
  }

  /// Waits for one to end: its run.
  const Run& wait() {
    bool asked = false;
    while (true) {
      if (stop_requested != 0 && !std::exchange(asked, true)) {
        for (const auto& [process, run] : run_of_) kill(process, SIGTERM);
      }
      const auto found = run_of_.find(waitpid(-1, nullptr, WNOHANG));
      if (found == run_of_.end()) {
        usleep(20000);
        continue;
      }
      const Run& run = *found->second;
      run_of_.erase(found);
      return run;
    }
  }

 private:
  std::map<pid_t, const Run*> run_of_;
};

void train_all(const std::vector<Run>& runs, const Arguments& arguments) {
  Processes processes;
  std::size_t ended = 0, next = 0;
  while (true) {
    while (next < runs.size() && stop_requested == 0 &&
           processes.count() < static_cast<std::size_t>(arguments.jobs)) {
      const Run& run = runs[next++];
      if (is_finished(run)) {
        ++ended;
      } else {
        processes.start(run, arguments.jobs == 1);
      }
    }
    if (processes.count() == 0) break;
    const Run& run = processes.wait();
    ++ended;
    const Result result = result_of(run);
    fmt::print(stderr, "[{}/{}] {}: {}\n", ended, runs.size(), run.name,
               is_finished(run)
                   ? fmt::format("lowest val_loss {:.4f}", result.best_loss)
                   : fmt::format("ended at step {:.0f} of {}", result.steps, run.config.steps));
  }
  if (stop_requested != 0) {
    throw Error(
        fmt::format("interrupted; all is saved: give the same command with --out {} --resume to go "
                    "on",
                    runs[0].folder.parent_path().string()));
  }
}

/// Every key that some run sets, in the order of their first appearance.
std::vector<std::string> keys_of(const std::vector<Run>& runs) {
  std::vector<std::string> keys;
  for (const Run& run : runs) {
    for (const std::string& assignment : run.setting) {
      const std::string key = assignment.substr(0, assignment.find('='));
      if (std::find(keys.begin(), keys.end(), key) == keys.end()) keys.push_back(key);
    }
  }
  return keys;
}

/// What a run's setting says of a key; empty where nothing.
std::string value_of(const Run& run, const std::string& key) {
  std::string value;
  for (const std::string& assignment : run.setting) {
    if (assignment.starts_with(key + "=")) value = assignment.substr(key.size() + 1);
  }
  return value;
}

/// A row for each run, headings first.
std::vector<std::vector<std::string>> table_of(const std::vector<Run>& runs) {
  const std::vector<std::string> keys = keys_of(runs);
  std::vector<std::vector<std::string>> rows(1);
  for (const std::string& key : keys) rows[0].push_back(key.substr(key.rfind('.') + 1));
  rows[0].insert(rows[0].end(), {"lowest val_loss", "at step", "val_loss", "steps", "seconds"});
  const auto number = [](double value, int digits) {
    return std::isfinite(value) ? fmt::format("{:.{}f}", value, digits) : std::string("-");
  };
  for (const Run& run : runs) {
    const Result result = result_of(run);
    std::vector<std::string> row;
    for (const std::string& key : keys) row.push_back(value_of(run, key));
    row.insert(row.end(), {number(result.best_loss, 4), number(result.best_step, 0),
                           number(metric(result.last, "val_loss"), 4),
                           number(result.steps, 0) + (is_finished(run) ? "" : " (unfinished)"),
                           number(result.seconds, 0)});
    rows.push_back(std::move(row));
  }
  return rows;
}

void print_table(const std::vector<Run>& runs) {
  const auto rows = table_of(runs);
  std::vector<std::size_t> widths(rows[0].size());
  for (const auto& row : rows) {
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  for (const auto& row : rows) {
    std::string line;
    for (std::size_t i = 0; i < row.size(); ++i) line += fmt::format("{:<{}}  ", row[i], widths[i]);
    fmt::print("{}\n", line.substr(0, line.find_last_not_of(' ') + 1));
  }
}

void print_json(const std::vector<Run>& runs) {
  for (const Run& run : runs) {
    const Result result = result_of(run);
    nlohmann::ordered_json row = {{"run", run.folder.string()}};
    for (const std::string& key : keys_of(runs)) row[key] = value_of(run, key);
    row["best_loss"] = result.best_loss;  // null where there was no validation
    row["best_step"] = result.best_step;
    for (const auto& [key, value] : result.last) {
      if (key == "val_loss" || key.find("accuracy") != std::string::npos) row[key] = value;
    }
    row["steps"] = result.steps;
    row["seconds"] = result.seconds;
    row["finished"] = is_finished(run);
    fmt::print("{}\n", row.dump());
  }
}

void sweep(const Arguments& arguments) {
  if (arguments.resume && arguments.out.empty()) {
    throw CLI::ValidationError("--resume needs --out, the sweep's folder");
  }
  const fs::path out = arguments.out.empty() ? arguments.config.unused_folder() : arguments.out;
  const std::vector<Run> runs = runs_of(arguments, out);
  if (!arguments.resume && fs::exists(out) && !fs::is_empty(out)) {
    throw ValueError(fmt::format(
        "{} is not empty; give --resume to go on with it, or another --out", out.string()));
  }
  make_folder(out);
  train_all(runs, arguments);
  arguments.json ? print_json(runs) : print_table(runs);
  std::fflush(stdout);
  const auto unfinished =
      std::count_if(runs.begin(), runs.end(), [](const Run& run) { return !is_finished(run); });
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
  command->add_option("--grid", arguments->grid, "key=value,value,… (repeated: every combination)");
  command->add_option("--point", arguments->points,
                      "'key=value key=value' (repeated: each, with every combination of the grid)");
  command->add_option("--jobs", arguments->jobs, "Runs at work at the same time, on one device")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  command->add_option("--out", arguments->out, "A folder for the runs (default runs/NAME)");
  command->add_flag("--resume", arguments->resume,
                    "Go on with the sweep in --out; finished runs stay as they are");
  command->add_flag("--json", arguments->json, "Results as one JSON object a line");
  command->callback([arguments] { sweep(*arguments); });
}

}  // namespace scangrad::tools
