#pragma once
#include <scangrad/train/tokenizer.h>

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

struct TokenFile;

/// A sequence of tokens that is never changed: in memory, or a file mapped into it, of which only
/// what is read is loaded. Copies share the memory.
class Tokens {
 public:
  /// Throws ValueError on a token outside the vocabulary.
  Tokens(std::vector<std::int32_t> tokens, std::int64_t vocab_size);

  std::int64_t size() const { return size_; }
  std::int64_t operator[](std::int64_t i) const {
    return wide_ ? static_cast<const std::int32_t*>(data_.get())[i]
                 : static_cast<const std::uint16_t*>(data_.get())[i];
  }
  /// One more than the largest token allowed.
  std::int64_t vocab_size() const { return vocab_size_; }
  Fingerprint fingerprint() const { return {size_, hash_}; }

 private:
  Tokens() = default;
  /// Reads all tokens: computes the hash, and returns where the first one outside the vocabulary
  /// is, −1 for none.
  std::int64_t inspect();
  friend TokenFile map_token_file(const std::filesystem::path& path);

  std::shared_ptr<const void> data_;
  std::int64_t size_ = 0;
  std::int64_t vocab_size_ = 0;
  std::uint64_t hash_ = 0;
  bool wide_ = true;  // 4 bytes a token, or 2
};

/// What a token file holds.
struct TokenFile {
  Tokens tokens;
  std::shared_ptr<const Tokenizer> tokenizer = {};  ///< what made it of text; not in every file
};

/// Whether the file begins as a token file does; false where it cannot be read.
bool is_token_file(const std::filesystem::path& path);

/// Maps a token file into memory, and reads it through once. Throws IoError where it cannot be
/// opened, is no token file, is cut off or changed (by its hashes), or holds a token outside the
/// vocabulary that it states.
TokenFile map_token_file(const std::filesystem::path& path);

/// Writes a token file, little-endian: `SGTOKENS`, version (u32, 2), bytes per token (u32, 2 or 4),
/// vocabulary size, count, hash of the tokens (see Fingerprint), length and FNV-1a hash of the
/// tokenizer's JSON (u64 each); the tokens; the tokenizer's JSON, if there is one. Throws
/// ValueError on a token outside the vocabulary and for a tokenizer of another size, IoError as
/// `write_file`.
void write_token_file(const std::filesystem::path& path, const std::vector<std::int32_t>& tokens,
                      std::int64_t vocab_size, const Tokenizer* tokenizer = nullptr);

}  // namespace scangrad
