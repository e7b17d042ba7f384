#include <scangrad/core/backend.h>
#include <scangrad/core/format.h>
#include <scangrad/ops/kernels.h>

#include <cstdlib>

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
  std::string_view name;
  bool supported;  // by this processor
  void (*fill)(Kernels&);
};

#ifdef __x86_64__
// By their features, since clang 14 does not know the levels by name.
[[maybe_unused]] bool supports_v2() {
  return __builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("popcnt");
}
[[maybe_unused]] bool supports_v3() {
  return supports_v2() && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
         __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2");
}
[[maybe_unused]] bool supports_v4() {
  return supports_v3() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512vl");
}
#endif

/// The best instruction set that both the build and this processor have, or the one that the
/// environment variable SCANGRAD_CPU names, so that each can be tested on one machine.
CpuLevel best_cpu_level() {
  const CpuLevel levels[] = {
#ifdef SCANGRAD_HAVE_CPU_V4
      {"v4", supports_v4(), cpu_v4::fill_kernels},
#endif
#ifdef SCANGRAD_HAVE_CPU_V3
      {"v3", supports_v3(), cpu_v3::fill_kernels},
#endif
#ifdef SCANGRAD_HAVE_CPU_V2
      {"v2", supports_v2(), cpu_v2::fill_kernels},
#endif
#ifdef SCANGRAD_HAVE_CPU_GENERIC
      {"generic", true, cpu_generic::fill_kernels},
#endif
  };
  const char* const wanted = std::getenv("SCANGRAD_CPU");
  for (const CpuLevel& level : levels) {
    if (level.supported && (wanted == nullptr || level.name == wanted)) return level;
  }
  if (wanted != nullptr) {
    fail<UnsupportedError>(
        "cpu: SCANGRAD_CPU={} is not a level of this build and processor; unset it", wanted);
  }
  fail<UnsupportedError>(
      "cpu: this build has no kernels for this processor; build with SCANGRAD_CPU_LEVELS=generic");
}

Kernels cpu_kernels() {
  Kernels table;
  best_cpu_level().fill(table);
  return table;
}

#ifdef SCANGRAD_HAS_CUDA
Kernels cuda_kernels(Device device) {
  backend(device);  // raises where there is no usable device
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
  static const Kernels table = cuda_kernels(device);
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

void bad_index(IndexCheck check, std::int64_t index, std::int64_t limit) {
  fail<IndexError>("{}: index {} is out of range for {} {}", check.op, index, limit, check.unit);
}

void singular_matrix(const char* op, std::int64_t index) {
  fail<ValueError>("{}: matrix {} of the batch is singular", op, index);
}

std::string_view cpu_level() {
  static const CpuLevel level = best_cpu_level();
  return level.name;
}

}  // namespace scangrad
