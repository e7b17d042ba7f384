#pragma once
#include <cstddef>

namespace scangrad::cuda {

/// Copies host memory to the device without waiting for it, through pinned buffers of the library's
/// own: `from` may be changed as soon as this returns, however busy the device is. The host waits
/// only where it is several buffers ahead.
void upload(int device, void* to, const void* from, std::size_t bytes);

}  // namespace scangrad::cuda
