#pragma once
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

namespace scangrad {

/// What was measured at one step, in order: `{"step", 100}, {"train_loss", 1.7}, …`.
using Metrics = std::vector<std::pair<std::string, double>>;

/// The value under `key`; NaN where there is none.
double metric(const Metrics& metrics, const std::string& key);

/// A run's `metrics.jsonl`: one JSON object a line, each flushed to the file as it is written, so
/// that a run that is killed loses nothing.
class MetricsLog {
 public:
  /// Continues the file after the lines up to `last_step` (0 starts it anew): what a resumed run
  /// will do again is cut off. Throws IoError.
  MetricsLog(const std::filesystem::path& path, std::int64_t last_step);
  /// Throws IoError where the disk is full.
  void write(const Metrics& metrics);
  /// Flushes the lines to the disk: what comes after them is then never there without them. Throws
  /// IoError.
  void sync();

 private:
  std::filesystem::path path_;
  std::ofstream file_;
};

/// All lines of a metrics file; a last line without its end, left by a killed run, is not one.
/// Throws IoError where the file cannot be read, ValueError naming a malformed line.
std::vector<Metrics> read_metrics(const std::filesystem::path& path);

}  // namespace scangrad
