// scangrad train: one run, begun or gone on with.
#include <scangrad/core/error.h>
#include <scangrad/tools/commands.h>
#include <scangrad/tools/presets.h>
#include <scangrad/tools/progress.h>

#include <fmt/format.h>

#include <cstdio>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>

namespace scangrad::tools {
namespace {

struct Arguments {
  ConfigOptions config;
  std::string out;
  bool resume = false, dry_run = false;
};

void describe(Trainer& trainer) {
  const RunConfig& c = trainer.config();
  fmt::print("{}\n", to_json(c));
  fmt::print(stderr,
             "{} parameters; {} sequences to train on, {} to validate; nothing is written\n",
             trainer.model().parameter_count(),
             c.data.kind == "words" ? "endless" : fmt::to_string(trainer.data().train->size()),
             trainer.data().validation[0]->size());
}

void train(const Arguments& arguments) {
  const std::string folder =
      arguments.out.empty() ? arguments.config.unused_folder() : arguments.out;
  std::unique_ptr<Trainer> trainer;
  if (arguments.resume) {
    if (arguments.out.empty()) throw CLI::ValidationError("--resume needs --out, the run's folder");
    if (arguments.config.decides_more_than_steps()) {
      throw CLI::ValidationError(
          "--resume goes on with the run as it was; only --steps can change");
    }
    const std::int64_t steps = arguments.config.steps;
    trainer = Trainer::resume(folder, steps > 0 ? std::optional(steps) : std::nullopt);
  } else {
    trainer = std::make_unique<Trainer>(arguments.config.run(), folder);
  }
  if (arguments.dry_run) return describe(*trainer);
  if (trainer->steps_done() == trainer->config().steps) {
    fmt::print(stderr, "{} has all its {} steps; give --steps to go on\n", folder,
               trainer->steps_done());
    return;
  }
  const TrainingResult result = train_with_progress(*trainer, folder);
  if (result.stopped) {
    throw Error(
        fmt::format("interrupted after step {}, which is saved; go on with: scangrad train "
                    "--out {} --resume",
                    result.steps, folder));
  }
  fmt::print("{}: val_loss {:.4f} after {} steps (lowest {:.4f} at step {})\n", folder,
             metric(result.validation, "val_loss"), result.steps, result.best_loss,
             result.best_step);
}

}  // namespace

void add_train(CLI::App& program) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command = program.add_subcommand("train", "Train a model, or go on with a run");
  arguments->config.add_to(*command);
  command->add_option("--out", arguments->out,
                      "The run's folder: configuration, metrics, checkpoints (default runs/NAME)");
  command->add_flag("--resume", arguments->resume, "Go on where the run in --out was saved last");
  command->add_flag("--dry-run", arguments->dry_run,
                    "Print the configuration, check it and the data, and stop");
  command->callback([arguments] { train(*arguments); });
}

}  // namespace scangrad::tools
