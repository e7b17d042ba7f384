#include <scangrad/tools/results.h>

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace scangrad::tools {

namespace fs = std::filesystem;

namespace {

bool is_known(const Metrics& line, const std::string& key) {
  return std::any_of(line.begin(), line.end(),
                     [&](const auto& entry) { return entry.first == key; });
}

/// Whether the line has the key, and there a number that is none.
bool is_not_finite(const Metrics& line, const std::string& key) {
  return is_known(line, key) && !std::isfinite(metric(line, key));
}

}  // namespace

bool is_finished(const Run& run) {
  return fs::exists(run.folder / "checkpoints" / fmt::format("step-{}", run.config.steps));
}

RunResult run_result(const Run& run) {
  RunResult result = {.finished = is_finished(run)};
  if (!fs::exists(run.folder / "metrics.jsonl")) return result;
  const auto tokens = [&](double steps) {
    return static_cast<double>(tokens_trained(run.config, static_cast<std::int64_t>(steps)));
  };
  double logged = 0, lowest = HUGE_VAL, length = 0;
  bool high = false;
  for (const Metrics& line : read_metrics(run.folder / "metrics.jsonl")) {
    result.steps = metric(line, "step");
    const double rate = metric(line, "tokens_per_second");
    if (rate > 0) {
      result.seconds += (tokens(result.steps) - tokens(std::exchange(logged, result.steps))) / rate;
    }
    result.diverged = is_not_finite(line, "train_loss") || is_not_finite(line, "gradient_norm");
    if (is_known(line, "length") && std::exchange(length, metric(line, "length")) != length) {
      lowest = HUGE_VAL;  // another stage of a curriculum, with losses of its own
    }
    const double train_loss = metric(line, "train_loss");
    if (std::isfinite(train_loss)) {
      const bool was_high = std::exchange(high, train_loss > lowest + spike);
      result.spikes += high && !was_high ? 1 : 0;
      lowest = std::min(lowest, train_loss);
    }
    result.log10_state_norm = std::fmax(result.log10_state_norm, metric(line, "log10_state_norm"));
    const double loss = metric(line, "val_loss");
    if (std::isnan(loss)) continue;
    result.last = line;
    if (loss >= result.best_loss) continue;
    result.best_loss = loss;
    result.best_step = result.steps;
  }
  return result;
}

std::string mean_text(const std::vector<double>& values, int digits, const std::string& unit) {
  double sum = 0;
  for (const double value : values) sum += value;
  const double mean = sum / static_cast<double>(values.size());
  if (!std::isfinite(mean)) return "-";
  const auto text = [&](double value) { return fmt::format("{:.{}f}", value, digits); };
  const auto [least, largest] = std::minmax_element(values.begin(), values.end());
  const bool equal = text(*least) == text(*largest);
  return text(mean) + unit + (equal ? "" : " (" + text(*least) + " to " + text(*largest) + ")");
}

std::vector<Row> score_rows(const std::vector<std::vector<RunResult>>& groups, bool stability) {
  const std::string accuracy = "last_accuracy_";
  std::vector<std::string> accuracies;  // in the order of their first appearance
  for (const auto& runs : groups) {
    for (const RunResult& run : runs) {
      for (const auto& [key, value] : run.last) {
        const bool known = std::find(accuracies.begin(), accuracies.end(), key) != accuracies.end();
        if (key.starts_with(accuracy) && !known) accuracies.push_back(key);
      }
    }
  }
  std::vector<Row> rows = {{"lowest val_loss", "at step", "val_loss"}};
  for (const std::string& key : accuracies) {
    rows[0].push_back("last token at " + key.substr(accuracy.size()));
  }
  if (stability) rows[0].insert(rows[0].end(), {"log10 |H|", "spikes"});
  for (const auto& runs : groups) {
    const auto each = [&](const auto& value) {
      std::vector<double> values;
      for (const RunResult& run : runs) values.push_back(value(run));
      return values;
    };
    const auto last = [&](const std::string& key) {
      return each([&](const RunResult& run) { return metric(run.last, key); });
    };
    Row row = {mean_text(each([](const RunResult& run) { return run.best_loss; }), 4),
               mean_text(each([](const RunResult& run) { return run.best_step; }), 0),
               mean_text(last("val_loss"), 4)};
    for (const std::string& key : accuracies) {
      std::vector<double> shares = last(key);
      for (double& share : shares) share *= 100;
      row.push_back(mean_text(shares, 1, " %"));
    }
    if (stability) {
      row.push_back(mean_text(each([](const RunResult& run) { return run.log10_state_norm; }), 1));
      row.push_back(mean_text(each([](const RunResult& run) { return run.spikes; }), 0));
    }
    rows.push_back(std::move(row));
  }
  return rows;
}

void print_table(const std::vector<Row>& rows, std::size_t names) {
  std::vector<std::size_t> widths(rows[0].size());
  for (const Row& row : rows) {
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  for (const Row& row : rows) {
    std::string line;
    for (std::size_t i = 0; i < row.size(); ++i) {
      line += i < names ? fmt::format("{:<{}}  ", row[i], widths[i])
                        : fmt::format("{:>{}}  ", row[i], widths[i]);
    }
    fmt::print("{}\n", line.substr(0, line.find_last_not_of(' ') + 1));
  }
}

void add_scores(nlohmann::ordered_json& row, const RunResult& run) {
  row["best_loss"] = run.best_loss;  // null where there was no validation
  row["best_step"] = run.best_step;
  row["spikes"] = run.spikes;
  row["log10_state_norm"] = run.log10_state_norm;  // null without states
  row["diverged"] = run.diverged;
  for (const auto& [key, value] : run.last) {
    if (key == "val_loss" || key.find("accuracy") != std::string::npos) row[key] = value;
  }
}

}  // namespace scangrad::tools
