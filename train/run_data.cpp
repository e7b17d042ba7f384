#include <scangrad/core/format.h>
#include <scangrad/train/char_tokenizer.h>
#include <scangrad/train/files.h>
#include <scangrad/train/run_data.h>
#include <scangrad/train/word_problem.h>

#include <cstdint>
#include <string>
#include <utility>

namespace scangrad {
namespace {

/// More sequences than any run sees.
constexpr std::int64_t endless = std::int64_t{1} << 40;

RunData open_words(const RunConfig& config) {
  const DataConfig& data = config.data;
  RunData result;
  result.shuffle = false;
  result.train = std::make_unique<WordProblem>(data.group, data.length, endless,
                                               stream_seed(config.seed, Stream::words));
  std::vector<std::int64_t> lengths = {data.length};
  lengths.insert(lengths.end(), data.eval_lengths.begin(), data.eval_lengths.end());
  for (const std::int64_t length : lengths) {
    result.validation.push_back(std::make_unique<WordProblem>(
        data.group, length, data.eval_sequences, stream_seed(config.seed, Stream::fresh_words)));
  }
  return result;
}

/// A text, encoded, or a file of tokens. A `tokenizer` is that of the model.
TokenFile open_tokens(const std::string& file, std::shared_ptr<const Tokenizer> tokenizer) {
  if (is_token_file(file)) {
    TokenFile result = map_token_file(file);
    const bool same =
        !tokenizer || !result.tokenizer || result.tokenizer->to_json() == tokenizer->to_json();
    check<ValueError>(same,
                      "data: {} was made by another tokenizer than the model's; make it anew with "
                      "scangrad tokenize --tokenizer, naming the run's tokenizer.json",
                      file);
    if (tokenizer) result.tokenizer = std::move(tokenizer);
    return result;
  }
  const std::string text = read_file(file);
  check<IoError>(!text.empty(), "data: {} is empty", file);
  try {
    if (!tokenizer) tokenizer = std::make_shared<CharTokenizer>(text);
    return {Tokens(tokenizer->encode(text), tokenizer->vocab_size()), tokenizer};
  } catch (const ValueError& error) {
    fail<ValueError>("data: {}: {}", file, error.what());
  }
}

}  // namespace

RunData open_run_data(const RunConfig& config, std::shared_ptr<const Tokenizer> tokenizer) {
  const DataConfig& data = config.data;
  if (data.kind == "words") return open_words(config);
  check<ValueError>(!data.file.empty(),
                    "data: no text file is given; name one (data.file, or --data)");
  RunData result;
  const TokenFile text = open_tokens(data.file, std::move(tokenizer));
  result.tokenizer = text.tokenizer;
  result.fingerprint = text.tokens.fingerprint();
  if (data.validation_file.empty()) {
    TextSplit split = split_text(text.tokens, data.length, data.train_fraction);
    result.train = std::make_unique<ChunkDataset>(std::move(split.train));
    result.validation.push_back(std::make_unique<ChunkDataset>(std::move(split.validation)));
    return result;
  }
  const Tokens validation = open_tokens(data.validation_file, text.tokenizer).tokens;
  check<ValueError>(validation.vocab_size() == text.tokens.vocab_size(),
                    "data: {} has a vocabulary of {}, and {} one of {}", data.file,
                    text.tokens.vocab_size(), data.validation_file, validation.vocab_size());
  result.train = std::make_unique<ChunkDataset>(whole_text(text.tokens, data.length));
  result.validation.push_back(std::make_unique<ChunkDataset>(whole_text(validation, data.length)));
  return result;
}

std::uint64_t stream_seed(std::uint64_t seed, Stream stream) {
  // The golden ratio's bits: neighbouring seeds and streams fall far apart.
  return seed ^ (static_cast<std::uint64_t>(stream) * 0x9E3779B97F4A7C15u);
}

}  // namespace scangrad
