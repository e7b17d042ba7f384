#pragma once
#include <scangrad/train/metrics.h>
#include <scangrad/train/plot.h>

#include <filesystem>
#include <string>

namespace scangrad::tools {

/// A run's metric over its steps, or over the tokens that it has trained on. Throws ValueError
/// where no line of its metrics has it, naming those that there are.
Curve metric_curve(const std::filesystem::path& run, const std::string& key, bool over_tokens);

/// What a metric is called on an axis, with its unit.
std::string metric_label(const std::string& key);

}  // namespace scangrad::tools
