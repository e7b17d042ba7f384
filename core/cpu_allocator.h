#pragma once
#include <scangrad/core/backend.h>

#include <cstddef>

namespace scangrad {

/// Memory aligned to 64 bytes, from blocks freed earlier where one fits. A training step asks for
/// the same sizes again and again: reuse spares the page faults that fresh memory costs.
/// Throws MemoryError that names what was asked for.
void* cpu_allocate(std::size_t bytes);
/// `bytes` as given to `cpu_allocate`.
void cpu_deallocate(void* data, std::size_t bytes);
MemoryStats cpu_memory_stats();

}  // namespace scangrad
