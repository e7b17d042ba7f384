#include <scangrad/core/format.h>
#include <scangrad/train/tokenizer.h>

#include <set>

namespace scangrad {
namespace {

/// The code point at `at`, which moves past it. Throws ValueError where the text is not UTF-8.
char32_t next_character(std::string_view text, std::size_t& at) {
  const auto byte = [&](std::size_t i) {
    return i < text.size() ? static_cast<unsigned char>(text[i]) : 0u;
  };
  const unsigned first = byte(at);
  const int length = first < 0x80 ? 1 : first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
  char32_t point = length == 1 ? first : first & (0xffu >> (length + 1));
  bool valid = length > 0 && first < 0xf5;
  for (int i = 1; i < length; ++i) {
    const unsigned next = byte(at + static_cast<std::size_t>(i));
    valid = valid && (next & 0xc0) == 0x80;
    point = (point << 6) | (next & 0x3f);
  }
  constexpr char32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};  // longer forms are not allowed
  valid =
      valid && point >= smallest[length] && point <= 0x10ffff && (point < 0xd800 || point > 0xdfff);
  check<ValueError>(valid, "text: byte {} ({:#04x}) is not UTF-8; convert the text first", at,
                    first);
  at += static_cast<std::size_t>(length);
  return point;
}

/// `'é' (U+00E9)`; control characters by number alone.
std::string describe(char32_t point, std::string_view utf8) {
  const std::string number = fmt::format("U+{:04X}", static_cast<std::uint32_t>(point));
  return point < 0x20 || point == 0x7f ? number : fmt::format("'{}' ({})", utf8, number);
}

}  // namespace

CharTokenizer::CharTokenizer(std::string_view text) {
  check<ValueError>(!text.empty(), "tokenizer: the text is empty, so it has no characters");
  std::set<std::pair<char32_t, std::string>> found;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t begin = at;
    const char32_t point = next_character(text, at);
    found.emplace(point, text.substr(begin, at - begin));
  }
  for (const auto& [point, utf8] : found) {
    token_of_[point] = static_cast<std::int32_t>(characters_.size());
    characters_.push_back(utf8);
  }
}

std::string CharTokenizer::vocabulary() const {
  std::string all;
  for (const std::string& character : characters_) all += character;
  return all;
}

std::vector<std::int32_t> CharTokenizer::encode(std::string_view text) const {
  std::vector<std::int32_t> tokens;
  tokens.reserve(text.size());
  std::int64_t line = 1, column = 1;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t begin = at;
    const char32_t point = next_character(text, at);
    const auto found = token_of_.find(point);
    check<ValueError>(found != token_of_.end(),
                      "text: the character {} in line {}, column {} is not among the {} that the "
                      "model knows",
                      describe(point, text.substr(begin, at - begin)), line, column, vocab_size());
    tokens.push_back(found->second);
    column = point == '\n' ? 1 : column + 1;
    line += point == '\n' ? 1 : 0;
  }
  return tokens;
}

std::string CharTokenizer::decode(const std::vector<std::int64_t>& tokens) const {
  std::string text;
  for (const std::int64_t token : tokens) {
    check<IndexError>(token >= 0 && token < vocab_size(),
                      "tokenizer: token {} is outside its vocabulary of {}", token, vocab_size());
    text += characters_[static_cast<std::size_t>(token)];
  }
  return text;
}

}  // namespace scangrad
