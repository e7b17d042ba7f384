#include <scangrad/core/format.h>
#include <scangrad/train/bpe_tokenizer.h>
#include <scangrad/train/char_tokenizer.h>
#include <scangrad/train/files.h>
#include <scangrad/train/tokenizer.h>

#include <nlohmann/json.hpp>

namespace scangrad {

void Tokenizer::check_token(std::int64_t token) const {
  check<IndexError>(token >= 0 && token < vocab_size(),
                    "tokenizer: token {} is outside its vocabulary of {}", token, vocab_size());
}

std::shared_ptr<const Tokenizer> tokenizer_from_json(const std::string& text) {
  const auto json = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  const bool named = json.is_object() && json.contains("kind");
  if (named && json["kind"] == "char" && json.contains("characters") &&
      json["characters"].is_string()) {
    return std::make_shared<CharTokenizer>(json["characters"].get<std::string>());
  }
  if (named && json["kind"] == "bpe") {
    return std::make_shared<BpeTokenizer>(bpe_vocabulary_from_json(text));
  }
  fail<ValueError>("not a tokenizer");
}

std::shared_ptr<const Tokenizer> load_tokenizer(const std::filesystem::path& path) {
  try {
    return tokenizer_from_json(read_file(path));
  } catch (const ValueError& error) {
    fail<IoError>("{}: {}", path.string(), error.what());
  }
}

}  // namespace scangrad
