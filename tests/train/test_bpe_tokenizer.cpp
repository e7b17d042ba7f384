// Byte-level BPE must cut text as GPT-2 does, or a model reads another language than it was taught;
// and it must give back every byte, since nothing else remembers the text.
#include <scangrad/scangrad.h>
#include <scangrad/tests/support/catch.h>
#include <scangrad/train/bpe_tokenizer.h>
#include <scangrad/train/files.h>
#include <scangrad/train/gpt2_words.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <random>

namespace fs = std::filesystem;
using namespace scangrad;

namespace {

/// All bytes, token = byte, and `<|endoftext|>`.
BpeVocabulary bytes_alone() {
  BpeVocabulary vocabulary;
  for (int byte = 0; byte < 256; ++byte) {
    vocabulary.tokens.emplace_back(1, static_cast<char>(byte));
  }
  vocabulary.tokens.emplace_back(end_of_text_mark);
  return vocabulary;
}

std::int32_t token_of(const BpeVocabulary& vocabulary, const std::string& bytes) {
  const auto found = std::find(vocabulary.tokens.begin(), vocabulary.tokens.end(), bytes);
  REQUIRE(found != vocabulary.tokens.end());
  return static_cast<std::int32_t>(found - vocabulary.tokens.begin());
}

/// Adds merges, each a pair of texts, and the tokens that they make.
BpeVocabulary with_merges(const std::vector<std::pair<std::string, std::string>>& merges) {
  BpeVocabulary vocabulary = bytes_alone();
  for (const auto& [left, right] : merges) {
    vocabulary.merges.emplace_back(token_of(vocabulary, left), token_of(vocabulary, right));
    vocabulary.tokens.push_back(left + right);
  }
  return vocabulary;
}

/// Merges of random neighbours, also such that no training would give.
BpeVocabulary random_vocabulary(std::mt19937& random, int merges) {
  BpeVocabulary vocabulary = bytes_alone();
  const auto pick = [&] {
    const std::size_t made = vocabulary.tokens.size() - 257;
    const std::size_t i = random() % (made + 3);
    return static_cast<std::int32_t>(i < made ? 257 + i : 'a' + (i - made));
  };
  for (int i = 0; i < merges; ++i) {
    const std::int32_t left = pick(), right = pick();
    const std::string bytes = vocabulary.tokens[static_cast<std::size_t>(left)] +
                              vocabulary.tokens[static_cast<std::size_t>(right)];
    if (bytes.size() > 8 || std::find(vocabulary.tokens.begin(), vocabulary.tokens.end(), bytes) !=
                                vocabulary.tokens.end()) {
      continue;
    }
    vocabulary.tokens.push_back(bytes);
    vocabulary.merges.emplace_back(left, right);
  }
  std::shuffle(vocabulary.merges.begin(), vocabulary.merges.end(), random);
  return vocabulary;
}

/// The definition: while there is one, the earliest merge is made wherever it applies, from left to
/// right.
std::vector<std::int32_t> merged_by_definition(const BpeVocabulary& vocabulary,
                                               std::string_view word) {
  std::vector<std::int32_t> tokens;
  for (const char c : word) tokens.push_back(static_cast<unsigned char>(c));
  while (true) {
    const auto applies = [&](const auto& merge, std::size_t i) {
      return tokens[i] == merge.first && tokens[i + 1] == merge.second;
    };
    const auto merge = std::find_if(vocabulary.merges.begin(), vocabulary.merges.end(),
                                    [&](const auto& candidate) {
                                      for (std::size_t i = 0; i + 1 < tokens.size(); ++i) {
                                        if (applies(candidate, i)) return true;
                                      }
                                      return false;
                                    });
    if (merge == vocabulary.merges.end()) return tokens;
    const std::int32_t made =
        token_of(vocabulary, vocabulary.tokens[static_cast<std::size_t>(merge->first)] +
                                 vocabulary.tokens[static_cast<std::size_t>(merge->second)]);
    std::vector<std::int32_t> next;
    for (std::size_t i = 0; i < tokens.size(); ++i) {
      const bool pair = i + 1 < tokens.size() && applies(*merge, i);
      next.push_back(pair ? made : tokens[i]);
      i += pair ? 1 : 0;
    }
    tokens = next;
  }
}

std::vector<std::string> words_of(std::string_view text) {
  std::vector<std::string> words;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = gpt2_word_end(text, at);
    REQUIRE(end > at);
    words.emplace_back(text.substr(at, end - at));
    at = end;
  }
  return words;
}

