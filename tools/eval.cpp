// scangrad eval: a trained model's loss and accuracy on its validation data, or on other text.
#include <scangrad/core/error.h>
#include <scangrad/tools/commands.h>
#include <scangrad/train/trainer.h>

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include <cmath>
#include <memory>
#include <string>
#include <vector>

namespace scangrad::tools {
namespace {

struct Arguments {
  std::string run, data;
  std::vector<std::int64_t> lengths;
  bool json = false;
};

void eval(const Arguments& arguments) {
  OpenRun run = open_run(arguments.run);
  RunConfig config = run.config;
  if (!arguments.data.empty()) {
    if (config.data.kind != "text") {
      throw ValueError(
          fmt::format("eval: {} was not trained on text; leave --data out", arguments.run));
    }
    config.data.file = arguments.data;
    config.data.validation_file.clear();
    config.data.train_fraction = 0;  // a text of its own: all of it
  }
  if (!arguments.lengths.empty()) {
    config.data.length = arguments.lengths[0];
    config.data.eval_lengths.assign(arguments.lengths.begin() + 1, arguments.lengths.end());
    if (config.data.kind == "text" && arguments.lengths.size() > 1) {
      throw CLI::ValidationError("--length: text is evaluated at one length");
    }
  }
  Metrics metrics = {{"step", static_cast<double>(run.step)}};
  const Metrics scores = evaluate_run(*run.model, open_run_data(config, run.tokenizer), config);
  metrics.insert(metrics.end(), scores.begin(), scores.end());
  if (config.data.kind == "text") {
    const double loss = metric(scores, "val_loss");
    metrics.insert(metrics.end(),
                   {{"perplexity", std::exp(loss)}, {"bits_per_token", loss / std::log(2.0)}});
  }
  if (arguments.json) {
    nlohmann::ordered_json row;
    for (const auto& [key, value] : metrics) row[key] = value;
    fmt::print("{}\n", row.dump());
  } else {
    for (const auto& [key, value] : metrics) fmt::print("{:<18} {:.6g}\n", key, value);
  }
}

}  // namespace

void add_eval(CLI::App& program) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command = program.add_subcommand("eval", "A trained model's loss and accuracy");
  command->add_option("--run", arguments->run, "The run's folder")->required();
  command->add_option("--data", arguments->data,
                      "Another text, all of it (default: what the run's training left over)");
  command
      ->add_option("--length", arguments->lengths,
                   "Of the sequences (default: the run's); of words also several")
      ->check(at_least(1));
  command->add_flag("--json", arguments->json, "One JSON object");
  command->callback([arguments] { eval(*arguments); });
}

}  // namespace scangrad::tools
