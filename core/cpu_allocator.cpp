#include <scangrad/core/cpu_allocator.h>
#include <scangrad/core/format.h>

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <map>
#include <mutex>
#include <vector>

namespace scangrad {
namespace {

constexpr std::size_t alignment = 64;
// Under a sanitizer nothing is cached and nothing rounded up, so that it sees every use after free
// and every access past the end.
#if defined(__has_feature)  // clang
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SCANGRAD_SANITIZED
#endif
#elif defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SCANGRAD_SANITIZED
#endif
#ifdef SCANGRAD_SANITIZED
constexpr bool sanitized = true;
#else
constexpr bool sanitized = false;
#endif
constexpr std::size_t cache_limit = sanitized ? 0 : std::size_t{2} << 30;

/// Sizes are rounded up to one of eight steps per power of two: at most an eighth is wasted.
std::size_t size_class(std::size_t bytes) {
  if (sanitized) return bytes;
  const std::size_t step = std::max(alignment, std::bit_floor(std::max<std::size_t>(bytes, 1)) / 8);
  return (bytes + step - 1) / step * step;
}

struct Pool {
  std::mutex mutex;
  std::map<std::size_t, std::vector<void*>> free;
  MemoryStats stats;

  void flush() {
    for (auto& [size, blocks] : free) {
      for (void* block : blocks) std::free(block);
    }
    free.clear();
    stats.cached = 0;
  }
};

/// Null where there is no such memory. (aligned_alloc wants a size that the alignment divides.)
void* allocate_aligned(std::size_t bytes) {
  void* data = nullptr;
  return posix_memalign(&data, alignment, bytes) == 0 ? data : nullptr;
}

/// Never destroyed: tensors with static lifetime may outlive any other static.
Pool& pool() {
  static Pool& instance = *new Pool;
  return instance;
}

}  // namespace

void* cpu_allocate(std::size_t bytes) {
  const std::size_t size = size_class(bytes);
  Pool& p = pool();
  const std::lock_guard lock(p.mutex);
  void* data = nullptr;
  if (const auto found = p.free.find(size); found != p.free.end() && !found->second.empty()) {
    data = found->second.back();
    found->second.pop_back();
    p.stats.cached -= size;
  } else {
    data = allocate_aligned(size);
    if (data == nullptr) {
      p.flush();
      data = allocate_aligned(size);
    }
    check<MemoryError>(data != nullptr, "cpu: {} bytes could not be allocated ({} in use)", bytes,
                       p.stats.active);
  }
  p.stats.active += size;
  p.stats.peak = std::max(p.stats.peak, p.stats.active);
  return data;
}

void cpu_deallocate(void* data, std::size_t bytes) {
  const std::size_t size = size_class(bytes);
  Pool& p = pool();
  const std::lock_guard lock(p.mutex);
  p.stats.active -= size;
  if (p.stats.cached + size > cache_limit) {
    std::free(data);
  } else {
    p.free[size].push_back(data);
    p.stats.cached += size;
  }
}

MemoryStats cpu_memory_stats() {
  const std::lock_guard lock(pool().mutex);
  return pool().stats;
}

}  // namespace scangrad