std::string round_trip(const Tokenizer& tokenizer, const std::string& text) {
  const auto tokens = tokenizer.encode(text);
  return tokenizer.decode({tokens.begin(), tokens.end()});
}

using Words = std::vector<std::string>;

/// Where the real files are, see test names with "GPT-2's own"; empty where they are not.
/// `tools/get_data.sh gpt2` brings the vocabulary.
fs::path real_data() {
  const char* named = std::getenv("SCANGRAD_DATA");
  const fs::path folder =
      named != nullptr ? fs::path(named) : fs::path(SCANGRAD_SOURCE_DIR) / "data";
  if (fs::exists(folder / "gpt2" / "vocab.bpe")) return folder;
  WARN("skipped: no GPT-2 vocabulary in " + folder.string() + "; name a folder in SCANGRAD_DATA");
  return {};
}

}  // namespace

TEST_CASE("Text is cut into words as GPT-2's pattern cuts it") {
  CHECK(words_of("Hello world") == Words{"Hello", " world"});
  CHECK(words_of("a1b22") == Words{"a", "1", "b", "22"});
  CHECK(words_of("don't we'll I'm you're") ==
        Words{"don", "'t", " we", "'ll", " I", "'m", " you", "'re"});
  CHECK(words_of("'S 's") == Words{"'", "S", " '", "s"});  // endings are lower case, and first
  CHECK(words_of("wait...  what?!") == Words{"wait", "...", " ", " what", "?!"});
}

TEST_CASE("Of spaces before a word, only the last one belongs to it, and only if it is U+0020") {
  CHECK(words_of("a   b") == Words{"a", "  ", " b"});
  CHECK(words_of("a\n\nb") == Words{"a", "\n", "\n", "b"});
  CHECK(words_of("a \n b") == Words{"a", " \n", " b"});
  CHECK(words_of("a\xc2\xa0 b") == Words{"a", "\xc2\xa0", " b"});  // no-break space
  CHECK(words_of("a  \n") == Words{"a", "  \n"});                  // all of them at the end
}

TEST_CASE("Letters and numbers are Unicode's; what is not UTF-8 counts as punctuation") {
  CHECK(words_of("naïve Ωμέγα 日本") == Words{"naïve", " Ωμέγα", " 日本"});
  CHECK(words_of("x²³Ⅷ٣") == Words{"x", "²³Ⅷ٣"});
  CHECK(words_of("e\u0301a") == Words{"e", "\u0301", "a"});  // a combining accent is no letter
  CHECK(words_of("👋🌍") == Words{"👋🌍"});
  CHECK(words_of("a\xff\xfe!b") == Words{"a", "\xff\xfe!", "b"});
}

TEST_CASE("The earliest merge is made first, from left to right, until none is left") {
  const BpeVocabulary vocabulary =
      with_merges({{"b", "c"}, {"a", "b"}, {"a", "bc"}, {"a", "a"}, {"aa", "aa"}});
  const BpeTokenizer tokenizer(vocabulary);
  const auto encoded = [&](const char* text) {
    Words tokens;
    for (const std::int32_t token : tokenizer.encode(text)) {
      tokens.push_back(tokenizer.decode({token}));
    }
    return tokens;
  };
  CHECK(encoded("abc") == Words{"abc"});  // b c before a b
  CHECK(encoded("abab") == Words{"ab", "ab"});
  CHECK(encoded("aaaaaaa") == Words{"aaaa", "aa", "a"});
  CHECK(encoded("a a") == Words{"a", " ", "a"});  // not across words
}

TEST_CASE("Merging is its definition for any vocabulary, and gives every byte back") {
  std::mt19937 random(1);
  for (int i = 0; i < 100; ++i) {
    const BpeVocabulary vocabulary = random_vocabulary(random, 40);
    const BpeTokenizer tokenizer(vocabulary);
    std::string word;
    for (std::size_t length = 1 + random() % 60; word.size() < length;) {
      word += static_cast<char>('a' + random() % 3);
    }
    CAPTURE(i, word);
    CHECK(tokenizer.encode(word) == merged_by_definition(vocabulary, word));
    CHECK(round_trip(tokenizer, word) == word);
  }
}

