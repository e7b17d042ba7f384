#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

namespace scangrad {

/// What a byte-level BPE tokenizer is made of. The order of members is frozen.
struct BpeVocabulary {
  std::vector<std::string> tokens = {};  ///< token → its bytes
  /// Pairs of tokens that become one, that of the bytes of both; the earlier in the list, the
  /// sooner.
  std::vector<std::pair<std::int32_t, std::int32_t>> merges = {};
  /// The tokens that a model has, in the order of its own numbers for them; empty for all.
  std::vector<std::int32_t> kept = {};
};

/// Reads GPT-2's two files: `vocab.json` or `encoder.json` (token → number) and `merges.txt` or
/// `vocab.bpe` (a pair a line, after a line of `#version`). Throws IoError naming what is missing,
/// too large or makes no sense: a number twice or left out, a character that stands for no byte, a
/// merge of what is no token.
BpeVocabulary load_gpt2_vocabulary(const std::filesystem::path& folder);

/// Writes these two, as `vocab.json` and `merges.txt`. Throws ValueError for a vocabulary of which
/// only some tokens are kept: the files have no place for what the others are merged of.
void save_gpt2_vocabulary(const std::filesystem::path& folder, const BpeVocabulary& vocabulary);

/// As a part of `tokenizer.json`: tokens and pairs of their numbers.
std::string bpe_vocabulary_to_json(const BpeVocabulary& vocabulary);
/// Throws ValueError where it is none.
BpeVocabulary bpe_vocabulary_from_json(const std::string& json);

}  // namespace scangrad
