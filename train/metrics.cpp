#include <scangrad/core/format.h>
#include <scangrad/train/files.h>
#include <scangrad/train/metrics.h>

#include <nlohmann/json.hpp>

#include <cmath>
#include <limits>
#include <sstream>

namespace scangrad {
namespace {

using Json = nlohmann::ordered_json;

std::string line_of(const Metrics& metrics) {
  Json line = Json::object();
  for (const auto& [key, value] : metrics) {
    // Counts as integers; JSON has no NaN, so it becomes null.
    const bool is_count = std::trunc(value) == value && std::abs(value) < 9e15;
    line[key] = is_count ? Json(static_cast<std::int64_t>(value)) : Json(value);
  }
  return line.dump() + "\n";
}

Metrics parse_line(const std::string& text, const std::filesystem::path& path, std::size_t number) {
  const Json line = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  check<ValueError>(line.is_object(), "metrics: line {} of {} is not a JSON object", number,
                    path.string());
  Metrics metrics;
  for (const auto& [key, value] : line.items()) {
    const double nan = std::numeric_limits<double>::quiet_NaN();
    metrics.emplace_back(key, value.is_number() ? value.get<double>() : nan);
  }
  return metrics;
}

}  // namespace

double metric(const Metrics& metrics, const std::string& key) {
  for (const auto& [name, value] : metrics) {
    if (name == key) return value;
  }
  return std::numeric_limits<double>::quiet_NaN();
}

MetricsLog::MetricsLog(const std::filesystem::path& path, std::int64_t last_step) : path_(path) {
  std::string kept;
  if (last_step > 0 && std::filesystem::exists(path)) {
    for (const Metrics& metrics : read_metrics(path)) {
      if (metric(metrics, "step") <= static_cast<double>(last_step)) kept += line_of(metrics);
    }
  }
  write_file(path, kept);
  file_.open(path, std::ios::app);
  check<IoError>(file_.good(), "metrics: {} cannot be written", path.string());
}

void MetricsLog::write(const Metrics& metrics) {
  file_ << line_of(metrics) << std::flush;
  check<IoError>(file_.good(), "metrics: {} cannot be written; is the disk full?", path_.string());
}

void MetricsLog::sync() { sync_to_disk(path_); }

std::vector<Metrics> read_metrics(const std::filesystem::path& path) {
  const std::string text = read_file(path);
  std::vector<Metrics> all;
  std::size_t begin = 0;
  for (std::size_t end; (end = text.find('\n', begin)) != std::string::npos; begin = end + 1) {
    all.push_back(parse_line(text.substr(begin, end - begin), path, all.size() + 1));
  }
  return all;
}

}  // namespace scangrad
