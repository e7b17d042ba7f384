#include <scangrad/cuda/runtime.h>
#include <scangrad/cuda/upload.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <map>
#include <mutex>

namespace scangrad::cuda {
namespace {

constexpr std::size_t buffer_bytes = std::size_t{2} << 20;

struct Buffer {
  std::byte* data = nullptr;
  cudaEvent_t read = nullptr;  // when the device has read it
};

/// Used in turn.
struct Ring {
  std::array<Buffer, 8> buffers;
  std::size_t next = 0;

  Buffer& take() {
    Buffer& buffer = buffers[next++ % buffers.size()];
    if (buffer.data == nullptr) {
      void* data = nullptr;
      check_call(cudaMallocHost(&data, buffer_bytes), "pinned memory");
      buffer.data = static_cast<std::byte*>(data);
      check_call(cudaEventCreateWithFlags(&buffer.read, cudaEventDisableTiming), "an event");
    } else {
      check_call(cudaEventSynchronize(buffer.read), "an upload");
    }
    return buffer;
  }
};

}  // namespace

void upload(int device, void* to, const void* from, std::size_t bytes) {
  static std::mutex mutex;
  static std::map<int, Ring>& rings = *new std::map<int, Ring>;  // outlives statics
  const std::lock_guard lock(mutex);
  const DeviceGuard guard(device);
  for (std::size_t done = 0; done < bytes; done += buffer_bytes) {
    const std::size_t part = std::min(buffer_bytes, bytes - done);
    const Buffer& buffer = rings[device].take();
    std::memcpy(buffer.data, static_cast<const std::byte*>(from) + done, part);
    check_call(cudaMemcpyAsync(static_cast<std::byte*>(to) + done, buffer.data, part,
                               cudaMemcpyHostToDevice, stream(device)),
               "an upload");
    check_call(cudaEventRecord(buffer.read, stream(device)), "an upload");
  }
}

}  // namespace scangrad::cuda
