#pragma once
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace scangrad {

/// The whole file. Throws IoError, naming the file and the reason, where it cannot be read.
std::string read_file(const std::filesystem::path& path);

/// Writes the pieces, one after another, so that `path` at every moment is either what it was or
/// complete: a temporary file beside it is written, flushed to the disk and renamed. Throws IoError
/// (no such folder, a full disk), and then `path` is as before and the temporary file gone.
void write_file(const std::filesystem::path& path, const std::vector<std::string_view>& pieces);
inline void write_file(const std::filesystem::path& path, std::string_view content) {
  write_file(path, std::vector<std::string_view>{content});
}

/// Flushes to the disk what was written to a file or, of a folder, its entries, so that a rename in
/// it survives a power cut. Throws IoError where that fails.
void sync_to_disk(const std::filesystem::path& path);

/// Makes a folder and those above it, where they are not there yet, and flushes their entries.
/// Throws IoError.
void make_folder(const std::filesystem::path& folder);

/// The sole right to write in a folder, for the life of the object or, however it ends, of the
/// process. On a file system that knows no locks it is nobody's.
class FolderLock {
 public:
  /// Throws IoError where there is no such folder, ValueError where another object has the right,
  /// in this process or in another.
  explicit FolderLock(const std::filesystem::path& folder);
  ~FolderLock();
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;

 private:
  int folder_;
};

}  // namespace scangrad
