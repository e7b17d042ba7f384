// scangrad bench train: steps of a preset's run, as the trainer does them, on random text.
#include <scangrad/core/error.h>
#include <scangrad/core/parallel.h>
#include <scangrad/ops/creation.h>
#include <scangrad/ops/matmul.h>
#include <scangrad/ops/random.h>
#include <scangrad/tools/bench.h>
#include <scangrad/tools/presets.h>
#include <scangrad/tools/stopwatch.h>
#include <scangrad/train/files.h>
#include <scangrad/train/trainer.h>
#include <unistd.h>

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace scangrad::tools {
namespace {

namespace fs = std::filesystem;

struct Arguments {
  ConfigOptions config;
  double budget = 10000;
  bool json = false;
};

/// A folder that lives as long as the benchmark.
class TemporaryFolder {
 public:
  TemporaryFolder()
      : path_(fs::temp_directory_path() / fmt::format("scangrad-bench-{}", getpid())) {
    fs::create_directories(path_);
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

/// Characters of a vocabulary of 65, Tiny Shakespeare's, enough for `chunks` of `length` + 1.
std::string random_text(std::int64_t chunks, std::int64_t length) {
  Generator generator(1);
  std::string text;
  for (const std::int64_t c : randint(0, 65, {chunks * (length + 1)}, {DType::i64}, &generator)
                                  .to_vector<std::int64_t>()) {
    text += static_cast<char>('0' + c);
  }
  return text;
}

/// Floating-point operations a second of a matrix product of this model's sizes.
double matmul_rate(const TensorOptions& like, std::int64_t tokens, std::int64_t width) {
  const Tensor a = ones({tokens, width}, like), b = ones({width, 4 * width}, like);
  const double ms = median_milliseconds(like.device, 500, [&](int) { matmul(a, b); });
  return 8.0 * static_cast<double>(tokens * width * width) / (ms * 1e-3);
}

void bench_train(Arguments arguments) {
  const TemporaryFolder folder;
  const bool bring_data = arguments.config.data.empty();
  if (bring_data) arguments.config.data = (folder.path() / "text.txt").string();
  RunConfig config = arguments.config.run();
  config.data.curriculum.clear();  // whole sequences
  const std::int64_t batch = config.batch * config.optimizer.accumulate;
  if (bring_data) write_file(config.data.file, random_text(4 * batch + 10, config.data.length));
  config.steps = config.validate_every = std::int64_t{1} << 40;  // until the budget is spent
  config.checkpoint_every = 0;
  config.log_every = config.device == "cpu" ? 1 : 20;  // a line waits for the device

  Trainer trainer(config, folder.path() / "run");
  std::vector<double> rates;  // tokens a second, line by line of the log
  const auto start = Clock::now();
  trainer.run(
      {.on_log = [&](const Metrics& m) { rates.push_back(metric(m, "tokens_per_second")); },
       .should_stop =
           [&] { return rates.size() >= 8 && milliseconds_since(start) > arguments.budget; }});
  rates.erase(rates.begin(), rates.begin() + 3);  // warm-up
  std::sort(rates.begin(), rates.end());

  const TensorOptions like = {DType::f32, trainer.model().named_parameters()[0].tensor.device()};
  const auto tokens = static_cast<double>(batch * config.data.length);
  // Every weight takes part in three products: forward, and the gradients of its two operands.
  const double floor = 6 * static_cast<double>(trainer.model().parameter_count()) /
                       matmul_rate(like, config.batch * config.data.length, config.model.width);
  const double rate = rates[rates.size() / 2];
  print_row({{"op", "train"},
             {"preset", arguments.config.preset},
             {"device", config.device},
             {"precision", config.precision},
             {"threads", num_threads()},
             {"batch", batch},
             {"length", config.data.length},
             {"parameters", trainer.model().parameter_count()},
             {"steps", rates.size()},
             {"tokens_per_second", rate},
             {"step_ms", tokens / rate * 1e3},
             {"fastest_step_ms", tokens / rates.back() * 1e3},
             {"ratio_to_matmul_floor", 1 / (rate * floor)}},
            arguments.json);
}

}  // namespace

void add_bench_train(CLI::App& bench) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command = bench.add_subcommand(
      "train", "Training steps, in tokens a second and as a ratio to their matrix products");
  arguments->config.add_to(*command);
  command->add_option("--budget", arguments->budget, "Milliseconds to train")
      ->capture_default_str();
  command->add_flag("--json", arguments->json, "One JSON object a line");
  command->callback([arguments] { bench_train(*arguments); });
}

}  // namespace scangrad::tools
