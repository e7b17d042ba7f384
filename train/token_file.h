#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <vector>

namespace scangrad {

/// What data are recognised by. The order of members is frozen.
struct Fingerprint {
  std::int64_t tokens = 0;
  std::uint64_t hash = 0;  ///< FNV-1a, a token at a time
  bool operator==(const Fingerprint&) const = default;
};

/// A sequence of tokens that is never changed: in memory, or a file mapped into it, of which only
/// what is read is loaded. Copies share the memory.
class Tokens {
 public:
  /// Throws ValueError on a token outside the vocabulary.
  Tokens(std::vector<std::int32_t> tokens, std::int64_t vocab_size);
  /// Maps a token file. Throws IoError where it cannot be opened, is no token file, is cut off, or
  /// holds a token outside the vocabulary that it states (read through once to see).
  static Tokens map(const std::filesystem::path& path);

  std::int64_t size() const { return size_; }
  std::int64_t operator[](std::int64_t i) const {
    return wide_ ? static_cast<const std::int32_t*>(data_.get())[i]
                 : static_cast<const std::uint16_t*>(data_.get())[i];
  }
  /// One more than the largest token allowed.
  std::int64_t vocab_size() const { return vocab_size_; }
  /// Reads all of them.
  Fingerprint fingerprint() const;

 private:
  Tokens() = default;
  std::shared_ptr<const void> data_;
  std::int64_t size_ = 0;
  std::int64_t vocab_size_ = 0;
  bool wide_ = true;  // 4 bytes a token, or 2
};

/// Whether the file begins as a token file does; false where it cannot be read.
bool is_token_file(const std::filesystem::path& path);

/// Writes a token file: `SGTOKENS`, then, little-endian, version (u32, 1), bytes per token (u32, 2
/// or 4), vocabulary size (u64), count (u64), and the tokens. Throws ValueError on a token outside
/// the vocabulary, IoError as `write_file`.
void write_token_file(const std::filesystem::path& path, const std::vector<std::int32_t>& tokens,
                      std::int64_t vocab_size);

}  // namespace scangrad
