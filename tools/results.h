#pragma once
#include <scangrad/train/config.h>
#include <scangrad/train/metrics.h>

#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

// What the metrics of finished runs say, for the tables of `compare` and `sweep`.
namespace scangrad::tools {

/// One run of a comparison or a sweep.
struct Run {
  std::string name;  ///< under which it is told of
  RunConfig config = {};
  std::filesystem::path folder = {};
};

/// A rise of the logged train_loss above the lowest before it that counts as a loss spike, in nats;
/// one that lasts counts once, until the loss is back.
constexpr double spike = 0.5;

/// How a run did, by its metrics.
struct RunResult {
  double steps = 0;             ///< up to the last line
  double seconds = 0;           ///< of training, also of earlier sessions
  double best_loss = HUGE_VAL;  ///< the lowest validation loss; infinite without any
  double best_step = 0;
  Metrics last = {};  ///< the last validation's line
  double spikes = 0;  ///< times that train_loss left its lowest value so far by `spike` nats
  double log10_state_norm = NAN;  ///< the largest of all validations; NaN without any
  bool finished = false;          ///< it has its last step
  bool diverged = false;          ///< it ended where a loss or gradient was no longer finite
};

/// Whether a run has its last step.
bool is_finished(const Run& run);
/// Nothing but zeros where the run has no metrics yet.
RunResult run_result(const Run& run);

/// `1.5712` of one run; of several that differ their mean and range, `1.5712 (1.5690 to 1.5741)`;
/// `-` where one is missing.
std::string mean_text(const std::vector<double>& values, int digits, const std::string& unit = "");

using Row = std::vector<std::string>;

/// How runs did: headings, and a row for each group of runs that differ in their seeds alone. The
/// lowest validation loss and its step, the last one, and accuracies, where any run has such; of
/// `stability`, the largest norm of a state, and spikes.
std::vector<Row> score_rows(const std::vector<std::vector<RunResult>>& groups, bool stability);

/// Prints rows, headings first, in columns: the first `names` of them to the left, numbers to the
/// right.
void print_table(const std::vector<Row>& rows, std::size_t names);

/// Adds one run's scores to its line of `--json`.
void add_scores(nlohmann::ordered_json& row, const RunResult& run);

}  // namespace scangrad::tools
