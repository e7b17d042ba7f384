// scangrad compare: several models on the same data and the same number of tokens, as a table and a
// chart.
#include <scangrad/core/error.h>
#include <scangrad/tools/commands.h>
#include <scangrad/tools/curves.h>
#include <scangrad/tools/presets.h>
#include <scangrad/tools/progress.h>
#include <scangrad/tools/results.h>
#include <scangrad/train/files.h>

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cctype>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace scangrad::tools {
namespace {

namespace fs = std::filesystem;

struct Arguments {
  ConfigOptions config;
  std::string out;
  bool resume = false, json = false;
};

std::int64_t tokens_of(const RunConfig& c) { return tokens_trained(c, c.steps); }

/// One budget for all, or the comparison would say nothing.
void check_equal_tokens(const Comparison& comparison) {
  const Comparison::Model& first = comparison.models[0];
  for (const Comparison::Model& model : comparison.models) {
    if (tokens_of(model.config) == tokens_of(first.config)) continue;
    throw ValueError(
        fmt::format("compare: {} would train on {} tokens and {} on {}; they must be equal",
                    first.name, tokens_of(first.config), model.name, tokens_of(model.config)));
  }
}

/// `MRU (cayley)` → `mru-cayley`.
std::string folder_name(const std::string& name) {
  std::string folder;
  for (const char c : name) {
    if (std::isalnum(static_cast<unsigned char>(c)) != 0) {
      folder += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    } else if (!folder.empty() && folder.back() != '-') {
      folder += '-';
    }
  }
  while (!folder.empty() && folder.back() == '-') folder.pop_back();
  return folder;
}

/// A model's run or, where seeds are given, its run with each of them.
std::vector<Run> runs_of(const Comparison::Model& model, const fs::path& out) {
  if (model.seeds.empty()) return {{model.name, model.config, out / folder_name(model.name)}};
  std::vector<Run> runs;
  for (const std::uint64_t seed : model.seeds) {
    Run run = {fmt::format("{}, seed {}", model.name, seed), model.config, {}};
    run.config.seed = seed;
    run.folder = out / fmt::format("{}-seed-{}", folder_name(model.name), seed);
    runs.push_back(std::move(run));
  }
  return runs;
}

/// What is told of one model.
struct Result {
  std::string name;
  std::int64_t parameters = 0, tokens = 0;  // of each run
  std::vector<Run> runs = {};
  std::vector<RunResult> results = {};  // of each
};

std::string name_of(const Result& model) {
  const std::size_t count = model.runs.size();
  return count == 1 ? model.name : fmt::format("{} ({} seeds)", model.name, count);
}

/// Trains the run, unless that is done: its model's number of parameters. One that diverges is told
/// of, and has the scores that it had by then.
std::int64_t train_run(const Run& run, bool resume) {
  const bool begun = resume && fs::exists(run.folder / "config.json");
  auto trainer =
      begun ? Trainer::resume(run.folder) : std::make_unique<Trainer>(run.config, run.folder);
  const bool ended = trainer->steps_done() == trainer->config().steps || run_result(run).diverged;
  if (ended) return trainer->model().parameter_count();
  try {
    if (train_with_progress(*trainer, run.name).stopped) {
      throw Error(
          fmt::format("interrupted in training {}; all is saved: give the same command with "
                      "--out {} --resume to go on",
                      run.name, run.folder.parent_path().string()));
    }
  } catch (const DivergenceError& error) {
    fmt::print(stderr, "{}: {}\n", run.name, error.what());
  }
  return trainer->model().parameter_count();
}

Result train_model(const Comparison::Model& model, const fs::path& out, bool resume) {
  Result result = {.name = model.name, .tokens = tokens_of(model.config)};
  result.runs = runs_of(model, out);
  for (const Run& run : result.runs) {
    result.parameters = train_run(run, resume);
    result.results.push_back(run_result(run));
  }
  return result;
}

std::vector<Row> table_of(const std::vector<Result>& models) {
  std::vector<std::vector<RunResult>> results;
  for (const Result& model : models) results.push_back(model.results);
  const std::vector<Row> scores = score_rows(results, /*stability=*/false);
  std::vector<Row> rows = {{"model", "parameters", "tokens", "seconds"}};
  for (const Result& model : models) {
    std::vector<double> seconds;
    for (const RunResult& run : model.results) seconds.push_back(run.seconds);
    rows.push_back({name_of(model), fmt::to_string(model.parameters), fmt::to_string(model.tokens),
                    mean_text(seconds, 0)});
  }
  for (std::size_t i = 0; i < rows.size(); ++i) {
    rows[i].insert(rows[i].end(), scores[i].begin(), scores[i].end());
  }
  return rows;
}

void print_json(const std::vector<Result>& models) {
  for (const Result& model : models) {
    for (std::size_t i = 0; i < model.runs.size(); ++i) {
      nlohmann::ordered_json row = {{"model", model.name},
                                    {"seed", model.runs[i].config.seed},
                                    {"parameters", model.parameters},
                                    {"tokens", model.tokens},
                                    {"seconds", model.results[i].seconds}};
      add_scores(row, model.results[i]);
      fmt::print("{}\n", row.dump());
    }
  }
}

/// Point by point, the mean of curves over the same x; as far as the shortest of them.
Curve mean_curve(const std::vector<Curve>& curves, const std::string& name) {
  Curve mean = {.name = name};
  std::size_t points = curves[0].x.size();
  for (const Curve& curve : curves) points = std::min(points, curve.x.size());
  for (std::size_t i = 0; i < points; ++i) {
    double sum = 0;
    for (const Curve& curve : curves) sum += curve.y[i];
    mean.x.push_back(curves[0].x[i]);
    mean.y.push_back(sum / static_cast<double>(curves.size()));
  }
  return mean;
}

/// How well the models do over the tokens, each with the mean of its seeds: the accuracy on a
/// word's last token, or the loss.
void write_chart(const Comparison& comparison, const std::vector<Result>& models,
                 const fs::path& out) {
  const RunConfig& c = comparison.models[0].config;
  const bool words = c.data.kind == "words";
  const std::string key = words ? fmt::format("last_accuracy_{}", c.data.length) : "val_loss";
  std::vector<Curve> curves;
  for (const Result& model : models) {
    std::vector<Curve> of_runs;
    for (std::size_t i = 0; i < model.runs.size(); ++i) {
      if (model.results[i].last.empty()) continue;  // diverged before a validation
      of_runs.push_back(metric_curve(model.runs[i].folder, key, /*over_tokens=*/true));
    }
    if (!of_runs.empty()) curves.push_back(mean_curve(of_runs, name_of(model)));
  }
  if (curves.empty()) return;
  write_file(out / "compare.svg", svg_plot(curves, {.title = comparison.title,
                                                    .x_label = "tokens trained on",
                                                    .y_label = metric_label(key)}));
}

void compare(const Arguments& arguments) {
  const Comparison comparison = arguments.config.comparison();
  check_equal_tokens(comparison);
  if (arguments.resume && arguments.out.empty()) {
    throw CLI::ValidationError("--resume needs --out, the comparison's folder");
  }
  const fs::path out = arguments.out.empty() ? arguments.config.unused_folder() : arguments.out;
  if (!arguments.resume && fs::exists(out) && !fs::is_empty(out)) {
    throw ValueError(fmt::format(
        "{} is not empty; give --resume to go on with it, or another --out", out.string()));
  }
  std::vector<Result> models;
  for (const Comparison::Model& model : comparison.models) {
    models.push_back(train_model(model, out, arguments.resume));
  }
  write_chart(comparison, models, out);
  fmt::print(stderr, "\n{}\n", comparison.title);
  arguments.json ? print_json(models) : print_table(table_of(models), 1);
  std::fflush(stdout);
  fmt::print(stderr, "curves: {}\n", (out / "compare.svg").string());
}

}  // namespace

void add_compare(CLI::App& program) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command = program.add_subcommand(
      "compare", "Train several models on equally many tokens: a table, and curves as an SVG");
  arguments->config.add_to(*command);
  arguments->config.add_seeds_to(*command);
  command->add_option("--out", arguments->out,
                      "A folder for compare.svg and the models' runs (default runs/NAME)");
  command->add_flag("--resume", arguments->resume,
                    "Go on with the comparison in --out; finished models stay as they are");
  command->add_flag("--json", arguments->json, "Results as one JSON object a line");
  command->callback([arguments] { compare(*arguments); });
}

}  // namespace scangrad::tools
