#include <scangrad/core/format.h>
#include <scangrad/train/char_tokenizer.h>
#include <scangrad/train/unicode.h>

#include <nlohmann/json.hpp>

#include <map>

namespace scangrad {
namespace {

/// The character at `at`. Throws ValueError where the text is not UTF-8.
Character valid_character_at(std::string_view text, std::size_t at) {
  const Character character = character_at(text, at);
  check<ValueError>(character.bytes > 0,
                    "text: byte {} ({:#04x}) is not UTF-8; convert the text first", at,
                    static_cast<unsigned char>(text[at]));
  return character;
}

/// `'é' (U+00E9)`; control characters by number alone.
std::string describe(char32_t point, std::string_view utf8) {
  const std::string number = fmt::format("U+{:04X}", static_cast<std::uint32_t>(point));
  return point < 0x20 || point == 0x7f ? number : fmt::format("'{}' ({})", utf8, number);
}

}  // namespace

CharTokenizer::CharTokenizer(std::string_view text) {
  check<ValueError>(!text.empty(), "tokenizer: the text is empty, so it has no characters");
  std::map<char32_t, std::string> found;
  std::vector<bool> is_found(0x110000);  // most characters of a text come again
  bool has_documents = false;
  for (std::size_t at = 0; at < text.size();) {
    if (text.substr(at).starts_with(end_of_text_mark)) {
      has_documents = true;
      at += end_of_text_mark.size();
      continue;
    }
    const Character character = valid_character_at(text, at);
    if (!is_found[character.point]) {
      is_found[character.point] = true;
      found.emplace(character.point, text.substr(at, character.bytes));
    }
    at += character.bytes;
  }
  if (!found.empty()) token_of_.assign(found.rbegin()->first + 1, -1);
  for (const auto& [point, utf8] : found) {
    token_of_[point] = static_cast<std::int32_t>(tokens_.size());
    tokens_.push_back(utf8);
  }
  if (has_documents) {
    end_of_text_ = static_cast<std::int32_t>(tokens_.size());
    tokens_.emplace_back(end_of_text_mark);
  }
}

std::string CharTokenizer::vocabulary() const {
  std::string all;
  for (const std::string& token : tokens_) all += token;
  return all;
}

std::vector<std::int32_t> CharTokenizer::encode(std::string_view text) const {
  std::vector<std::int32_t> tokens;
  tokens.reserve(text.size());
  std::int64_t line = 1, column = 1;
  for (std::size_t at = 0; at < text.size();) {
    if (end_of_text_ && text.substr(at).starts_with(end_of_text_mark)) {
      tokens.push_back(*end_of_text_);
      at += end_of_text_mark.size();
      column += static_cast<std::int64_t>(end_of_text_mark.size());
      continue;
    }
    const auto [point, bytes] = valid_character_at(text, at);
    const std::int32_t token = point < token_of_.size() ? token_of_[point] : -1;
    if (token < 0) {
      fail<ValueError>(
          "text: the character {} in line {}, column {} is not among the {} that the model knows",
          describe(point, text.substr(at, bytes)), line, column, vocab_size());
    }
    tokens.push_back(token);
    at += bytes;
    column = point == '\n' ? 1 : column + 1;
    line += point == '\n' ? 1 : 0;
  }
  return tokens;
}

std::string CharTokenizer::decode(const std::vector<std::int64_t>& tokens) const {
  std::string text;
  for (const std::int64_t token : tokens) {
    check_token(token);
    text += tokens_[static_cast<std::size_t>(token)];
  }
  return text;
}

std::string CharTokenizer::to_json() const {
  return nlohmann::ordered_json{{"kind", "char"}, {"characters", vocabulary()}}.dump(2);
}

}  // namespace scangrad
