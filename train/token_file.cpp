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
#include <utility>

namespace scangrad {
namespace {

struct Header {
  char magic[8] = {'S', 'G', 'T', 'O', 'K', 'E', 'N', 'S'};
  std::uint32_t version = 1;
  std::uint32_t token_bytes = 4;
  std::uint64_t vocab_size = 0;
  std::uint64_t count = 0;
};
static_assert(sizeof(Header) == 32);

void check_tokens(const std::vector<std::int32_t>& tokens, std::int64_t vocab_size) {
  for (const std::int32_t token : tokens) {
    check<ValueError>(token >= 0 && token < vocab_size,
                      "tokens: token {} is outside the vocabulary of {}", token, vocab_size);
  }
}

}  // namespace

Tokens::Tokens(std::vector<std::int32_t> tokens, std::int64_t vocab_size)
    : size_(static_cast<std::int64_t>(tokens.size())), vocab_size_(vocab_size) {
  check_tokens(tokens, vocab_size);
  auto owned = std::make_shared<const std::vector<std::int32_t>>(std::move(tokens));
  data_ = std::shared_ptr<const void>(owned, owned->data());
}

Tokens Tokens::map(const std::filesystem::path& path) {
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
  const std::shared_ptr<const void> whole(mapped, [bytes](void* data) { ::munmap(data, bytes); });

  Header header;
  std::memcpy(&header, mapped, sizeof header);
  check<IoError>(std::memcmp(header.magic, Header().magic, 8) == 0, "{}: not a token file", name);
  check<IoError>(header.version == 1 && (header.token_bytes == 2 || header.token_bytes == 4) &&
                     header.vocab_size <= INT32_MAX,
                 "{}: a token file of version {} with {} bytes a token, which this build cannot "
                 "read",
                 name, header.version, header.token_bytes);
  const std::uint64_t data_bytes = bytes - sizeof header;
  check<IoError>(
      data_bytes % header.token_bytes == 0 && data_bytes / header.token_bytes == header.count,
      "{}: it states {} tokens but holds {} bytes of them: it is cut off or damaged", name,
      header.count, data_bytes);
  Tokens tokens;
  tokens.data_ = {whole, static_cast<const std::byte*>(mapped) + sizeof header};
  tokens.size_ = static_cast<std::int64_t>(header.count);
  tokens.vocab_size_ = static_cast<std::int64_t>(header.vocab_size);
  tokens.wide_ = header.token_bytes == 4;
  for (std::int64_t i = 0; i < tokens.size_; ++i) {
    check<IoError>(tokens[i] >= 0 && tokens[i] < tokens.vocab_size_,
                   "{}: token {} at {} is outside its vocabulary of {}", name, tokens[i], i,
                   tokens.vocab_size_);
  }
  return tokens;
}

Fingerprint Tokens::fingerprint() const {
  std::uint64_t hash = 0xcbf29ce484222325u;
  for (std::int64_t i = 0; i < size_; ++i) {
    hash = (hash ^ static_cast<std::uint64_t>((*this)[i])) * 0x100000001b3u;
  }
  return {size_, hash};
}

bool is_token_file(const std::filesystem::path& path) {
  char begin[8] = {};
  std::ifstream(path, std::ios::binary).read(begin, sizeof begin);
  return std::memcmp(begin, Header().magic, sizeof begin) == 0;
}

void write_token_file(const std::filesystem::path& path, const std::vector<std::int32_t>& tokens,
                      std::int64_t vocab_size) {
  check_tokens(tokens, vocab_size);
  Header header;
  header.token_bytes = vocab_size <= 65536 ? 2 : 4;
  header.vocab_size = static_cast<std::uint64_t>(vocab_size);
  header.count = tokens.size();
  const std::string_view head(reinterpret_cast<const char*>(&header), sizeof header);
  if (header.token_bytes == 4) {
    const auto* first = reinterpret_cast<const char*>(tokens.data());
    return write_file(path, {head, {first, 4 * tokens.size()}});
  }
  const std::vector<std::uint16_t> narrow(tokens.begin(), tokens.end());
  write_file(path, {head, {reinterpret_cast<const char*>(narrow.data()), 2 * narrow.size()}});
}

}  // namespace scangrad
