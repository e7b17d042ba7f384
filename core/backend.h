#pragma once
#include <scangrad/core/tensor.h>

#include <cstddef>

namespace scangrad {

/// Bytes in the device's allocator.
struct MemoryStats {
  std::size_t active = 0;  ///< held by live tensors and by captured work
  std::size_t peak = 0;    ///< the most that `active` has been
  std::size_t cached = 0;  ///< freed by tensors, kept for reuse
};

/// What a device must provide beneath the operations; `ops/kernels.h` is the other table. A null
/// entry means that the device does not offer it. All work is ordered on the device's stream.
/// `fill` and `add_in_place` may be given tensors without elements, `copy` is not.
struct Backend {
  void* (*allocate)(int device, std::size_t bytes) = nullptr;
  void (*deallocate)(int device, void* data, std::size_t bytes) = nullptr;

  /// dst ← src: same shape, any strides; converts the dtype (core/convert.h). Either side may be
  /// host memory: src may be changed as soon as the call returns, which does not wait for the
  /// device, and dst may be read once `synchronize` has.
  void (*copy)(const Tensor& dst, const Tensor& src) = nullptr;
  /// dst ← value, converted likewise; any strides.
  void (*fill)(const Tensor& dst, double value) = nullptr;
  /// dst ← dst + src: same shape and dtype, any strides. The engine sums gradients with it.
  void (*add_in_place)(const Tensor& dst, const Tensor& src) = nullptr;

  /// The queue that all work is ordered on, for kernels of a user's own: a cudaStream_t.
  void* (*stream)(int device) = nullptr;
  /// Returns when all work given to the device is done; raises the errors it left.
  void (*synchronize)(int device) = nullptr;
  MemoryStats (*memory_stats)(int device) = nullptr;

  // What GraphCapture needs; null where the device does not offer it.
  /// From here on work is recorded and not done. Until then all earlier work is done.
  void (*begin_capture)(int device) = nullptr;
  /// Ends it; what was recorded, ready to launch, or null where it is to be discarded.
  void* (*end_capture)(int device, bool discard) = nullptr;
  /// Gives recorded work to the device.
  void (*launch_capture)(int device, void* captured) = nullptr;
  void (*destroy_capture)(int device, void* captured) = nullptr;
};

/// The table of a device, made ready on first use. Throws DeviceError where the build or the
/// machine has no such device.
const Backend& backend(Device device);

/// Waits for the device (see Backend::synchronize).
void synchronize(Device device);
/// Allocator statistics of the device.
MemoryStats memory_stats(Device device);

/// dst ← src, converting dtype and device: the raw copy, unknown to autograd and version counters.
/// Host memory on either side may be used as soon as it returns: a copy from a device to the host
/// synchronises with the device, and so raises the errors that earlier work left.
void raw_copy(const Tensor& dst, const Tensor& src);
/// A contiguous copy that no one else holds, likewise.
Tensor raw_clone(const Tensor& x);

}  // namespace scangrad
