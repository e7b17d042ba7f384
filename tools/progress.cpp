#include <scangrad/core/parallel.h>
#include <scangrad/tools/progress.h>
#include <scangrad/tools/stopwatch.h>
#include <unistd.h>

#include <fmt/format.h>

#include <cmath>
#include <csignal>
#include <cstdio>
#include <cstring>

namespace scangrad::tools {
namespace {

volatile std::sig_atomic_t stop_requested = 0;

/// Catches the signals that ask a program to end, while it lives.
class StopSignals {
 public:
  StopSignals() {
    stop_requested = 0;
    struct sigaction action;
    std::memset(&action, 0, sizeof action);
    action.sa_handler = [](int) { stop_requested = 1; };
    action.sa_flags =
        static_cast<int>(SA_RESETHAND | SA_RESTART);  // the second one ends the program
    sigaction(SIGINT, &action, &before_[0]);
    sigaction(SIGTERM, &action, &before_[1]);
  }
  ~StopSignals() {
    sigaction(SIGINT, &before_[0], nullptr);
    sigaction(SIGTERM, &before_[1], nullptr);
  }
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;

 private:
  struct sigaction before_[2];
};

/// `1:02:03` or `2:03`.
std::string clock_time(double seconds) {
  const auto s = static_cast<std::int64_t>(std::lround(seconds));
  return s < 3600 ? fmt::format("{}:{:02}", s / 60, s % 60)
                  : fmt::format("{}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60);
}

/// The part of a line of metrics that tells how well the model does.
std::string scores(const Metrics& metrics) {
  std::string text;
  for (const auto& [key, value] : metrics) {
    if (key.ends_with("loss")) text += fmt::format("  {} {:.4f}", key, value);
    if (key.starts_with("last_accuracy")) text += fmt::format("  {} {:.1f} %", key, 100 * value);
  }
  return text;
}

std::string bar(double share) {
  constexpr int width = 20;
  std::string text;
  for (int i = 0; i < width; ++i) text += i < std::lround(share * width) ? "━" : "·";
  return text;
}

}  // namespace

TrainingResult train_with_progress(Trainer& trainer, const std::string& name) {
  const RunConfig& c = trainer.config();
  const bool terminal = isatty(STDERR_FILENO) == 1;
  const char* const clear = terminal ? "\r\033[K" : "";
  const auto start = Clock::now();
  const std::int64_t begin = trainer.steps_done();
  fmt::print(stderr, "{}: {} parameters, steps {} to {} of {} x {}{} tokens, {}\n", name,
             trainer.model().parameter_count(), begin, c.steps, c.batch * c.optimizer.accumulate,
             c.data.curriculum.empty() ? "" : "up to ", c.data.length,
             c.device == "cpu" ? fmt::format("cpu, {} threads", num_threads()) : c.device);

  const auto renew = [&](const Metrics& m) {
    if (!terminal) return;
    const double step = metric(m, "step"), total = static_cast<double>(c.steps);
    const double left =
        milliseconds_since(start) * 1e-3 * (total - step) / (step - static_cast<double>(begin));
    fmt::print(stderr, "{}{} {:.0f}/{}  train_loss {:.4f}  {:.0f} tokens/s  {} left", clear,
               bar(step / total), step, c.steps, metric(m, "train_loss"),
               metric(m, "tokens_per_second"), clock_time(left));
  };
  const auto validated = [&](const Metrics& m) {
    fmt::print(stderr, "{}step {:.0f}/{}{}  [{}]\n", clear, metric(m, "step"), c.steps, scores(m),
               clock_time(milliseconds_since(start) * 1e-3));
  };
  const StopSignals signals;
  const TrainingResult result =
      trainer.run({.on_log = renew, .on_validation = validated, .should_stop = [] {
                     return stop_requested != 0;
                   }});
  if (result.stopped) fmt::print(stderr, "{}", clear);
  return result;
}

}  // namespace scangrad::tools
