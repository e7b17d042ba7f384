#pragma once
#include <scangrad/models/language_model.h>
#include <scangrad/train/dataset.h>

#include <cstdint>

namespace scangrad {

/// Mean cross entropy of the model's predictions of a batch, in nats a token; recorded.
Tensor language_model_loss(LanguageModel& model, const Batch& batch);

struct Evaluation {
  double loss = 0;           ///< mean over batches, the last of which may be smaller
  double accuracy = 0;       ///< share of targets that the likeliest token is
  double last_accuracy = 0;  ///< the same of each sequence's last target
};

/// Evaluates on the whole dataset, in order, without dropout; nothing is recorded and the model's
/// mode is as before.
Evaluation evaluate(LanguageModel& model, const Dataset& dataset, std::int64_t batch_size);

/// How large the states of MRU layers become on the dataset: log₁₀ of the largest Frobenius norm;
/// NaN for a model without such layers.
double log10_state_norm(LanguageModel& model, const Dataset& dataset, std::int64_t batch_size);

}  // namespace scangrad