TEST_CASE("Any bytes are given back: those of no encoding, those of pieces of characters, all") {
  std::mt19937 random(2);
  const BpeTokenizer tokenizer(with_merges({{"a", "b"}, {"\xc3", "\xa9"}, {" ", "a"}}));
  const Words pieces = {"a",      "b",      " ",        "\n",       "é",
                        "\xc3",   "\xff",   "日",       "\xed\xa0", "'s",
                        "<|endo", "text|>", "\xf0\x9f", "1",        std::string(1, '\0')};
  for (int i = 0; i < 300; ++i) {
    std::string text;
    for (std::size_t count = random() % 50; count > 0; --count) {
      text += random() % 4 == 0 ? std::string(1, static_cast<char>(random() % 256))
                                : pieces[random() % pieces.size()];
    }
    CHECK(round_trip(tokenizer, text) == text);
  }
  CHECK(tokenizer.encode("").empty());
}

TEST_CASE("A document's end is one token, also where the words around it would swallow it") {
  const BpeTokenizer tokenizer(bytes_alone());
  CHECK(tokenizer.end_of_text() == 256);
  CHECK(tokenizer.encode("a<|endoftext|><|endoftext|>b") == std::vector{97, 256, 256, 98});
  CHECK(tokenizer.encode("a  <|endoftext|>") == std::vector{97, 32, 32, 256});
  CHECK(tokenizer.decode({97, 256}) == "a<|endoftext|>");
  BpeVocabulary without = bytes_alone();
  without.tokens.pop_back();
  CHECK_FALSE(BpeTokenizer(without).end_of_text().has_value());
  CHECK(round_trip(BpeTokenizer(without), "<|endoftext|>") == "<|endoftext|>");
}

TEST_CASE("A model may keep only some tokens, which it numbers anew; others are refused by name") {
  BpeVocabulary vocabulary = with_merges({{"a", "b"}});
  vocabulary.kept = {257, 'c', 256};
  const BpeTokenizer tokenizer(vocabulary);
  CHECK(tokenizer.vocab_size() == 3);
  CHECK(tokenizer.encode("cab<|endoftext|>c") == std::vector{1, 0, 2, 1});
  CHECK(tokenizer.decode({1, 0}) == "cab");
  CHECK(tokenizer.end_of_text() == 2);
  CHECK_THROWS_WITH(tokenizer.encode("cab acb"),
                    ContainsSubstring("the token ' ' at byte 3 or soon after is not among the 3"));
  CHECK_THROWS_AS(tokenizer.decode({3}), IndexError);
  CHECK_THROWS_AS(tokenizer.decode({-1}), IndexError);
}

TEST_CASE("A token that is not kept is spelled in what it is merged of, as far as that is kept") {
  BpeVocabulary vocabulary = with_merges({{"a", "b"}, {"ab", "c"}, {"abc", "abc"}, {"b", "c"}});
  const auto spelled = [&](const Words& kept) {
    vocabulary.kept.clear();
    for (const std::string& token : kept) vocabulary.kept.push_back(token_of(vocabulary, token));
    const BpeTokenizer tokenizer(vocabulary);
    Words tokens;
    for (const std::int32_t token : tokenizer.encode("abcabc")) {
      tokens.push_back(tokenizer.decode({token}));
    }
    return tokens;
  };
  CHECK(spelled({"abcabc"}) == Words{"abcabc"});
  CHECK(spelled({"c", "b", "abc", "a"}) == Words{"abc", "abc"});
  CHECK(spelled({"a", "ab", "c"}) == Words{"ab", "c", "ab", "c"});
  CHECK(spelled({"a", "b", "bc", "c"}) == Words{"a", "b", "c", "a", "b", "c"});
  CHECK_THROWS_WITH(spelled({"a", "bc", "c"}), ContainsSubstring("the token 'b' at byte 0"));
}

TEST_CASE("Its JSON makes the same tokenizer again, as a run needs") {
  BpeVocabulary vocabulary = with_merges({{"a", "b"}, {" ", "ab"}, {"\xc3", "\xa9"}});
  for (const bool restricted : {false, true}) {
    if (restricted) vocabulary.kept = {259, 258, 'x', 256};
    const BpeTokenizer tokenizer(vocabulary);
    const auto again = tokenizer_from_json(tokenizer.to_json());
    CHECK(again->to_json() == tokenizer.to_json());
    CHECK(again->encode("x ab<|endoftext|> ab") == tokenizer.encode("x ab<|endoftext|> ab"));
    CHECK(again->vocab_size() == tokenizer.vocab_size());
  }
  for (const char* bad :
       {"{}", "[", R"({"kind": "bpe"})", R"({"kind": "bpe", "tokens": 1, "merges": []})",
        R"({"kind": "bpe", "tokens": ["\n"], "merges": []})",
        R"({"kind": "bpe", "tokens": [5], "merges": []})", R"({"kind": "word"})"}) {
    CHECK_THROWS_AS(tokenizer_from_json(bad), ValueError);
  }
}

