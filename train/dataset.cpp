#include <scangrad/core/format.h>
#include <scangrad/core/philox.h>
#include <scangrad/train/dataset.h>

#include <numeric>
#include <utility>

namespace scangrad {

Batch Dataset::batch(const std::vector<std::int64_t>& indices) const {
  const Shape shape = {static_cast<std::int64_t>(indices.size()), length()};
  const Batch batch{empty(shape, {DType::i64}), empty(shape, {DType::i64})};
  auto* inputs = batch.inputs.data<std::int64_t>();
  auto* targets = batch.targets.data<std::int64_t>();
  for (const std::int64_t index : indices) {
    check<IndexError>(index >= 0 && index < size(), "dataset: there is no sequence {} among {}",
                      index, size());
    read(index, inputs, targets);
    inputs += length();
    targets += length();
  }
  return batch;
}

ChunkDataset::ChunkDataset(Tokens tokens, std::int64_t length, std::int64_t first,
                           std::int64_t last)
    : tokens_(std::move(tokens)), length_(length), first_(first), last_(last) {
  check<ValueError>(
      length >= 1 && first >= 0 && first <= last && last * (length + 1) <= tokens_.size(),
      "dataset: {} tokens do not hold the chunks {} to {} of {} + 1 tokens", tokens_.size(), first,
      last, length);
}

void ChunkDataset::read(std::int64_t index, std::int64_t* inputs, std::int64_t* targets) const {
  const std::int64_t begin = (first_ + index) * (length_ + 1);
  for (std::int64_t t = 0; t < length_; ++t) {
    inputs[t] = tokens_[begin + t];
    targets[t] = tokens_[begin + t + 1];
  }
}

ChunkDataset whole_text(const Tokens& tokens, std::int64_t length) {
  return split_text(tokens, length, 0).validation;
}

TextSplit split_text(const Tokens& tokens, std::int64_t length, double train_fraction) {
  check<ValueError>(length >= 1 && train_fraction >= 0 && train_fraction < 1,
                    "data: context {} must be at least 1 and train_fraction {} in [0, 1)", length,
                    train_fraction);
  const std::int64_t chunks = tokens.size() / (length + 1);
  const auto train = static_cast<std::int64_t>(train_fraction * static_cast<double>(chunks));
  check<ValueError>((train >= 1 || train_fraction == 0) && train < chunks,
                    "data: {} tokens are too few for context {}: they give {} chunks of {}, and "
                    "training and validation need one each; use a longer text or a shorter context",
                    tokens.size(), length, chunks, length + 1);
  return {{tokens, length, 0, train}, {tokens, length, train, chunks}};
}

Loader::Loader(const Dataset& dataset, std::int64_t batch_size, std::uint64_t seed, bool shuffle)
    : dataset_(dataset), batch_size_(batch_size), seed_(seed), shuffle_(shuffle) {
  check<ValueError>(batch_size >= 1, "loader: a batch of {} sequences is too small", batch_size);
  check<ValueError>(dataset.size() >= 1, "loader: the dataset is empty");
  this->shuffle();
}

void Loader::shuffle() {
  if (!shuffle_) return;
  order_.resize(static_cast<std::size_t>(dataset_.size()));
  std::iota(order_.begin(), order_.end(), 0);
  // Fisher and Yates; the epoch in the counter's upper half, so that no two epochs share words.
  const std::uint64_t base = static_cast<std::uint64_t>(state_.epoch) << 32;
  for (std::size_t left = order_.size(); left > 1; --left) {
    const PhiloxBlock block = philox(seed_, base + left);
    const std::uint64_t word = (std::uint64_t{block.words[1]} << 32) | block.words[0];
    std::swap(order_[left - 1], order_[word % left]);
  }
}

Batch Loader::next() {
  std::vector<std::int64_t> indices;
  for (std::int64_t i = 0; i < batch_size_; ++i) {
    indices.push_back(shuffle_ ? order_[static_cast<std::size_t>(state_.position)]
                               : state_.position);
    if (++state_.position < dataset_.size()) continue;
    state_ = {state_.epoch + 1, 0};
    shuffle();
  }
  return dataset_.batch(indices);
}

void Loader::set_state(const LoaderState& state) {
  check<ValueError>(state.epoch >= 0 && state.position >= 0 && state.position < dataset_.size(),
                    "loader: position {} of epoch {} does not exist in a dataset of {} sequences; "
                    "has the data changed?",
                    state.position, state.epoch, dataset_.size());
  state_ = state;
  shuffle();
}

}  // namespace scangrad
