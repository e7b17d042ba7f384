#include <scangrad/core/format.h>
#include <scangrad/train/bpe_vocabulary.h>
#include <scangrad/train/files.h>
#include <scangrad/train/unicode.h>

#include <nlohmann/json.hpp>

#include <array>
#include <optional>
#include <string_view>
#include <unordered_map>

namespace scangrad {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr std::uintmax_t max_file_bytes = 32'000'000;  // GPT-2's larger one has 1 MB

std::string utf8(char32_t point) {  // below U+0800
  if (point < 0x80) return {static_cast<char>(point)};
  return {static_cast<char>(0xc0 | (point >> 6)), static_cast<char>(0x80 | (point & 0x3f))};
}

/// GPT-2's files write each byte as a character that can be seen: those of Latin-1 as themselves,
/// the others from U+0100 on (a space is Ġ).
struct ByteAlphabet {
  std::array<std::string, 256> characters;
  std::unordered_map<char32_t, unsigned char> byte_of;

  ByteAlphabet() {
    char32_t next = 256;
    for (char32_t byte = 0; byte < 256; ++byte) {
      const bool visible = (byte > 0x20 && byte < 0x7f) || (byte > 0xa0 && byte != 0xad);
      const char32_t point = visible ? byte : next++;
      characters[byte] = utf8(point);
      byte_of[point] = static_cast<unsigned char>(byte);
    }
  }
};

const ByteAlphabet& alphabet() {
  static const ByteAlphabet the_alphabet;
  return the_alphabet;
}

std::string written(const std::string& bytes) {
  std::string text;
  for (const char byte : bytes) text += alphabet().characters[static_cast<unsigned char>(byte)];
  return text;
}

/// The bytes of a token as files write it; nothing where a character stands for none.
std::optional<std::string> bytes_of(std::string_view token) {
  std::string bytes;
  for (std::size_t at = 0; at < token.size();) {
    const Character character = character_at(token, at);
    const auto found = alphabet().byte_of.find(character.point);
    if (character.bytes == 0 || found == alphabet().byte_of.end()) return {};
    bytes += static_cast<char>(found->second);
    at += character.bytes;
  }
  return bytes;
}

fs::path find_one(const fs::path& folder, const char* name, const char* other) {
  for (const char* each : {name, other}) {
    if (fs::exists(folder / each)) return folder / each;
  }
  fail<IoError>("{}: a GPT-2 vocabulary needs {} or {}, and neither is there", folder.string(),
                name, other);
}

std::string read_small_file(const fs::path& path) {
  std::error_code ignored;
  const std::uintmax_t bytes = fs::file_size(path, ignored);
  check<IoError>(ignored || bytes <= max_file_bytes,
                 "{}: {} bytes are too many for a vocabulary: {} is the most", path.string(), bytes,
                 max_file_bytes);
  return read_file(path);
}

std::vector<std::string> read_tokens(const fs::path& path) {
  const std::string name = path.string();
  const Json json = Json::parse(read_small_file(path), nullptr, /*allow_exceptions=*/false);
  check<IoError>(json.is_object() && !json.empty(), "{}: not a JSON object of tokens", name);
  std::vector<std::string> tokens(json.size());
  for (const auto& [token, number] : json.items()) {
    check<IoError>(number.is_number_unsigned() && number.get<std::uint64_t>() < tokens.size(),
                   "{}: token '{}' has the number {}, but {} tokens are numbered 0 to {}", name,
                   token, number.dump(), tokens.size(), tokens.size() - 1);
    auto bytes = bytes_of(token);
    check<IoError>(bytes && !bytes->empty(),
                   "{}: token '{}' is empty or has a character that stands for no byte", name,
                   token);
    std::string& place = tokens[number.get<std::size_t>()];
    check<IoError>(place.empty(), "{}: tokens '{}' and '{}' have the same number, {}", name,
                   written(place), token, number.dump());
    place = *std::move(bytes);
  }
  return tokens;
}

std::vector<std::pair<std::int32_t, std::int32_t>> read_merges(
    const fs::path& path, const std::vector<std::string>& tokens) {
  const std::string text = read_small_file(path);
  std::unordered_map<std::string, std::int32_t> token_of;
  for (const std::string& token : tokens) {
    token_of.emplace(written(token), static_cast<std::int32_t>(token_of.size()));
  }
  std::vector<std::pair<std::int32_t, std::int32_t>> merges;
  std::string_view rest = text;
  for (std::int64_t line_number = 1; !rest.empty(); ++line_number) {
    const std::size_t end = rest.find('\n');
    std::string_view line = rest.substr(0, end);
    rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.empty() || (line_number == 1 && line.starts_with("#version"))) continue;
    const std::size_t space = line.find(' ');
    check<IoError>(space != std::string_view::npos, "{}: line {}, '{}', is no pair of tokens",
                   path.string(), line_number, line);
    const auto token = [&](std::string_view part) {
      const auto found = token_of.find(std::string(part));
      check<IoError>(found != token_of.end(), "{}: line {} merges '{}', which is no token",
                     path.string(), line_number, part);
      return found->second;
    };
    merges.emplace_back(token(line.substr(0, space)), token(line.substr(space + 1)));
  }
  return merges;
}

}  // namespace

