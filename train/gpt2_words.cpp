#include <scangrad/train/gpt2_words.h>
#include <scangrad/train/unicode.h>

namespace scangrad {
namespace {

struct Classified {
  CharacterClass kind;
  std::size_t bytes;
};

Classified classified_at(std::string_view text, std::size_t at) {
  const Character character = character_at(text, at);
  if (character.bytes == 0) return {CharacterClass::other, 1};
  return {character_class(character.point), character.bytes};
}

}  // namespace

std::size_t gpt2_word_end(std::string_view text, std::size_t begin) {
  if (text[begin] == '\'') {
    const std::string_view rest = text.substr(begin + 1);
    for (const std::string_view ending : {"s", "t", "re", "ve", "m", "ll", "d"}) {
      if (rest.starts_with(ending)) return begin + 1 + ending.size();
    }
  }

  // ` ?` and a run of one kind that is not space.
  Classified first = classified_at(text, begin);
  std::size_t at = begin;
  if (text[begin] == ' ' && begin + 1 < text.size()) {
    const Classified second = classified_at(text, begin + 1);
    if (second.kind != CharacterClass::space) {
      first = second;
      at = begin + 1;
    }
  }
  if (first.kind != CharacterClass::space) {
    Classified next = first;
    do {
      at += next.bytes;
      if (at == text.size()) break;
      next = classified_at(text, at);
    } while (next.kind == first.kind);
    return at;
  }

  // Spaces; before a word the last of them is not taken, unless it is the only one.
  std::size_t last = begin;
  for (Classified next = first; next.kind == CharacterClass::space;) {
    last = at;
    at += next.bytes;
    if (at == text.size()) return at;
    next = classified_at(text, at);
  }
  return last > begin ? last : at;
}

}  // namespace scangrad
