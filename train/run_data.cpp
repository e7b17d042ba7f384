#include <scangrad/core/format.h>
#include <scangrad/train/char_tokenizer.h>
#include <scangrad/train/files.h>
#include <scangrad/train/run_data.h>
#include <scangrad/train/word_problem.h>

#include <cstdint>
#include <optional>
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

}  // namespace

RunData open_run_data(const RunConfig& config, std::shared_ptr<const Tokenizer> tokenizer) {
  const DataConfig& data = config.data;
  if (data.kind == "words") return open_words(config);
  check<ValueError>(!data.file.empty(),
                    "data: no text file is given; name one (data.file, or --data)");
  RunData result;
  std::optional<Tokens> tokens;
  if (is_token_file(data.file)) {
    tokens = Tokens::map(data.file);
  } else {
    const std::string text = read_file(data.file);
    check<IoError>(!text.empty(), "data: {} is empty", data.file);
    try {
      result.tokenizer = tokenizer ? tokenizer : std::make_shared<CharTokenizer>(text);
      tokens = Tokens(result.tokenizer->encode(text), result.tokenizer->vocab_size());
    } catch (const ValueError& error) {
      fail<ValueError>("data: {}: {}", data.file, error.what());
    }
  }
  result.fingerprint = tokens->fingerprint();
  TextSplit split = split_text(*tokens, data.length, data.train_fraction);
  result.train = std::make_unique<ChunkDataset>(std::move(split.train));
  result.validation.push_back(std::make_unique<ChunkDataset>(std::move(split.validation)));
  return result;
}

std::uint64_t stream_seed(std::uint64_t seed, Stream stream) {
  // The golden ratio's bits: neighbouring seeds and streams fall far apart.
  return seed ^ (static_cast<std::uint64_t>(stream) * 0x9E3779B97F4A7C15u);
}

}  // namespace scangrad
