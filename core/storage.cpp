#include <scangrad/core/backend.h>
#include <scangrad/core/storage.h>

#include <utility>

namespace scangrad {

Storage::Storage(std::size_t bytes, Device device) : bytes_(bytes), device_(device) {
  const Backend& target = backend(device);
  if (bytes > 0) data_ = target.allocate(device.index, bytes);
}

Storage::Storage(void* data, std::size_t bytes, std::shared_ptr<void> owner)
    : data_(data), bytes_(bytes), owner_(std::move(owner)) {}

Storage::~Storage() {
  if (data_ != nullptr && owner_ == nullptr) {
    backend(device_).deallocate(device_.index, data_, bytes_);
  }
}

}  // namespace scangrad
