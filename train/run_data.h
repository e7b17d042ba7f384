#pragma once
#include <scangrad/train/config.h>
#include <scangrad/train/dataset.h>
#include <scangrad/train/tokenizer.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <vector>

namespace scangrad {

/// What a run trains and validates on.
struct RunData {
  std::unique_ptr<Dataset> train = {};
  /// Text: one, what training leaves over or a file of its own. Words: fresh sequences of
  /// `data.length`, then of each of `data.eval_lengths`.
  std::vector<std::unique_ptr<Dataset>> validation = {};
  std::shared_ptr<const Tokenizer> tokenizer = {};  ///< none for words, nor for some token files
  bool shuffle = true;                              ///< words are fresh, so they need none
  Fingerprint fingerprint = {};  ///< of a text; words follow from the configuration
};

/// Opens `config.data`: text files, of characters, token files (see token_file.h), or the word
/// problem. With a `tokenizer`, that of a trained model, text is encoded by it. Throws IoError on a
/// file that is missing or empty, ValueError where the text is too short or has unknown characters,
/// and where another tokenizer made a token file.
RunData open_run_data(const RunConfig& config, std::shared_ptr<const Tokenizer> tokenizer = {});

/// A seed for one use of randomness, so that weights, data and dropout share no random words.
enum class Stream : std::uint64_t { weights = 1, order, words, fresh_words, dropout };
std::uint64_t stream_seed(std::uint64_t seed, Stream stream);

}  // namespace scangrad
