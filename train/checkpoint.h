#pragma once
#include <scangrad/core/random.h>
#include <scangrad/models/module.h>
#include <scangrad/train/dataset.h>
#include <scangrad/train/optimizer.h>

#include <cstdint>
#include <filesystem>
#include <limits>
#include <optional>

// Checkpoints of a run: RUN/checkpoints/step-N/{model.safetensors, optimizer.safetensors,
// state.json}; without an optimizer, one can be used but not trained on. One is written under a
// temporary name, flushed to the disk and renamed, and the ones before are removed only then:
// whenever the process dies, a whole checkpoint is left.
namespace scangrad {

/// Where training stands, besides weights and moments. The order of members is frozen.
struct TrainingState {
  std::int64_t step = 0;       ///< steps done
  PhiloxState generator = {};  ///< of dropout
  LoaderState loader = {};
  double best_loss = std::numeric_limits<double>::infinity();  ///< lowest validation loss so far
  std::int64_t best_step = 0;
  Fingerprint data = {};  ///< of what the run is trained on
};

/// Throws IoError (a full disk, say) and, where this step is saved already, ValueError; what was
/// there before is then still there.
void save_checkpoint(const std::filesystem::path& run, const TrainingState& state,
                     const Module& model, const Optimizer* optimizer = nullptr);

/// The run's checkpoint of the most steps, if it has one.
std::optional<std::filesystem::path> latest_checkpoint(const std::filesystem::path& run);

/// Fills the model and, where given, the optimizer. Throws IoError for a damaged file, and
/// ShapeError or ValueError naming the first tensor that is not the model's; the optimizer may then
/// not be used.
TrainingState load_checkpoint(const std::filesystem::path& checkpoint, Module& model,
                              Optimizer* optimizer = nullptr);

}  // namespace scangrad
