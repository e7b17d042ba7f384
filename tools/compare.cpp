// scangrad compare: several models on the same data and the same number of tokens, as a table and a
// chart.
#include <scangrad/core/error.h>
#include <scangrad/tools/commands.h>
#include <scangrad/tools/curves.h>
#include <scangrad/tools/presets.h>
#include <scangrad/tools/progress.h>
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

std::int64_t tokens_of(const RunConfig& c) {
  return c.steps * c.batch * c.optimizer.accumulate * c.data.length;
}

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

/// What is told of one model.
struct Result {
  std::string name;
  std::int64_t parameters = 0, tokens = 0;
  double seconds = 0;  // of training, from the metrics: also of earlier sessions
  Metrics last = {};   // of the last validation
};

Result train_model(const Comparison::Model& model, const fs::path& folder, bool resume) {
  const bool begun = resume && fs::exists(folder / "config.json");
  auto trainer = begun ? Trainer::resume(folder) : std::make_unique<Trainer>(model.config, folder);
  if (trainer->steps_done() < trainer->config().steps &&
      train_with_progress(*trainer, model.name).stopped) {
    throw Error(
        fmt::format("interrupted in training {}; all is saved: give the same command with "
                    "--out {} --resume to go on",
                    model.name, folder.parent_path().string()));
  }
  const RunConfig& c = trainer->config();
  Result result = {
      .name = model.name, .parameters = trainer->model().parameter_count(), .tokens = tokens_of(c)};
  double step = 0;
  for (const Metrics& line : read_metrics(folder / "metrics.jsonl")) {
    const double rate = metric(line, "tokens_per_second");
    if (rate > 0) {
      const double steps = metric(line, "step") - std::exchange(step, metric(line, "step"));
      result.seconds += steps * static_cast<double>(result.tokens / c.steps) / rate;
    }
    if (metric(line, "val_loss") >= 0) result.last = line;
  }
  return result;
}

/// Columns after the model's name: a heading and what a result has there.
struct Column {
  std::string heading;
  std::string text;
};

std::vector<Column> columns_of(const Result& r) {
  std::vector<Column> columns = {{"parameters", fmt::to_string(r.parameters)},
                                 {"tokens", fmt::to_string(r.tokens)},
                                 {"seconds", fmt::format("{:.0f}", r.seconds)},
                                 {"val_loss", fmt::format("{:.4f}", metric(r.last, "val_loss"))}};
  const std::string accuracy = "last_accuracy_";
  for (const auto& [key, value] : r.last) {
    if (!key.starts_with(accuracy)) continue;
    columns.push_back(
        {"last token at " + key.substr(accuracy.size()), fmt::format("{:.1f} %", 100 * value)});
  }
  return columns;
}

void print_table(const std::vector<Result>& results) {
  std::size_t name_width = 5;
  for (const Result& r : results) name_width = std::max(name_width, r.name.size());
  fmt::print("{:<{}}", "model", name_width);
  for (const Column& c : columns_of(results[0])) fmt::print("  {:>10}", c.heading);
  fmt::print("\n");
  for (const Result& r : results) {
    fmt::print("{:<{}}", r.name, name_width);
    for (const Column& c : columns_of(r)) {
      fmt::print("  {:>{}}", c.text, std::max<std::size_t>(10, c.heading.size()));
    }
    fmt::print("\n");
  }
}

void print_json(const std::vector<Result>& results) {
  for (const Result& r : results) {
    nlohmann::ordered_json row = {{"model", r.name},
                                  {"parameters", r.parameters},
                                  {"tokens", r.tokens},
                                  {"seconds", r.seconds}};
    for (const auto& [key, value] : r.last) {
      if (key == "val_loss" || key.find("accuracy") != std::string::npos) row[key] = value;
    }
    fmt::print("{}\n", row.dump());
  }
}

/// How well the models do over the tokens: the accuracy on a word's last token, or the loss.
void write_chart(const Comparison& comparison, const fs::path& out) {
  const RunConfig& c = comparison.models[0].config;
  const bool words = c.data.kind == "words";
  const std::string key = words ? fmt::format("last_accuracy_{}", c.data.length) : "val_loss";
  std::vector<Curve> curves;
  for (const Comparison::Model& model : comparison.models) {
    curves.push_back(metric_curve(out / folder_name(model.name), key, /*over_tokens=*/true));
    curves.back().name = model.name;
  }
  const std::string label = words ? fmt::format("last-token accuracy at length {}", c.data.length)
                                  : "validation loss (nats a token)";
  write_file(out / "compare.svg", svg_plot(curves, {.title = comparison.title,
                                                    .x_label = "tokens trained on",
                                                    .y_label = label}));
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
  std::vector<Result> results;
  for (const Comparison::Model& model : comparison.models) {
    results.push_back(train_model(model, out / folder_name(model.name), arguments.resume));
  }
  write_chart(comparison, out);
  fmt::print(stderr, "\n{}\n", comparison.title);
  arguments.json ? print_json(results) : print_table(results);
  std::fflush(stdout);
  fmt::print(stderr, "curves: {}\n", (out / "compare.svg").string());
}

}  // namespace

void add_compare(CLI::App& program) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command = program.add_subcommand(
      "compare", "Train several models on equally many tokens: a table, and curves as an SVG");
  arguments->config.add_to(*command);
  command->add_option("--out", arguments->out,
                      "A folder for compare.svg and the models' runs (default runs/NAME)");
  command->add_flag("--resume", arguments->resume,
                    "Go on with the comparison in --out; finished models stay as they are");
  command->add_flag("--json", arguments->json, "Results as one JSON object a line");
  command->callback([arguments] { compare(*arguments); });
}

}  // namespace scangrad::tools
