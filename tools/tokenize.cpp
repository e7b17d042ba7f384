// scangrad tokenize: texts to a file of tokens, once, so that runs begin at once and read only what
// they need.
#include <scangrad/core/error.h>
#include <scangrad/tools/commands.h>
#include <scangrad/train/bpe_tokenizer.h>
#include <scangrad/train/char_tokenizer.h>
#include <scangrad/train/files.h>
#include <scangrad/train/token_file.h>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace scangrad::tools {
namespace {

namespace fs = std::filesystem;

struct Arguments {
  std::string tokenizer, vocabulary, out;
  bool keep_used = false;
  std::vector<std::string> files;
};

/// The texts, a document each, with the mark between them where a file does not end with it.
std::string read_documents(const std::vector<std::string>& files) {
  std::string text;
  for (const std::string& file : files) {
    if (!text.empty() && !text.ends_with(end_of_text_mark)) text += end_of_text_mark;
    const std::string document = read_file(file);
    if (document.empty()) throw IoError(file + ": it is empty");
    text += document;
  }
  return text;
}

std::shared_ptr<const Tokenizer> make_tokenizer(const Arguments& arguments,
                                                const std::string& text) {
  const bool gpt2 = arguments.tokenizer == "gpt2";
  if (gpt2 == arguments.vocabulary.empty()) {
    throw CLI::ValidationError(
        "--vocabulary: --tokenizer gpt2, and only that, needs the folder of vocab.json and "
        "merges.txt");
  }
  if (gpt2) return std::make_shared<BpeTokenizer>(load_gpt2_vocabulary(arguments.vocabulary));
  if (arguments.tokenizer == "char") return std::make_shared<CharTokenizer>(text);
  if (!is_token_file(arguments.tokenizer)) return load_tokenizer(arguments.tokenizer);
  auto tokenizer = map_token_file(arguments.tokenizer).tokenizer;
  if (!tokenizer) throw ValueError(arguments.tokenizer + ": it holds no tokenizer");
  return tokenizer;
}

/// The same tokenizer with only the tokens that occur and the single bytes, in which any other text
/// can be spelled, numbered anew; `tokens` too.
std::shared_ptr<const Tokenizer> keep_used(const Tokenizer& tokenizer,
                                           std::vector<std::int32_t>& tokens) {
  const auto* bpe = dynamic_cast<const BpeTokenizer*>(&tokenizer);
  if (bpe == nullptr || !bpe->vocabulary().kept.empty()) {
    throw CLI::ValidationError("--keep-used: only a whole GPT-2 vocabulary can be made smaller");
  }
  BpeVocabulary vocabulary = bpe->vocabulary();
  std::vector<std::int32_t> number_of(vocabulary.tokens.size(), -1);
  for (const std::int32_t token : tokens) number_of[static_cast<std::size_t>(token)] = 0;
  for (std::size_t token = 0; token < number_of.size(); ++token) {
    if (vocabulary.tokens[token].size() == 1) number_of[token] = 0;
  }
  for (std::size_t token = 0; token < number_of.size(); ++token) {
    if (number_of[token] < 0) continue;
    number_of[token] = static_cast<std::int32_t>(vocabulary.kept.size());
    vocabulary.kept.push_back(static_cast<std::int32_t>(token));
  }
  for (std::int32_t& token : tokens) token = number_of[static_cast<std::size_t>(token)];
  return std::make_shared<BpeTokenizer>(std::move(vocabulary));
}

void tokenize(const Arguments& arguments) {
  const std::string text = read_documents(arguments.files);
  std::shared_ptr<const Tokenizer> tokenizer;
  std::vector<std::int32_t> tokens;
  try {
    tokenizer = make_tokenizer(arguments, text);
    tokens = tokenizer->encode(text);
  } catch (const ValueError& error) {
    throw ValueError(fmt::format("{}: {}", fmt::join(arguments.files, ", "), error.what()));
  }
  if (arguments.keep_used) tokenizer = keep_used(*tokenizer, tokens);
  const fs::path out = arguments.out.empty() ? fs::path(arguments.files[0]).replace_extension("bin")
                                             : fs::path(arguments.out);
  write_token_file(out, tokens, tokenizer->vocab_size(), tokenizer.get());
  const auto ends = tokenizer->end_of_text();
  const auto marks = ends ? std::count(tokens.begin(), tokens.end(), *ends) : 0;
  const std::string_view body(text.data(), text.find_last_not_of(" \t\r\n") + 1);
  fmt::print("{}: {} tokens of a vocabulary of {}, {} documents, {:.2f} bytes of text a token\n",
             out.string(), tokens.size(), tokenizer->vocab_size(),
             body.ends_with(end_of_text_mark) ? marks : marks + 1,
             static_cast<double>(text.size()) / static_cast<double>(tokens.size()));
}

}  // namespace

void add_tokenize(CLI::App& program) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command = program.add_subcommand(
      "tokenize", "Text files to one file of tokens, to train on (--data) again and again");
  command
      ->add_option(
          "--tokenizer", arguments->tokenizer,
          "char, gpt2 or, to match a run or another token file, that file or tokenizer.json")
      ->required();
  command->add_option("--vocabulary", arguments->vocabulary,
                      "gpt2: a folder with vocab.json (or encoder.json) and merges.txt (or "
                      "vocab.bpe)");
  command->add_flag(
      "--keep-used", arguments->keep_used,
      "gpt2: only the tokens that occur, and single bytes; a smaller model for a small text");
  command->add_option("--out", arguments->out, "The token file (default: the first FILE's, .bin)");
  command->add_option("FILE", arguments->files, "Texts; documents are separated by <|endoftext|>")
      ->required();
  command->callback([arguments] { tokenize(*arguments); });
}

}  // namespace scangrad::tools
