#pragma once
#include <cstddef>
#include <cstdint>
#include <string_view>

// As much of Unicode as tokenizers need: UTF-8, and which characters are letters, numbers, spaces.
namespace scangrad {

/// A character of UTF-8 text. The order of members is frozen.
struct Character {
  char32_t point = 0;     ///< its code point
  std::size_t bytes = 0;  ///< how many it takes; 0 where the text is not UTF-8
};

/// The character at byte `at` of a text that is longer. Overlong forms, surrogates and numbers
/// above U+10FFFF are not UTF-8.
Character character_at(std::string_view text, std::size_t at);

enum class CharacterClass : std::uint8_t {
  other,
  letter,  ///< general category L
  number,  ///< general category N
  space    ///< property White_Space
};
CharacterClass character_class(char32_t point);

}  // namespace scangrad
