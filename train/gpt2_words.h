#pragma once
#include <cstddef>
#include <string_view>

namespace scangrad {

/// The end of the word that begins at byte `begin` of a text that is longer, by GPT-2's pattern
/// `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`. A byte that is not
/// UTF-8 is neither letter, number nor space.
std::size_t gpt2_word_end(std::string_view text, std::size_t begin);

}  // namespace scangrad
