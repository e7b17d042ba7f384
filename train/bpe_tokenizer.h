#pragma once
#include <scangrad/train/bpe_vocabulary.h>
#include <scangrad/train/tokenizer.h>

#include <array>
#include <unordered_map>

namespace scangrad {

/// GPT-2's byte-level byte-pair encoding (Radford et al. 2019; Sennrich et al. 2016). Text is cut
/// into words by GPT-2's pattern (`gpt2_word_end`); within a word, the neighbours that the earliest
/// merge names become one token, from left to right, until no merge is left. `<|endoftext|>` is one
/// token where the vocabulary has it. Text need not be UTF-8: any bytes can be encoded.
class BpeTokenizer final : public Tokenizer {
 public:
  /// Throws ValueError naming the first fault: a token twice or empty, a byte without a token, a
  /// merge of or to what is no token, or there twice, a kept token that is none or there twice.
  explicit BpeTokenizer(BpeVocabulary vocabulary);

  std::int64_t vocab_size() const override;
  /// A token that is not kept is spelled in the two that its first merge is of, and so on. Throws
  /// ValueError where these are not kept either.
  std::vector<std::int32_t> encode(std::string_view text) const override;
  std::string decode(const std::vector<std::int64_t>& tokens) const override;
  std::optional<std::int32_t> end_of_text() const override;
  std::string to_json() const override { return bpe_vocabulary_to_json(vocabulary_); }

  const BpeVocabulary& vocabulary() const { return vocabulary_; }

 private:
  struct Merge {
    std::int32_t rank, token;
  };
  class Word;
  const std::string& bytes_of(std::int32_t token) const;
  void add_merges(const std::unordered_map<std::string_view, std::int32_t>& token_of);
  void keep();

  // "Token" is one of vocabulary_.tokens, "number" the model's number for it.
  BpeVocabulary vocabulary_;
  std::unordered_map<std::uint64_t, Merge> merges_;  // left · 2³² + right → what becomes of them
  std::unordered_map<std::int32_t, std::pair<std::int32_t, std::int32_t>> parts_of_;
  std::array<std::int32_t, 256> token_of_byte_ = {};
  std::optional<std::int32_t> mark_;     // `<|endoftext|>`
  std::vector<std::int32_t> number_of_;  // token → its number; −1 for one that is not kept
};

}  // namespace scangrad
