#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace scangrad {

/// One token per character, that is, per Unicode code point of UTF-8 text; tokens are numbered in
/// the order of code points.
class CharTokenizer {
 public:
  /// The tokenizer of the characters that occur in `text`. Throws ValueError where the text is
  /// empty or, naming the byte, not UTF-8.
  explicit CharTokenizer(std::string_view text);

  std::int64_t vocab_size() const { return static_cast<std::int64_t>(characters_.size()); }
  /// Every character, in order: a text from which the same tokenizer is made again.
  std::string vocabulary() const;

  /// Throws ValueError naming the first character outside the vocabulary and where it stands.
  std::vector<std::int32_t> encode(std::string_view text) const;
  /// Throws IndexError on a token outside the vocabulary.
  std::string decode(const std::vector<std::int64_t>& tokens) const;

 private:
  std::vector<std::string> characters_;                  // token → UTF-8
  std::unordered_map<char32_t, std::int32_t> token_of_;  // code point → token
};

}  // namespace scangrad
