#include <scangrad/train/unicode.h>

#include <algorithm>
#include <array>
#include <iterator>

namespace scangrad {
namespace {

struct Range {
  char32_t first, last;
  CharacterClass kind;
};

constexpr CharacterClass L = CharacterClass::letter;
constexpr CharacterClass N = CharacterClass::number;
constexpr CharacterClass S = CharacterClass::space;

constexpr Range ranges[] = {
// in order
#include <scangrad/train/unicode_ranges.inc>
};

constexpr std::array<CharacterClass, 0x80> ascii = [] {
  std::array<CharacterClass, 0x80> classes = {};
  for (char32_t c = 0; c < 0x80; ++c) {
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    const bool space = c == ' ' || (c >= '\t' && c <= '\r');
    const bool number = c >= '0' && c <= '9';
    classes[c] = letter ? L : number ? N : space ? S : CharacterClass::other;
  }
  return classes;
}();

}  // namespace

Character character_at(std::string_view text, std::size_t at) {
  const auto byte = [&](std::size_t i) {
    return i < text.size() ? static_cast<unsigned char>(text[i]) : 0u;
  };
  const unsigned first = byte(at);
  if (first < 0x80) return {first, 1};
  const std::size_t length = first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
  if (length == 0 || first > 0xf4) return {};
  char32_t point = first & (0xffu >> (length + 1));
  for (std::size_t i = 1; i < length; ++i) {
    const unsigned next = byte(at + i);
    if ((next & 0xc0) != 0x80) return {};
    point = (point << 6) | (next & 0x3f);
  }
  constexpr char32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};  // longer forms are not allowed
  const bool surrogate = point >= 0xd800 && point <= 0xdfff;
  if (point < smallest[length] || point > 0x10ffff || surrogate) return {};
  return {point, length};
}

CharacterClass character_class(char32_t point) {
  if (point < ascii.size()) return ascii[point];
  const Range* const after =
      std::upper_bound(std::begin(ranges), std::end(ranges), point,
                       [](char32_t value, const Range& range) { return value < range.first; });
  if (after == std::begin(ranges)) return CharacterClass::other;
  const Range& range = *(after - 1);
  return point <= range.last ? range.kind : CharacterClass::other;
}

}  // namespace scangrad