BpeVocabulary load_gpt2_vocabulary(const fs::path& folder) {
  BpeVocabulary vocabulary;
  vocabulary.tokens = read_tokens(find_one(folder, "vocab.json", "encoder.json"));
  vocabulary.merges = read_merges(find_one(folder, "merges.txt", "vocab.bpe"), vocabulary.tokens);
  return vocabulary;
}

void save_gpt2_vocabulary(const fs::path& folder, const BpeVocabulary& vocabulary) {
  check<ValueError>(vocabulary.kept.empty(),
                    "a vocabulary that keeps {} of {} tokens cannot be written as GPT-2's files",
                    vocabulary.kept.size(), vocabulary.tokens.size());
  Json numbers = Json::object();
  for (std::size_t i = 0; i < vocabulary.tokens.size(); ++i) {
    numbers[written(vocabulary.tokens[i])] = i;
  }
  std::string merges = "#version: 0.2\n";
  const auto token = [&](std::int32_t number) {
    return written(vocabulary.tokens[static_cast<std::size_t>(number)]);
  };
  for (const auto& [left, right] : vocabulary.merges) {
    merges += token(left) + " " + token(right) + "\n";
  }
  write_file(folder / "vocab.json", numbers.dump());
  write_file(folder / "merges.txt", merges);
}

std::string bpe_vocabulary_to_json(const BpeVocabulary& vocabulary) {
  Json json = {{"kind", "bpe"}, {"tokens", Json::array()}, {"merges", vocabulary.merges}};
  for (const std::string& token : vocabulary.tokens) json["tokens"].push_back(written(token));
  if (!vocabulary.kept.empty()) json["kept"] = vocabulary.kept;
  return json.dump();
}

BpeVocabulary bpe_vocabulary_from_json(const std::string& text) {
  try {
    const Json json = Json::parse(text);
    BpeVocabulary vocabulary;
    for (const Json& token : json.at("tokens")) {
      auto bytes = bytes_of(token.get_ref<const std::string&>());
      check<ValueError>(bytes.has_value(),
                        "tokenizer: token {} has a character that stands for no byte",
                        token.dump());
      vocabulary.tokens.push_back(*std::move(bytes));
    }
    json.at("merges").get_to(vocabulary.merges);
    if (json.contains("kept")) json["kept"].get_to(vocabulary.kept);
    return vocabulary;
  } catch (const Json::exception&) {
    fail<ValueError>("tokenizer: not a BPE tokenizer's JSON");
  }
}

}  // namespace scangrad
