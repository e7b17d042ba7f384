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

/// Flushes a folder's entries to the disk, so that a rename in it survives a power cut.
void sync_folder(const std::filesystem::path& folder);

}  // namespace scangrad
