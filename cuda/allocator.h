#pragma once
#include <scangrad/core/backend.h>

#include <cstddef>

namespace scangrad::cuda {

/// Device memory, aligned to 512 bytes, from blocks freed earlier where one fits. As all work of a
/// device is ordered on one stream, a block may be used again as soon as it is freed. Throws
/// MemoryError, after giving back all cached blocks and trying again, that names what was asked
/// for, what is free and what is in use.
void* allocate(int device, std::size_t bytes);
/// `bytes` as given to `allocate`.
void deallocate(int device, void* data, std::size_t bytes);
MemoryStats memory_stats(int device);

// Captured work uses the same addresses each time it is launched. What it may read or write, every
// block that lives while it is captured or is allocated then, is therefore not used for anything
// else, freed or not, before the graph's memory is released.
void begin_graph_memory(int device);
/// Its name.
int end_graph_memory(int device);
void release_graph_memory(int device, int name);

}  // namespace scangrad::cuda
