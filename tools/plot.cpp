// scangrad plot: curves of one or several runs as an SVG.
#include <scangrad/core/error.h>
#include <scangrad/tools/commands.h>
#include <scangrad/tools/curves.h>
#include <scangrad/train/config.h>
#include <scangrad/train/files.h>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cmath>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace scangrad::tools {

namespace fs = std::filesystem;

Curve metric_curve(const fs::path& run, const std::string& key, bool over_tokens) {
  RunConfig config;
  if (over_tokens) config = load_run_config(run / "config.json");
  Curve curve = {.name = fs::absolute(run / "").parent_path().filename().string()};
  std::set<std::string> keys;
  for (const Metrics& line : read_metrics(run / "metrics.jsonl")) {
    for (const auto& entry : line) keys.insert(entry.first);
    const double value = metric(line, key);
    if (std::isnan(value)) continue;
    const double step = metric(line, "step");
    const auto steps = static_cast<std::int64_t>(step);
    curve.x.push_back(over_tokens ? static_cast<double>(tokens_trained(config, steps)) : step);
    curve.y.push_back(value);
  }
  if (curve.x.empty()) {
    throw ValueError(
        fmt::format("{} has no metric '{}'; it has {}", run.string(), key,
                    keys.empty() ? "none yet" : fmt::format("{}", fmt::join(keys, ", "))));
  }
  return curve;
}

std::string metric_label(const std::string& key) {
  for (const auto& [start, label] : {std::pair{"last_accuracy_", "last-token accuracy at length "},
                                     {"accuracy_", "accuracy at length "}}) {
    if (key.starts_with(start)) return label + key.substr(std::string_view(start).size());
  }
  for (const auto& [name, label] : {std::pair{"val_loss", "validation loss (nats a token)"},
                                    {"train_loss", "training loss (nats a token)"},
                                    {"lr", "learning rate"},
                                    {"gradient_norm", "gradient norm"},
                                    {"tokens_per_second", "tokens a second"},
                                    {"log10_state_norm", "log₁₀ of the largest ‖H‖"}}) {
    if (key == name) return label;
  }
  return key;
}

void add_plot(CLI::App& program) {
  struct Arguments {
    std::vector<std::string> runs;
    std::string out, key = "val_loss", title;
    bool tokens = false, log_y = false;
  };
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command = program.add_subcommand("plot", "Curves of one or several runs, as an SVG");
  command->add_option("runs", arguments->runs, "Folders of runs")->required();
  command->add_option("--out", arguments->out, "The SVG file")->required();
  command->add_option("--metric", arguments->key, "A key of the runs' metrics.jsonl")
      ->capture_default_str();
  command->add_option("--title", arguments->title, "Above the chart");
  command->add_flag("--tokens", arguments->tokens, "Over the tokens trained on, not the steps");
  command->add_flag("--log", arguments->log_y, "Logarithmic y axis");
  command->callback([arguments] {
    std::vector<Curve> curves;
    for (const std::string& run : arguments->runs) {
      curves.push_back(metric_curve(run, arguments->key, arguments->tokens));
    }
    write_file(arguments->out,
               svg_plot(curves, {.title = arguments->title,
                                 .x_label = arguments->tokens ? "tokens trained on" : "step",
                                 .y_label = metric_label(arguments->key),
                                 .log_y = arguments->log_y}));
    fmt::print("{}\n", arguments->out);
  });
}

}  // namespace scangrad::tools
