#include <fcntl.h>
#include <scangrad/core/format.h>
#include <scangrad/train/files.h>
#include <scangrad/train/token_file.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <optional>
#include <utility>

namespace scangrad {
namespace {

struct Header {
  char magic[8] = {'S', 'G', 'T', 'O', 'K', 'E', 'N', 'S'};
  std::uint32_t version = 2;
  std::uint32_t token_bytes = 4;
  std::uint64_t vocab_size = 0;
  std::uint64_t count = 0;
  std::uint64_t hash = 0;
  std::uint64_t tokenizer_bytes = 0;
  std::uint64_t tokenizer_hash = 0;
};
static_assert(sizeof(Header) == 56);

/// FNV-1a: http://www.isthe.com/chongo/tech/comp/fnv/
constexpr std::uint64_t hash_of_nothing = 0xcbf29ce484222325u;
std::uint64_t hash_with(std::uint64_t hash, std::uint64_t next) {
  return (hash ^ next) * 0x100000001b3u;
}

std::uint64_t hash_of(std::string_view text) {
  std::uint64_t hash = hash_of_nothing;
  for (const char byte : text) hash = hash_with(hash, static_cast<unsigned char>(byte));
  return hash;
}

/// A file's bytes as memory, unmapped with the last owner.
struct Mapping {
  std::shared_ptr<const std::byte> data;
  std::uint64_t bytes;
};

Mapping map(const std::filesystem::path& path) {
  const std::string name = path.string();
  std::error_code error;
  const std::uint64_t bytes = std::filesystem::file_size(path, error);
  check<IoError>(!error, "{}: cannot be opened: {}", name, error.message());
  check<IoError>(bytes >= sizeof(Header), "{}: not a token file: it has only {} bytes", name,
                 bytes);
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  check<IoError>(file >= 0, "{}: cannot be opened: {}", name, std::strerror(errno));
  void* const mapped = ::mmap(nullptr, bytes, PROT_READ, MAP_SHARED, file, 0);
  const int reason = errno;
  ::close(file);
  check<IoError>(mapped != MAP_FAILED, "{}: cannot be mapped: {}", name, std::strerror(reason));
  const auto* const first = static_cast<const std::byte*>(mapped);
  return {{first, [mapped, bytes](const std::byte*) { ::munmap(mapped, bytes); }}, bytes};
}

Header read_header(const std::string& name, const Mapping& file) {
  Header header;
  std::memcpy(&header, file.data.get(), sizeof header);
  check<IoError>(std::memcmp(header.magic, Header().magic, 8) == 0, "{}: not a token file", name);
  check<IoError>(header.version == Header().version &&
                     (header.token_bytes == 2 || header.token_bytes == 4) &&
                     header.vocab_size <= INT32_MAX,
                 "{}: a token file of version {} with {} bytes a token, which this build cannot "
                 "read; make it anew with scangrad tokenize",
                 name, header.version, header.token_bytes);
  const std::uint64_t rest = file.bytes - sizeof header;
  const bool fits = header.tokenizer_bytes <= rest;
  const std::uint64_t data_bytes = fits ? rest - header.tokenizer_bytes : 0;
  check<IoError>(fits && data_bytes % header.token_bytes == 0 &&
                     data_bytes / header.token_bytes == header.count,
                 "{}: it states {} tokens and a tokenizer of {} bytes, but holds {} bytes of them: "
                 "it is cut off or damaged",
                 name, header.count, header.tokenizer_bytes, rest);
  return header;
}

}  // namespace

Tokens::Tokens(std::vector<std::int32_t> tokens, std::int64_t vocab_size)
    : size_(static_cast<std::int64_t>(tokens.size())), vocab_size_(vocab_size) {
  auto owned = std::make_shared<const std::vector<std::int32_t>>(std::move(tokens));
  data_ = std::shared_ptr<const void>(owned, owned->data());
  const std::int64_t wrong = inspect();
  if (wrong < 0) return;
  fail<ValueError>("tokens: token {} is outside the vocabulary of {}", (*this)[wrong], vocab_size);
}

std::int64_t Tokens::inspect() {
  hash_ = hash_of_nothing;
  for (std::int64_t i = 0; i < size_; ++i) {
    const std::int64_t token = (*this)[i];
    if (token < 0 || token >= vocab_size_) return i;
    hash_ = hash_with(hash_, static_cast<std::uint64_t>(token));
  }
  return -1;
}

TokenFile map_token_file(const std::filesystem::path& path) {
  const std::string name = path.string();
  const Mapping file = map(path);
  const Header header = read_header(name, file);
  TokenFile result = {Tokens(), {}};
  Tokens& tokens = result.tokens;
  tokens.data_ = {file.data, file.data.get() + sizeof header};
  tokens.size_ = static_cast<std::int64_t>(header.count);
  tokens.vocab_size_ = static_cast<std::int64_t>(header.vocab_size);
  tokens.wide_ = header.token_bytes == 4;
  if (const std::int64_t wrong = tokens.inspect(); wrong >= 0) {
    fail<IoError>("{}: token {} at {} is outside its vocabulary of {}", name, tokens[wrong], wrong,
                  tokens.vocab_size_);
  }

  const std::uint64_t begin = file.bytes - header.tokenizer_bytes;
  const std::string_view json(reinterpret_cast<const char*>(file.data.get()) + begin,
                              header.tokenizer_bytes);
  check<IoError>(tokens.hash_ == header.hash && hash_of(json) == header.tokenizer_hash,
                 "{}: its contents are not those that were written: it is damaged", name);
  if (json.empty()) return result;
  try {
    result.tokenizer = tokenizer_from_json(std::string(json));
  } catch (const ValueError& error) {
    fail<IoError>("{}: {}", name, error.what());
  }
  check<IoError>(result.tokenizer->vocab_size() == tokens.vocab_size_,
                 "{}: its tokenizer has {} tokens and its vocabulary {}", name,
                 result.tokenizer->vocab_size(), tokens.vocab_size_);
  return result;
}

bool is_token_file(const std::filesystem::path& path) {
  char begin[8] = {};
  std::ifstream(path, std::ios::binary).read(begin, sizeof begin);
  return std::memcmp(begin, Header().magic, sizeof begin) == 0;
}

void write_token_file(const std::filesystem::path& path, const std::vector<std::int32_t>& tokens,
                      std::int64_t vocab_size, const Tokenizer* tokenizer) {
  check<ValueError>(tokenizer == nullptr || tokenizer->vocab_size() == vocab_size,
                    "token file: the tokenizer has another vocabulary than the {} stated",
                    vocab_size);
  const std::string json = tokenizer == nullptr ? "" : tokenizer->to_json();
  Header header;
  header.token_bytes = vocab_size <= 65536 ? 2 : 4;
  header.vocab_size = static_cast<std::uint64_t>(vocab_size);
  header.count = tokens.size();
  header.hash = hash_of_nothing;
  for (const std::int32_t token : tokens) {
    check<ValueError>(token >= 0 && token < vocab_size,
                      "tokens: token {} is outside the vocabulary of {}", token, vocab_size);
    header.hash = hash_with(header.hash, static_cast<std::uint64_t>(token));
  }
  header.tokenizer_bytes = json.size();
  header.tokenizer_hash = hash_of(json);
  const std::string_view head(reinterpret_cast<const char*>(&header), sizeof header);
  if (header.token_bytes == 4) {
    const auto* first = reinterpret_cast<const char*>(tokens.data());
    return write_file(path, {head, {first, 4 * tokens.size()}, json});
  }
  const std::vector<std::uint16_t> narrow(tokens.begin(), tokens.end());
  write_file(path, {head, {reinterpret_cast<const char*>(narrow.data()), 2 * narrow.size()}, json});
}

}  // namespace scangrad
