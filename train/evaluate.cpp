#include <scangrad/autograd/grad_mode.h>
#include <scangrad/core/backend.h>
#include <scangrad/ops/loss.h>
#include <scangrad/ops/reduce.h>
#include <scangrad/ops/shape.h>
#include <scangrad/train/evaluate.h>

#include <algorithm>
#include <numeric>
#include <vector>

namespace scangrad {
namespace {

/// x where the model is.
Tensor beside(const Tensor& x, const LanguageModel& model) {
  const Device device = model.named_parameters().front().tensor.device();
  if (x.device() == device) return x;
  const Tensor there = empty(x.shape(), {x.dtype(), device});
  raw_copy(there, x);
  return there;
}

Tensor loss_of(const Tensor& logits, const Tensor& targets) {
  const std::int64_t rows = targets.numel();
  return cross_entropy(reshape(logits, {rows, logits.size(-1)}), reshape(targets, {rows}));
}

/// Evaluation mode for the life of the object.
class Evaluating {
 public:
  explicit Evaluating(Module& module) : module_(module), was_training_(module.is_training()) {
    module_.eval();
  }
  ~Evaluating() { module_.train(was_training_); }
  Evaluating(const Evaluating&) = delete;
  Evaluating& operator=(const Evaluating&) = delete;

 private:
  Module& module_;
  bool was_training_;
};

}  // namespace

Tensor language_model_loss(LanguageModel& model, const Batch& batch) {
  return loss_of(model.forward(beside(batch.inputs, model)), beside(batch.targets, model));
}

Evaluation evaluate(LanguageModel& model, const Dataset& dataset, std::int64_t batch_size) {
  const auto guard = no_grad();
  const Evaluating mode(model);
  const std::int64_t length = dataset.length();
  std::int64_t batches = 0, correct = 0, last_correct = 0;
  double loss = 0;
  for (std::int64_t first = 0; first < dataset.size(); first += batch_size) {
    std::vector<std::int64_t> indices(
        static_cast<std::size_t>(std::min(batch_size, dataset.size() - first)));
    std::iota(indices.begin(), indices.end(), first);
    const Batch batch = dataset.batch(indices);
    const Tensor logits = model.forward(beside(batch.inputs, model));  // (B, T, vocab)
    loss += loss_of(logits, beside(batch.targets, model)).item<double>();
    ++batches;
    const auto said = argmax(logits, -1).to_vector<std::int64_t>();
    const auto targets = batch.targets.to_vector<std::int64_t>();
    for (std::size_t i = 0; i < targets.size(); ++i) {
      if (said[i] != targets[i]) continue;
      ++correct;
      if (static_cast<std::int64_t>(i + 1) % length == 0) ++last_correct;
    }
  }
  const auto sequences = static_cast<double>(dataset.size());
  return {loss / static_cast<double>(batches),
          static_cast<double>(correct) / (sequences * static_cast<double>(length)),
          static_cast<double>(last_correct) / sequences};
}

}  // namespace scangrad
