#include <scangrad/autograd/grad_mode.h>
#include <scangrad/ops/elementwise.h>
#include <scangrad/ops/loss.h>
#include <scangrad/ops/reduce.h>
#include <scangrad/ops/shape.h>
#include <scangrad/train/evaluate.h>

#include <algorithm>
#include <limits>
#include <numeric>
#include <vector>

namespace scangrad {
namespace {

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

/// The sequences from `first` on; the last batch may be smaller.
Batch batch_from(const Dataset& dataset, std::int64_t first, std::int64_t batch_size) {
  std::vector<std::int64_t> indices(
      static_cast<std::size_t>(std::min(batch_size, dataset.size() - first)));
  std::iota(indices.begin(), indices.end(), first);
  return dataset.batch(indices);
}

}  // namespace

Tensor language_model_loss(LanguageModel& model, const Batch& batch) {
  const Device device = model.device();
  return loss_of(model.forward(to(batch.inputs, device)), to(batch.targets, device));
}

Evaluation evaluate(LanguageModel& model, const Dataset& dataset, std::int64_t batch_size) {
  const auto guard = no_grad();
  const Evaluating mode(model);
  const Device device = model.device();
  // Summed there, and read once: reading waits for the device.
  Tensor loss = zeros({}, {DType::f64, device});
  Tensor correct = zeros({}, {DType::i64, device}), last_correct = correct;
  std::int64_t batches = 0;
  for (std::int64_t first = 0; first < dataset.size(); first += batch_size) {
    const Batch batch = batch_from(dataset, first, batch_size);
    const Tensor targets = to(batch.targets, device);
    const Tensor logits = model.forward(to(batch.inputs, device));  // (B, T, vocab)
    const Tensor hits = eq(argmax(logits, -1), targets);            // (B, T)
    loss = loss + cast(loss_of(logits, targets), DType::f64);
    correct = correct + sum(hits);
    last_correct = last_correct + sum(select(hits, 1, -1));
    ++batches;
  }
  const auto sequences = static_cast<double>(dataset.size());
  return {loss.item<double>() / static_cast<double>(batches),
          correct.item<double>() / (sequences * static_cast<double>(dataset.length())),
          last_correct.item<double>() / sequences};
}

double log10_state_norm(LanguageModel& model, const Dataset& dataset, std::int64_t batch_size) {
  const auto guard = no_grad();
  const Evaluating mode(model);
  Tensor largest;
  for (std::int64_t first = 0; first < dataset.size(); first += batch_size) {
    const Batch batch = batch_from(dataset, first, batch_size);
    const Tensor norm = model.log10_state_norm(to(batch.inputs, model.device()));
    if (!norm.defined()) return std::numeric_limits<double>::quiet_NaN();
    largest = largest.defined() ? maximum(largest, norm) : norm;
  }
  return largest.item<double>();
}

}  // namespace scangrad