TEST_CASE("A vocabulary that makes no sense is refused with its first fault") {
  const auto refusal = [](const auto& spoil) -> std::string {
    BpeVocabulary vocabulary = with_merges({{"a", "b"}});
    spoil(vocabulary);
    try {
      BpeTokenizer tokenizer(vocabulary);
    } catch (const ValueError& error) {
      return error.what();
    }
    return "accepted";
  };
  using V = BpeVocabulary;
  CHECK(refusal([](V&) {}) == "accepted");
  CHECK(refusal([](V& v) { v.tokens = {}; }) ==
        "tokenizer: byte 0x00 is no token, so that not every text can be encoded");
  CHECK(refusal([](V& v) { v.tokens[7] = "xyz"; }) ==
        "tokenizer: byte 0x07 is no token, so that not every text can be encoded");
  CHECK(refusal([](V& v) { v.tokens[256] = "ab"; }) ==
        "tokenizer: tokens 256 and 257 are the same");
  CHECK(refusal([](V& v) { v.tokens[256] = ""; }) == "tokenizer: token 256 is empty");
  CHECK(refusal([](V& v) { v.merges.emplace_back('a', 'b'); }) ==
        "tokenizer: merge 1, of 'a' and 'b', is there twice");
  CHECK(refusal([](V& v) { v.merges.emplace_back(257, 'b'); }) ==
        "tokenizer: merge 1, of 'ab' and 'b', makes what is no token");
  CHECK(refusal([](V& v) { v.merges.emplace_back(258, 'b'); }) ==
        "tokenizer: merge 1 is of token 258, but there are only 258");
  CHECK(refusal([](V& v) { v.merges.emplace_back('b', -1); }) ==
        "tokenizer: merge 1 is of token -1, but there are only 258");
  CHECK(refusal([](V& v) {
          v.kept = {3, 258};
        }) == "tokenizer: token 258 is to be kept, but there are only 258");
  CHECK(refusal([](V& v) { v.kept = {3, 3}; }) == "tokenizer: token 3 is to be kept twice");
}

TEST_CASE("GPT-2's files are read under both of their names, and refused where they are wrong") {
  const fs::path folder = "bpe_files";
  const auto visible = [](int byte) {  // as the files write bytes
    int next = 256;
    for (int b = 0;; ++b) {
      const bool itself = (b > 32 && b < 127) || (b > 160 && b != 173);
      const int point = itself ? b : next++;
      if (b != byte) continue;
      if (point < 0x80) return std::string(1, static_cast<char>(point));
      return std::string{static_cast<char>(0xc0 | (point >> 6)),
                         static_cast<char>(0x80 | (point & 0x3f))};
    }
  };
  std::string bytes;
  for (int b = 0; b < 256; ++b) {
    const std::string name = b == '"' || b == '\\' ? std::string("\\") + visible(b) : visible(b);
    bytes += "\"" + name + "\": " + std::to_string(b) + ", ";
  }
  const std::string whole = "{" + bytes + R"("Ġa": 256, "<|endoftext|>": 257})";
  const auto write = [&](const std::string& vocabulary, const std::string& merges) {
    fs::remove_all(folder);
    fs::create_directories(folder);
    write_file(folder / "vocab.json", vocabulary);
    write_file(folder / "merges.txt", merges);
  };
  const auto refusal = [&](const std::string& vocabulary,
                           const std::string& merges) -> std::string {
    write(vocabulary, merges);
    try {
      load_gpt2_vocabulary(folder);
    } catch (const IoError& error) {
      return error.what();
    }
    return "accepted";
  };

  for (const char* merges : {"#version: 0.2\nĠ a\n", "Ġ a", "Ġ a\r\n\r\n"}) {
    write(whole, merges);
    const BpeTokenizer tokenizer(load_gpt2_vocabulary(folder));
    CHECK(tokenizer.encode("b a\xff") == std::vector{98, 256, 255});
    CHECK(tokenizer.end_of_text() == 257);
  }
  fs::rename(folder / "vocab.json", folder / "encoder.json");
  fs::rename(folder / "merges.txt", folder / "vocab.bpe");
  CHECK(load_gpt2_vocabulary(folder).tokens.size() == 258);
  fs::remove(folder / "vocab.bpe");
  CHECK_THROWS_WITH(load_gpt2_vocabulary(folder),
                    ContainsSubstring("needs merges.txt or vocab.bpe, and neither is there"));

  CHECK(refusal(R"({"a": 0, "b": 0})", "") ==
        "bpe_files/vocab.json: tokens 'a' and 'b' have the same number, 0");
  CHECK(refusal(R"({"a": 0, "b": 2})", "") ==
        "bpe_files/vocab.json: token 'b' has the number 2, but 2 tokens are numbered 0 to 1");
  for (const char* number : {"-1", "0.5", "\"0\"", "null", "1e99", "18446744073709551615"}) {
    CHECK_THAT(refusal(std::string(R"({"a": )") + number + "}", ""),
               ContainsSubstring("token 'a' has the number"));
  }
  for (const char* token : {"", "a b", "日", "\\ud83d\\ude42"}) {
    CHECK_THAT(refusal(std::string("{\"") + token + "\": 0}", ""),
               ContainsSubstring("is empty or has a character that stands for no byte"));
  }
  for (const char* json : {"", "[]", "{}", "{\"a\": 0", "5", "\xff"}) {
    CHECK(refusal(json, "") == "bpe_files/vocab.json: not a JSON object of tokens");
  }
  CHECK(refusal(whole, "Ġ a\na") == "bpe_files/merges.txt: line 2, 'a', is no pair of tokens");
  CHECK(refusal(whole, "a zz") == "bpe_files/merges.txt: line 1 merges 'zz', which is no token");
  CHECK(refusal(whole, "a  b") == "bpe_files/merges.txt: line 1 merges ' b', which is no token");
  CHECK(refusal(whole, " a") == "bpe_files/merges.txt: line 1 merges '', which is no token");
  write(whole, "");
  fs::resize_file(folder / "vocab.json", 32'000'001);  // sparse: nothing is read
  CHECK_THROWS_WITH(load_gpt2_vocabulary(folder), ContainsSubstring("too many for a vocabulary"));
}

