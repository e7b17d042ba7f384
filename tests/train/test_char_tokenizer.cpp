// Characters are code points, so that text in any language has one token a letter; what cannot be
// encoded is named with its place, since a file of a million lines is hard to search otherwise.
#include <scangrad/scangrad.h>
#include <scangrad/tests/support/catch.h>
#include <scangrad/train/char_tokenizer.h>

using namespace scangrad;

TEST_CASE("Tokens are the sorted characters of the text, and decode to it again") {
  const CharTokenizer tokenizer("hello, wörld → 日本 🙂\n");
  const std::string text = "wörld 日🙂\n";
  const auto tokens = tokenizer.encode(text);
  CHECK(tokens.size() == 9);
  CHECK(tokenizer.encode("\n")[0] == 0);  // the smallest code point
  CHECK(tokenizer.encode("🙂")[0] == tokenizer.vocab_size() - 1);
  CHECK(tokenizer.decode({tokens.begin(), tokens.end()}) == text);
}

TEST_CASE("The vocabulary makes the same tokenizer again, as a checkpoint needs") {
  const CharTokenizer tokenizer("zürich basel\n");
  const CharTokenizer again(tokenizer.vocabulary());
  CHECK(again.vocabulary() == tokenizer.vocabulary());
  CHECK(again.encode("basel") == tokenizer.encode("basel"));
}

TEST_CASE(
    "Where documents are separated, the mark is one token, the last; elsewhere it is characters") {
  const CharTokenizer tokenizer("ab<|endoftext|>ba");
  CHECK(tokenizer.vocab_size() == 3);
  CHECK(tokenizer.end_of_text() == 2);
  CHECK(tokenizer.encode("b<|endoftext|>a") == std::vector{1, 2, 0});
  CHECK(tokenizer.decode({2, 0}) == "<|endoftext|>a");
  CHECK_THROWS_WITH(tokenizer.encode("a<|endoftext|>?"), ContainsSubstring("line 1, column 15"));
  CHECK_FALSE(CharTokenizer("<|>").end_of_text().has_value());
}

TEST_CASE("Its JSON makes the same tokenizer again, with and without documents") {
  for (const char* text : {"zürich\n", "one<|endoftext|>two", "a<|endoftext|>|<>"}) {
    const CharTokenizer tokenizer(text);
    const auto again = tokenizer_from_json(tokenizer.to_json());
    CHECK(again->to_json() == tokenizer.to_json());
    CHECK(again->encode(text) == tokenizer.encode(text));
  }
}

TEST_CASE("A character outside the vocabulary is named with its line and column") {
  const CharTokenizer tokenizer("abc\n");
  CHECK_THROWS_WITH(tokenizer.encode("abc\nabé"),
                    ContainsSubstring("'é' (U+00E9) in line 2, column 3"));
  CHECK_THROWS_WITH(tokenizer.encode("\t"), ContainsSubstring("character U+0009 in line 1"));
}

TEST_CASE(
    "Text that is not UTF-8 is refused at its byte: overlong, surrogate, cut off, too large") {
  for (const char* bad : {"ab\x80", "ab\xc0\x80", "ab\xe0\x80\x80", "ab\xed\xa0\x80", "ab\xe2\x82",
                          "ab\xf4\x90\x80\x80", "ab\xff"}) {
    CHECK_THROWS_WITH(CharTokenizer(bad), ContainsSubstring("byte 2"));
  }
}

TEST_CASE("An empty text and tokens outside the vocabulary are errors") {
  CHECK_THROWS_WITH(CharTokenizer(""), ContainsSubstring("the text is empty"));
  CHECK_THROWS_AS(CharTokenizer("ab").decode({2}), IndexError);
  CHECK_THROWS_AS(CharTokenizer("ab").decode({-1}), IndexError);
}
