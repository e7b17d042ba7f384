// A corpus is encoded once and mapped ever after; what trains on it must be what was written, and
// carry the tokenizer with which its model can speak.
#include <scangrad/scangrad.h>
#include <scangrad/tests/support/catch.h>
#include <scangrad/train/char_tokenizer.h>
#include <scangrad/train/files.h>
#include <scangrad/train/run_data.h>
#include <scangrad/train/token_file.h>

#include <cstring>
#include <filesystem>

namespace fs = std::filesystem;
using namespace scangrad;

namespace {

fs::path fresh(const std::string& name) {
  fs::create_directories("token_file_test");
  fs::remove(fs::path("token_file_test") / name);
  return fs::path("token_file_test") / name;
}

void write_text(const fs::path& path, const std::string& text) {
  const CharTokenizer tokenizer(text);
  write_token_file(path, tokenizer.encode(text), tokenizer.vocab_size(), &tokenizer);
}

/// `text` over and over.
std::string repeated(const std::string& text, int times) {
  std::string all;
  for (int i = 0; i < times; ++i) all += text;
  return all;
}

}  // namespace

TEST_CASE("Token files are mapped, with 2 or 4 bytes a token as the vocabulary needs") {
  for (const std::int64_t vocab : {65536, 65537}) {
    const fs::path path = fresh("tokens");
    const std::vector<std::int32_t> tokens = {0, 1, 65535, 7};
    write_token_file(path, tokens, vocab);
    CHECK(fs::file_size(path) == 56u + 4u * (vocab > 65536 ? 4u : 2u));
    const TokenFile file = map_token_file(path);
    CHECK(file.tokens.size() == 4);
    CHECK(file.tokens.vocab_size() == vocab);
    CHECK(file.tokenizer == nullptr);
    for (std::int64_t i = 0; i < 4; ++i) {
      CHECK(file.tokens[i] == tokens[static_cast<std::size_t>(i)]);
    }
    // However they are stored.
    CHECK(file.tokens.fingerprint() == Tokens(tokens, vocab).fingerprint());
  }
}

TEST_CASE("A token file brings the tokenizer that made it, so that its model can be sampled") {
  const fs::path path = fresh("text");
  write_text(path, "one<|endoftext|>two");
  const TokenFile file = map_token_file(path);
  REQUIRE(file.tokenizer != nullptr);
  std::vector<std::int64_t> tokens;
  for (std::int64_t i = 0; i < file.tokens.size(); ++i) tokens.push_back(file.tokens[i]);
  CHECK(file.tokenizer->decode(tokens) == "one<|endoftext|>two");
}

TEST_CASE("A damaged token file is refused: cut off or changed anywhere, or another kind") {
  const fs::path path = fresh("damaged");
  write_text(path, "abcab");
  const std::string whole = read_file(path);
  for (std::size_t length = 0; length < whole.size(); ++length) {
    write_file(path, whole.substr(0, length));
    CHECK_THROWS_AS(map_token_file(path), IoError);
  }
  for (std::size_t at = 0; at < whole.size(); ++at) {
    CAPTURE(at);
    std::string other = whole;
    other[at] = static_cast<char>(other[at] ^ 1);
    write_file(path, other);
    CHECK_THROWS_AS(map_token_file(path), IoError);
  }
  const auto refusal = [&](std::size_t at, std::uint64_t value) -> std::string {
    std::string other = whole;
    std::memcpy(other.data() + at, &value, sizeof value);
    write_file(path, other);
    try {
      map_token_file(path);
    } catch (const IoError& error) {
      return error.what();
    }
    return "accepted";
  };
  CHECK_THAT(refusal(0, 0), ContainsSubstring("not a token file"));
  CHECK_THAT(refusal(8, 1 | std::uint64_t{2} << 32),
             ContainsSubstring("of version 1 with 2 bytes"));
  CHECK_THAT(refusal(16, 2), ContainsSubstring("token 2 at 2 is outside its vocabulary of 2"));
  CHECK_THAT(refusal(16, 4), ContainsSubstring("its tokenizer has 3 tokens and its vocabulary 4"));
  CHECK_THAT(refusal(24, ~std::uint64_t{0}), ContainsSubstring("cut off or damaged"));
  CHECK_THAT(refusal(40, ~std::uint64_t{0}), ContainsSubstring("cut off or damaged"));
  CHECK_THAT(refusal(32, 0), ContainsSubstring("its contents are not those that were written"));
  CHECK_THROWS_WITH(map_token_file("no/such"), ContainsSubstring("No such file"));
  CHECK_THROWS_AS(write_token_file(path, {4}, 4), ValueError);
  const CharTokenizer two("ab");
  CHECK_THROWS_AS(write_token_file(path, {1}, 4, &two), ValueError);
}

TEST_CASE("A run reads a token file as it reads the text that it was made of") {
  const fs::path path = fresh("run"), text_path = fresh("run.txt");
  const std::string text = repeated("to be or not<|endoftext|>", 50);
  write_text(path, text);
  write_file(text_path, text);
  RunConfig config;
  config.data.length = 8;
  config.data.file = path.string();
  const RunData from_tokens = open_run_data(config);
  config.data.file = text_path.string();
  const RunData from_text = open_run_data(config);
  CHECK(from_tokens.fingerprint == from_text.fingerprint);
  CHECK(from_tokens.tokenizer->to_json() == from_text.tokenizer->to_json());
  CHECK(from_tokens.train->batch({3}).inputs.to_vector<std::int64_t>() ==
        from_text.train->batch({3}).inputs.to_vector<std::int64_t>());
}

TEST_CASE("A trained model's tokenizer must be the one that made a token file") {
  const fs::path path = fresh("other");
  write_text(path, repeated("abcd", 50));
  RunConfig config;
  config.data.length = 8;
  config.data.file = path.string();
  const auto same = std::make_shared<CharTokenizer>("abcd");
  CHECK(open_run_data(config, same).tokenizer == same);
  CHECK_THROWS_WITH(open_run_data(config, std::make_shared<CharTokenizer>("wxyz")),
                    ContainsSubstring("was made by another tokenizer than the model's"));
}

TEST_CASE("With a validation file, all of the text trains and all of that file validates") {
  const fs::path text = fresh("train.txt"), other = fresh("valid.txt");
  write_file(text, repeated("abc", 30));  // 90 characters: 10 chunks of 9
  write_file(other, repeated("cab", 9));
  RunConfig config;
  config.data.length = 8;
  config.data.file = text.string();
  config.data.validation_file = other.string();
  const RunData data = open_run_data(config);
  CHECK(data.train->size() == 10);
  CHECK(data.validation[0]->size() == 3);
  CHECK(data.validation[0]->batch({0}).inputs.to_vector<std::int64_t>()[0] == 2);  // c, as trained
  write_file(other, repeated("abx", 9));
  CHECK_THROWS_WITH(open_run_data(config), ContainsSubstring("valid.txt: text: the character 'x'"));
  const fs::path numbers = fresh("numbers");
  write_token_file(numbers, std::vector<std::int32_t>(20, 1), 7);
  config.data.validation_file = numbers.string();
  CHECK_THROWS_WITH(open_run_data(config), ContainsSubstring("numbers one of 7"));
}