TEST_CASE(
    "Written as GPT-2's files, a vocabulary is read again as it was; a part of one is refused") {
  BpeVocabulary vocabulary = with_merges({{"a", "b"}, {" ", "ab"}, {"\xc3", "\xa9"}});
  const fs::path folder = "bpe_written";
  fs::remove_all(folder);
  fs::create_directories(folder);
  save_gpt2_vocabulary(folder, vocabulary);
  const BpeVocabulary again = load_gpt2_vocabulary(folder);
  CHECK(again.tokens == vocabulary.tokens);
  CHECK(again.merges == vocabulary.merges);
  vocabulary.kept = {259, 'x'};
  CHECK_THROWS_WITH(save_gpt2_vocabulary(folder, vocabulary), ContainsSubstring("keeps 2 of"));
}

TEST_CASE("A megabyte of one character is one word, and its tokens are the merges' longest") {
  // Work that grew with the square of a word's length would not end within ctest's patience.
  const BpeTokenizer tokenizer(with_merges({{"a", "a"}, {"aa", "aa"}, {"aaaa", "aaaa"}}));
  const std::string text(1'000'000, 'a');
  CHECK(tokenizer.encode(text).size() == 125'000);
}

TEST_CASE("GPT-2's own vocabulary gives GPT-2's own tokens") {
  const fs::path data = real_data();
  if (data.empty()) return;
  const BpeTokenizer tokenizer(load_gpt2_vocabulary(data / "gpt2"));
  CHECK(tokenizer.vocab_size() == 50257);
  CHECK(tokenizer.end_of_text() == 50256);
  CHECK(tokenizer.encode("hello 👋 world 🌍") ==
        std::vector{31373, 50169, 233, 995, 12520, 234, 235});
  CHECK(tokenizer.encode("0000000000000000") == std::vector{25645});

  // tiktoken's ids of both parts of tinyshakespeare, where they have been made.
  const fs::path golden = data / "gpt2" / "golden_tinyshakespeare_train.u16";
  if (!fs::exists(golden)) {
    WARN("skipped: there is no " + golden.string());
    return;
  }
  const std::string text = read_file(data / "tinyshakespeare.txt");
  const std::size_t split = 1'003'854;
  for (const auto& [part, name] :
       {std::pair{text.substr(0, split), "train"}, std::pair{text.substr(split), "val"}}) {
    const std::string bytes =
        read_file(data / "gpt2" / (std::string("golden_tinyshakespeare_") + name + ".u16"));
    std::vector<std::uint16_t> expected(bytes.size() / 2);
    std::memcpy(expected.data(), bytes.data(), bytes.size());
    CHECK(tokenizer.encode(part) == std::vector<std::int32_t>(expected.begin(), expected.end()));
    CHECK(round_trip(tokenizer, part) == part);
  }
}
