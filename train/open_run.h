#pragma once
#include <scangrad/models/language_model.h>
#include <scangrad/train/config.h>
#include <scangrad/train/metrics.h>
#include <scangrad/train/run_data.h>

#include <cstdint>
#include <filesystem>
#include <memory>

// What is made of a run's configuration and read from its folder, by those who train it and by
// those who use it.
namespace scangrad {

/// A run's model, ready for use.
struct OpenRun {
  RunConfig config = {};
  std::unique_ptr<LanguageModel> model = {};  ///< in evaluation mode
  std::shared_ptr<const Tokenizer> tokenizer = {};
  std::int64_t step = 0;  ///< how long it was trained
};

/// Loads the latest checkpoint of the run in `folder`. Throws IoError where there is no run or
/// checkpoint, or it is damaged.
OpenRun open_run(const std::filesystem::path& folder);
/// Fills the model with the weights of the run's latest checkpoint: how many steps that one has.
/// Throws IoError where there is none or it is damaged, and ShapeError or ValueError naming the
/// first tensor that is not the model's.
std::int64_t load_run_weights(const std::filesystem::path& folder, LanguageModel& model);
/// `evaluate` of a model on a run's data, under the metrics' names.
Metrics evaluate_run(LanguageModel& model, const RunData& data, const RunConfig& config);

/// The device by its name. Throws ValueError for another name than cpu and cuda.
Device device_of(const RunConfig& config);
/// The model with its initial weights, which follow from the seed.
std::unique_ptr<LanguageModel> make_model(const RunConfig& config);
/// The configuration in a run's folder. Throws IoError where there is none.
RunConfig read_run_config(const std::filesystem::path& folder);
/// The tokenizer in a run's folder; none for word problems.
std::shared_ptr<const Tokenizer> read_run_tokenizer(const std::filesystem::path& folder);

}  // namespace scangrad
