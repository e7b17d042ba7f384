#pragma once
#include <scangrad/core/device.h>

#include <cstddef>
#include <cstdint>
#include <memory>

namespace scangrad {

/// A block of device memory, owned; any number of tensors view it. Not copyable.
class Storage {
 public:
  /// Uninitialised memory from the device's allocator. Throws MemoryError.
  Storage(std::size_t bytes, Device device);
  /// Memory of somebody else's (a mapped file, say), kept alive by `owner`. Host memory only.
  Storage(void* data, std::size_t bytes, std::shared_ptr<void> owner);
  ~Storage();
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;

  void* data() const { return data_; }
  std::size_t bytes() const { return bytes_; }
  Device device() const { return device_; }

  /// Counts in-place edits, so that backward can tell when a saved tensor has changed since.
  std::uint64_t version() const { return version_; }
  void bump_version() { ++version_; }

 private:
  void* data_ = nullptr;
  std::size_t bytes_ = 0;
  Device device_;
  std::uint64_t version_ = 0;
  std::shared_ptr<void> owner_;
};

}  // namespace scangrad
