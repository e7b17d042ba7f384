#pragma once
#include <scangrad/core/error.h>
#include <scangrad/core/graph_capture.h>
#include <scangrad/models/language_model.h>
#include <scangrad/train/checkpoint.h>
#include <scangrad/train/config.h>
#include <scangrad/train/files.h>
#include <scangrad/train/metrics.h>
#include <scangrad/train/open_run.h>
#include <scangrad/train/optimizer.h>
#include <scangrad/train/run_data.h>

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

namespace scangrad {

/// A loss or gradient that is no longer finite, from which no training comes back.
class DivergenceError : public ValueError {
 public:
  using ValueError::ValueError;
};

/// What training tells and asks; each may be left out. The order of members is frozen.
struct TrainingCallbacks {
  /// Every `log_every` steps and at the end: step, train_loss, lr, gradient_norm,
  /// tokens_per_second, under a curriculum length; and, at a validation, what `Trainer::evaluate`
  /// gives.
  std::function<void(const Metrics&)> on_log = {};
  /// After each validation.
  std::function<void(const Metrics&)> on_validation = {};
  /// Asked after each step (and so also from a flag that a signal handler sets): true saves a
  /// checkpoint, from which the run goes on exactly, and ends `run`.
  std::function<bool()> should_stop = {};
};

struct TrainingResult {
  std::int64_t steps = 0;  ///< done so far, those before a resumption too
  bool stopped = false;    ///< by `should_stop`, before the end
  double train_loss = 0;   ///< of the last step
  double best_loss = 0;    ///< lowest validation loss; infinite without any
  std::int64_t best_step = 0;
  Metrics validation = {};  ///< the last one's; empty without any
  double seconds = 0;       ///< that this call trained, without validation and saving
};

/// A run: model, optimizer, data and their folder, which holds config.json (all that decides the
/// run, resolved), tokenizer.json (for text), metrics.jsonl and checkpoints/. Only the latest
/// checkpoint is kept, which need not be the one of the lowest validation loss. Killed at any
/// moment and resumed, a run ends with the same weights and, but for times, the same metrics.
///
/// Randomness is the run's own: the default generator is the caller's, and left as it was.
class Trainer {
 public:
  /// A new run in `folder`, where nothing is written before `run`; its weights are those that
  /// follow from the seed or, with `config.from`, another run's. Throws ValueError where it holds
  /// a run, or what an earlier one left, and what `validate`, the model, `open_run_data` and
  /// `load_run_weights` throw.
  Trainer(const RunConfig& config, const std::filesystem::path& folder);
  /// The run in `folder` as its latest checkpoint left it; from the start if it has none. `steps`,
  /// where given, replaces how long the run is; ValueError where it is longer already, where the
  /// data are no longer the same, and where another Trainer goes on with this run.
  static std::unique_ptr<Trainer> resume(const std::filesystem::path& folder,
                                         std::optional<std::int64_t> steps = std::nullopt);

  /// Trains to the end of the run, and saves it there. Throws DivergenceError where the loss or a
  /// gradient is no longer finite: the metrics end with that step, and the last checkpoint is as it
  /// was. Throws ValueError where another Trainer has begun a run in the folder.
  TrainingResult run(const TrainingCallbacks& callbacks = {});
  /// The model on the validation data. Text: val_loss. Words: val_loss at the trained length and,
  /// for each length L, accuracy_L and last_accuracy_L. With MRU layers, log10_state_norm on the
  /// data of val_loss.
  Metrics evaluate();

  LanguageModel& model() { return *model_; }
  const RunConfig& config() const { return config_; }
  const RunData& data() const { return data_; }
  std::int64_t steps_done() const { return state_.step; }

 private:
  Trainer(const RunConfig& config, const std::filesystem::path& folder,
          std::shared_ptr<const Tokenizer> tokenizer);
  void open_folder();
  void set_length(std::int64_t length);
  void train_step(double rate);
  void compute_step();
  double gradient_norm() const;
  void save();

  std::filesystem::path folder_;
  RunConfig config_;
  RunData data_;
  std::unique_ptr<LanguageModel> model_;
  std::unique_ptr<Optimizer> optimizer_;
  Loader loader_;
  TrainingState state_;
  std::vector<Batch> batches_;  // of one step, on the device: what `compute_step` reads
  Tensor loss_;                 // f32 []: what it leaves
  std::optional<GraphCapture> computation_;  // `compute_step`, on these batches
  std::optional<FolderLock> lock_;           // from the first write, or from the resumption
};

}  // namespace scangrad
