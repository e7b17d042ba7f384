#pragma once
#include <scangrad/core/tensor.h>
#include <scangrad/train/token_file.h>

#include <cstdint>
#include <vector>

namespace scangrad {

/// Sequences side by side; `targets[b][t]` is what a model should say after `inputs[b][0..t]`.
struct Batch {
  Tensor inputs;   ///< (B, T), i64
  Tensor targets;  ///< (B, T), i64
};

/// Numbered sequences of equal length. Always on the CPU.
class Dataset {
 public:
  virtual ~Dataset() = default;
  /// Number of sequences.
  virtual std::int64_t size() const = 0;
  virtual std::int64_t vocab_size() const = 0;
  /// T, the length of every sequence.
  virtual std::int64_t length() const = 0;
  Batch batch(const std::vector<std::int64_t>& indices) const;

 protected:
  /// Writes sequence `index`: `length()` inputs and as many targets.
  virtual void read(std::int64_t index, std::int64_t* inputs, std::int64_t* targets) const = 0;
};

/// Text cut into non-overlapping chunks of `length` + 1 tokens, of which the last `length` are the
/// targets of the first; what is left over at the end is not used.
class ChunkDataset final : public Dataset {
 public:
  /// The chunks [first, last) of the tokens.
  ChunkDataset(Tokens tokens, std::int64_t length, std::int64_t first, std::int64_t last);

  std::int64_t size() const override { return last_ - first_; }
  std::int64_t vocab_size() const override { return tokens_.vocab_size(); }
  std::int64_t length() const override { return length_; }

 private:
  void read(std::int64_t index, std::int64_t* inputs, std::int64_t* targets) const override;
  Tokens tokens_;
  std::int64_t length_, first_, last_;
};

/// All chunks of a text. Throws ValueError, with both lengths, where it is too short for one.
ChunkDataset whole_text(const Tokens& tokens, std::int64_t length);

/// The first `train_fraction` of a text's chunks, and the others.
struct TextSplit {
  ChunkDataset train;
  ChunkDataset validation;
};
/// A fraction of 0 leaves all of it to validation. Throws ValueError, with both lengths, where the
/// text is too short to give one chunk to each.
TextSplit split_text(const Tokens& tokens, std::int64_t length, double train_fraction = 0.9);

/// Where a loader stands. The order of members is frozen.
struct LoaderState {
  std::int64_t epoch = 0;     ///< how many times all sequences have been used
  std::int64_t position = 0;  ///< how many of this epoch's have been used
};

/// An endless stream of full batches: each epoch has every sequence once, in an order that follows
/// from the seed and the epoch's number alone, so that state and seed say all that is to come.
class Loader {
 public:
  /// Without `shuffle`, in the order of their numbers. `dataset` must outlive the loader.
  Loader(const Dataset& dataset, std::int64_t batch_size, std::uint64_t seed, bool shuffle = true);

  Batch next();
  LoaderState state() const { return state_; }
  /// Throws ValueError for a state that this dataset cannot have.
  void set_state(const LoaderState& state);

 private:
  void shuffle();
  const Dataset& dataset_;
  std::int64_t batch_size_;
  std::uint64_t seed_;
  bool shuffle_;
  LoaderState state_;
  std::vector<std::int64_t> order_;  // of this epoch; empty without shuffling
};

}  // namespace scangrad
