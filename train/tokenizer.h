#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace scangrad {

/// What stands between the documents of a text; one token in every tokenizer that knows it.
inline constexpr std::string_view end_of_text_mark = "<|endoftext|>";

/// Text to tokens and back: decode(encode(text)) is the text.
class Tokenizer {
 public:
  virtual ~Tokenizer() = default;

  virtual std::int64_t vocab_size() const = 0;
  /// Throws ValueError naming what the vocabulary does not have, and where it stands.
  virtual std::vector<std::int32_t> encode(std::string_view text) const = 0;
  /// The tokens' bytes, one after another; a token alone need not be whole UTF-8. Throws IndexError
  /// on a token outside the vocabulary.
  virtual std::string decode(const std::vector<std::int64_t>& tokens) const = 0;
  /// The token of `end_of_text_mark`, where there is one.
  virtual std::optional<std::int32_t> end_of_text() const = 0;
  /// From which `tokenizer_from_json` makes it again.
  virtual std::string to_json() const = 0;

 protected:
  /// Throws IndexError, for `decode`.
  void check_token(std::int64_t token) const;
};

/// Throws ValueError where it is no tokenizer's `to_json`.
std::shared_ptr<const Tokenizer> tokenizer_from_json(const std::string& json);
/// A file of `to_json`, as runs have (tokenizer.json). Throws IoError naming it.
std::shared_ptr<const Tokenizer> load_tokenizer(const std::filesystem::path& path);

}  // namespace scangrad
