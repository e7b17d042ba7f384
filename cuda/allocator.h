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

}  // namespace scangrad::cuda
