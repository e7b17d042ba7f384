#include <scangrad/core/format.h>
#include <scangrad/cuda/allocator.h>
#include <scangrad/cuda/runtime.h>

#include <algorithm>
#include <bit>
#include <cstdint>
#include <map>
#include <mutex>
#include <unordered_map>
#include <utility>
#include <vector>

namespace scangrad::cuda {
namespace {

constexpr std::size_t alignment = 512;

/// Sizes are rounded up to one of eight steps per power of two: at most an eighth is wasted.
std::size_t size_class(std::size_t bytes) {
  const std::size_t step = std::max(alignment, std::bit_floor(std::max<std::size_t>(bytes, 1)) / 8);
  return (bytes + step - 1) / step * step;
}

/// Free blocks by size.
using FreeLists = std::map<std::size_t, std::vector<void*>>;

void* take(FreeLists& lists, std::size_t size) {
  const auto found = lists.find(size);
  if (found == lists.end() || found->second.empty()) return nullptr;
  void* const data = found->second.back();
  found->second.pop_back();
  return data;
}

/// What a captured graph uses.
struct GraphMemory {
  std::uint64_t first;  // number of the first allocation in the capture
  std::uint64_t end;    // number after the last
  FreeLists free;       // allocated and freed in the capture: for the rest of it
  std::vector<std::pair<void*, std::size_t>> kept;  // freed, but the graph's
};

struct Pool {
  FreeLists free;
  MemoryStats stats;
  std::uint64_t allocations = 0;
  std::unordered_map<void*, std::uint64_t> numbers;  // which allocation each live block was
  std::map<int, GraphMemory> graphs;
  bool capturing = false;  // for the last of them
  int next_graph = 0;

  /// Gives cached blocks back to the driver, when nothing on the device uses them any more.
  void flush(int device) {
    if (!capturing) cudaStreamSynchronize(stream(device));
    for (auto& [size, blocks] : free) {
      for (void* block : blocks) cudaFree(block);
    }
    free.clear();
    stats.cached = 0;
  }

  /// A block that no tensor holds any more; `active` still counts it.
  void release(void* data, std::size_t size, std::uint64_t number) {
    if (capturing && number >= graphs.rbegin()->second.first) {
      graphs.rbegin()->second.free[size].push_back(data);
      stats.active -= size;
      return;
    }
    for (auto& [name, graph] : graphs) {
      if (number >= graph.end) continue;
      graph.kept.emplace_back(data, size);
      numbers.emplace(data, number);
      return;
    }
    free[size].push_back(data);
    stats.active -= size;
    stats.cached += size;
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

/// A new block from the driver.
void* driver_allocate(int device, Pool& p, std::size_t size, std::size_t bytes) {
  const DeviceGuard guard(device);
  void* data = nullptr;
  if (cudaMalloc(&data, size) == cudaSuccess) return data;
  cudaGetLastError();
  const std::size_t cached = p.stats.cached;
  p.flush(device);
  const cudaError_t status = cudaMalloc(&data, size);
  if (status == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    std::size_t available = 0, total = 0;
    cudaMemGetInfo(&available, &total);
    fail<MemoryError>(
        "cuda:{}: {} bytes could not be allocated: of {} bytes {} are free, {} of them cached "
        "until "
        "now, and {} are in use by tensors",
        device, bytes, total, available, cached, p.stats.active);
  }
  check_call(status, "memory");
  return data;
}

}  // namespace

void* allocate(int device, std::size_t bytes) {
  const std::size_t size = size_class(bytes);
  const std::lock_guard lock(pool_mutex());
  Pool& p = pool(device);
  void* data = p.capturing ? take(p.graphs.rbegin()->second.free, size) : nullptr;
  if (data == nullptr) {
    data = take(p.free, size);
    if (data != nullptr) p.stats.cached -= size;
  }
  if (data == nullptr) data = driver_allocate(device, p, size, bytes);
  p.numbers[data] = p.allocations++;
  p.stats.active += size;
  p.stats.peak = std::max(p.stats.peak, p.stats.active);
  return data;
}

void deallocate(int device, void* data, std::size_t bytes) {
  const std::lock_guard lock(pool_mutex());
  Pool& p = pool(device);
  const std::uint64_t number = p.numbers.extract(data).mapped();
  p.release(data, size_class(bytes), number);
}

MemoryStats memory_stats(int device) {
  const std::lock_guard lock(pool_mutex());
  return pool(device).stats;
}

void begin_graph_memory(int device) {
  const std::lock_guard lock(pool_mutex());
  Pool& p = pool(device);
  constexpr std::uint64_t none_after = ~std::uint64_t{0};
  p.graphs[p.next_graph++] = {p.allocations, none_after, {}, {}};
  p.capturing = true;
}

int end_graph_memory(int device) {
  const std::lock_guard lock(pool_mutex());
  Pool& p = pool(device);
  auto& [name, graph] = *p.graphs.rbegin();
  for (const auto& [size, blocks] : graph.free) {
    for (void* block : blocks) {
      graph.kept.emplace_back(block, size);
      p.numbers[block] = graph.first;
      p.stats.active += size;
    }
  }
  graph.free.clear();
  graph.end = p.allocations;
  p.capturing = false;
  return name;
}

void release_graph_memory(int device, int name) {
  const std::lock_guard lock(pool_mutex());
  Pool& p = pool(device);
  const GraphMemory graph = std::move(p.graphs.extract(name).mapped());
  for (const auto& [data, size] : graph.kept) {
    const std::uint64_t number = p.numbers.extract(data).mapped();
    p.release(data, size, number);  // to another graph that may use it, or for all
  }
}

}  // namespace scangrad::cuda
