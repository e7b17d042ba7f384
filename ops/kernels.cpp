#include <scangrad/core/backend.h>
#include <scangrad/core/format.h>
#include <scangrad/ops/kernels.h>

namespace scangrad {

#define SCANGRAD_DECLARE(level)        \
  namespace cpu_##level {              \
    void fill_kernels(Kernels& table); \
  }
#ifdef SCANGRAD_HAVE_CPU_V2
SCANGRAD_DECLARE(v2)
#endif
#ifdef SCANGRAD_HAVE_CPU_V3
SCANGRAD_DECLARE(v3)
#endif
#ifdef SCANGRAD_HAVE_CPU_V4
SCANGRAD_DECLARE(v4)
#endif
#ifdef SCANGRAD_HAVE_CPU_GENERIC
SCANGRAD_DECLARE(generic)
#endif
#undef SCANGRAD_DECLARE
#ifdef SCANGRAD_HAS_CUDA
namespace cuda {
void fill_kernels(Kernels& table);  // defined in cuda/register.cpp
}
#endif

namespace {

struct CpuLevel {
  const char* name = "none";
  void (*fill)(Kernels&) = nullptr;
};

/// The best instruction set that both the build and this processor have.
CpuLevel best_cpu_level() {
#ifdef SCANGRAD_HAVE_CPU_GENERIC
  return {"generic", cpu_generic::fill_kernels};
#else
#ifdef SCANGRAD_HAVE_CPU_V4
  if (__builtin_cpu_supports("x86-64-v4")) return {"v4", cpu_v4::fill_kernels};
#endif
#ifdef SCANGRAD_HAVE_CPU_V3
  if (__builtin_cpu_supports("x86-64-v3")) return {"v3", cpu_v3::fill_kernels};
#endif
#ifdef SCANGRAD_HAVE_CPU_V2
  if (__builtin_cpu_supports("x86-64-v2")) return {"v2", cpu_v2::fill_kernels};
#endif
  fail<UnsupportedError>(
      "cpu: this build has no kernels for this processor; build with "
      "SCANGRAD_CPU_LEVELS=generic");
#endif
}

Kernels cpu_kernels() {
  Kernels table;
  best_cpu_level().fill(table);
  return table;
}

#ifdef SCANGRAD_HAS_CUDA
Kernels cuda_kernels() {
  backend(Device::cuda());  // raises where there is no usable device
  Kernels table;
  cuda::fill_kernels(table);
  return table;
}
#endif

}  // namespace

const Kernels& kernels(Device device) {
  if (device.is_cpu()) {
    static const Kernels table = cpu_kernels();
    return table;
  }
#ifdef SCANGRAD_HAS_CUDA
  static const Kernels table = cuda_kernels();
  return table;
#else
  fail<DeviceError>("device: this build of scangrad has no CUDA support, so {} cannot be used",
                    device);
#endif
}

std::vector<std::string> kernel_names() {
  return {
#define SCANGRAD_KERNEL(type, name) #name,
#include <scangrad/ops/kernels.def>
#undef SCANGRAD_KERNEL
  };
}

std::vector<bool> filled_kernels(const Kernels& table) {
  return {
#define SCANGRAD_KERNEL(type, name) table.name != nullptr,
#include <scangrad/ops/kernels.def>
#undef SCANGRAD_KERNEL
  };
}

const char* cpu_level() {
  static const CpuLevel level = best_cpu_level();
  return level.name;
}

}  // namespace scangrad
