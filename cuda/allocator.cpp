#include <scangrad/core/format.h>
#include <scangrad/cuda/allocator.h>
#include <scangrad/cuda/runtime.h>

#include <algorithm>
#include <bit>
#include <map>
#include <mutex>
#include <vector>

namespace scangrad::cuda {
namespace {

constexpr std::size_t alignment = 512;

/// Sizes are rounded up to one of eight steps per power of two: at most an eighth is wasted.
std::size_t size_class(std::size_t bytes) {
  const std::size_t step = std::max(alignment, std::bit_floor(std::max<std::size_t>(bytes, 1)) / 8);
  return (bytes + step - 1) / step * step;
}

struct Pool {
  std::map<std::size_t, std::vector<void*>> free;
  MemoryStats stats;

  /// Gives cached blocks back to the driver, when nothing on the device uses them any more.
  void flush(int device) {
    cudaStreamSynchronize(stream(device));
    for (auto& [size, blocks] : free) {
      for (void* block : blocks) cudaFree(block);
    }
    free.clear();
    stats.cached = 0;
  }
};

std::mutex& pool_mutex() {
  static std::mutex mutex;
  return mutex;
}

/// Never destroyed: tensors with static lifetime may outlive any other static.
Pool& pool(int device) {
  static std::map<int, Pool>& pools = *new std::map<int, Pool>;
  return pools[device];
}

}  // namespace

void* allocate(int device, std::size_t bytes) {
  const std::size_t size = size_class(bytes);
  const std::lock_guard lock(pool_mutex());
  Pool& p = pool(device);
  void* data = nullptr;
  if (const auto found = p.free.find(size); found != p.free.end() && !found->second.empty()) {
    data = found->second.back();
    found->second.pop_back();
    p.stats.cached -= size;
  } else {
    const DeviceGuard guard(device);
    if (cudaMalloc(&data, size) != cudaSuccess) {
      cudaGetLastError();
      p.flush(device);
      const cudaError_t status = cudaMalloc(&data, size);
      if (status == cudaErrorMemoryAllocation) {
        cudaGetLastError();
        std::size_t available = 0, total = 0;
        cudaMemGetInfo(&available, &total);
        fail<MemoryError>(
            "cuda:{}: {} bytes could not be allocated ({} free of {}, {} in use by tensors)",
            device, bytes, available, total, p.stats.active);
      }
      check_call(status, "memory");
    }
  }
  p.stats.active += size;
  p.stats.peak = std::max(p.stats.peak, p.stats.active);
  return data;
}

void deallocate(int device, void* data, std::size_t bytes) {
  const std::size_t size = size_class(bytes);
  const std::lock_guard lock(pool_mutex());
  Pool& p = pool(device);
  p.stats.active -= size;
  p.free[size].push_back(data);
  p.stats.cached += size;
}

MemoryStats memory_stats(int device) {
  const std::lock_guard lock(pool_mutex());
  return pool(device).stats;
}

}  // namespace scangrad::cuda
