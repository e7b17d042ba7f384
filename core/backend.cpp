#include <scangrad/core/backend.h>
#include <scangrad/core/format.h>

namespace scangrad {

void register_cpu_backend(Backend& table);
#ifdef SCANGRAD_HAS_CUDA
namespace cuda {
void require_devices(Device asked_for);  // both defined in cuda/
void register_backend(Backend& table);
}  // namespace cuda
#endif

namespace {

Backend cpu_backend() {
  Backend table;
  register_cpu_backend(table);
  return table;
}

#ifdef SCANGRAD_HAS_CUDA
Backend cuda_backend(Device asked_for) {
  cuda::require_devices(asked_for);
  Backend table;
  cuda::register_backend(table);
  return table;
}
#endif

}  // namespace

const Backend& backend(Device device) {
  if (device.is_cpu()) {
    static const Backend table = cpu_backend();
    return table;
  }
#ifdef SCANGRAD_HAS_CUDA
  static const Backend table = cuda_backend(device);  // where it throws, the next call tries again
  return table;
#else
  fail<DeviceError>("device: this build of scangrad has no CUDA support, so {} cannot be used",
                    device);
#endif
}

void synchronize(Device device) { backend(device).synchronize(device.index); }
MemoryStats memory_stats(Device device) { return backend(device).memory_stats(device.index); }

void raw_copy(const Tensor& dst, const Tensor& src) {
  check<ShapeError>(dst.shape() == src.shape(), "copy: shapes {} and {} differ", dst.shape(),
                    src.shape());
  const Device device = dst.device().is_cpu() ? src.device() : dst.device();
  if (dst.numel() > 0) backend(device).copy(dst, src);
  if (dst.device().is_cpu() && !device.is_cpu()) synchronize(device);
}

Tensor raw_clone(const Tensor& x) {
  Tensor copy = empty_like(x);
  raw_copy(copy, x);
  return copy;
}

}  // namespace scangrad
