#include <fcntl.h>
#include <scangrad/core/format.h>
#include <scangrad/train/files.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

namespace scangrad {
namespace {

/// An open file; closed at the end of the scope.
class Descriptor {
 public:
  Descriptor(const std::filesystem::path& path, int flags)
      : value_(::open(path.c_str(), flags | O_CLOEXEC, 0666)) {}
  ~Descriptor() {
    if (value_ >= 0) ::close(value_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  operator int() const { return value_; }
  /// Some file systems report a failed write only here.
  bool close() { return ::close(std::exchange(value_, -1)) == 0; }

 private:
  int value_;
};

bool write_all(int file, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(file, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(written));
  }
  return true;
}

}  // namespace

std::string read_file(const std::filesystem::path& path) {
  const Descriptor file(path, O_RDONLY);
  check<IoError>(file >= 0, "{}: cannot be opened: {}", path.string(), std::strerror(errno));
  std::string content;
  struct stat status = {};
  if (::fstat(file, &status) == 0 && S_ISREG(status.st_mode)) {
    content.reserve(static_cast<std::size_t>(status.st_size) + 1);
  }
  char block[1 << 16];
  while (true) {
    const ssize_t count = ::read(file, block, sizeof block);
    if (count < 0 && errno == EINTR) continue;
    check<IoError>(count >= 0, "{}: cannot be read: {}", path.string(), std::strerror(errno));
    if (count == 0) return content;
    content.append(block, static_cast<std::size_t>(count));
  }
}

void write_file(const std::filesystem::path& path, const std::vector<std::string_view>& pieces) {
  // Beside the target, since a rename works within one file system only.
  const std::filesystem::path temporary = path.string() + ".tmp" + std::to_string(::getpid());
  bool ok = false;
  {
    Descriptor file(temporary, O_WRONLY | O_CREAT | O_TRUNC);
    ok = file >= 0;
    for (std::size_t i = 0; ok && i < pieces.size(); ++i) ok = write_all(file, pieces[i]);
    ok = ok && ::fsync(file) == 0 && file.close();
    ok = ok && ::rename(temporary.c_str(), path.c_str()) == 0;
  }
  if (!ok) {
    const int reason = errno;
    ::unlink(temporary.c_str());
    fail<IoError>("{}: cannot be written: {}; what was there is unchanged", path.string(),
                  std::strerror(reason));
  }
  sync_to_disk(path.parent_path());
}

void sync_to_disk(const std::filesystem::path& path) {
  const Descriptor opened(path.empty() ? "." : path, O_RDONLY);
  // EINVAL: a file system that does not offer it, and then there is no more to do.
  const bool ok = opened >= 0 && (::fsync(opened) == 0 || errno == EINVAL);
  check<IoError>(ok, "{}: cannot be flushed to the disk: {}", path.string(), std::strerror(errno));
}

void make_folder(const std::filesystem::path& folder) {
  std::error_code error;
  if (std::filesystem::is_directory(folder, error)) return;
  const std::filesystem::path above = folder.parent_path();
  if (!above.empty() && !std::filesystem::exists(above, error)) make_folder(above);
  std::filesystem::create_directory(folder, error);
  check<IoError>(!error, "{}: cannot be made: {}", folder.string(), error.message());
  sync_to_disk(above);
}

FolderLock::FolderLock(const std::filesystem::path& folder)
    : folder_(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)) {
  check<IoError>(folder_ >= 0, "{}: cannot be opened: {}", folder.string(), std::strerror(errno));
  if (::flock(folder_, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK) return;
  ::close(folder_);
  fail<ValueError>("{} is in use: another process, or another part of this one, trains there",
                   folder.string());
}

FolderLock::~FolderLock() { ::close(folder_); }

}  // namespace scangrad
