#pragma once
#include <scangrad/train/tokenizer.h>

#include <vector>

namespace scangrad {

/// One token per character, that is, per Unicode code point of UTF-8 text; tokens are numbered in
/// the order of code points, and `<|endoftext|>`, where it occurs, is the last.
class CharTokenizer final : public Tokenizer {
 public:
  /// The tokenizer of the characters that occur in `text`. Throws ValueError where the text is
  /// empty or, naming the byte, not UTF-8.
  explicit CharTokenizer(std::string_view text);

  std::int64_t vocab_size() const override { return static_cast<std::int64_t>(tokens_.size()); }
  std::vector<std::int32_t> encode(std::string_view text) const override;
  std::string decode(const std::vector<std::int64_t>& tokens) const override;
  std::optional<std::int32_t> end_of_text() const override { return end_of_text_; }
  std::string to_json() const override;

  /// Every token, in order: a text from which the same tokenizer is made again.
  std::string vocabulary() const;

 private:
  std::vector<std::string> tokens_;     // token → UTF-8
  std::vector<std::int32_t> token_of_;  // code point, up to the last one's → token; −1 for none
  std::optional<std::int32_t> end_of_text_;
};

}  // namespace scangrad
