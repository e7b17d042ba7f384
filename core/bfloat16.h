#pragma once
#include <cstdint>
#include <cstring>

// Scalar code that CPU and CUDA kernels share. On the CPU it must always be inlined: kernels are
// compiled once per instruction set, and an out-of-line copy could be linked into another one.
#if defined(__CUDACC__)
#define SCANGRAD_FN __host__ __device__ __forceinline__
#else
#define SCANGRAD_FN [[gnu::always_inline]] inline
#endif

namespace scangrad {

/// The upper 16 bits of a float; conversion rounds to nearest even and keeps NaN a NaN.
struct bfloat16 {
  std::uint16_t bits;

  bfloat16() = default;
  SCANGRAD_FN explicit bfloat16(float value) {
#if defined(__CUDA_ARCH__)
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(bits) : "f"(value));  // one instruction for the six below
#else
    std::uint32_t u;
    std::memcpy(&u, &value, sizeof u);
    const std::uint32_t rounded = (u + 0x7fffu + ((u >> 16) & 1u)) >> 16;
    const std::uint32_t quiet_nan = (u >> 16) | 0x40u;
    bits = static_cast<std::uint16_t>((u & 0x7fffffffu) > 0x7f800000u ? quiet_nan : rounded);
#endif
  }
  SCANGRAD_FN explicit bfloat16(double value) : bfloat16(static_cast<float>(value)) {}
  SCANGRAD_FN explicit bfloat16(std::int64_t value) : bfloat16(static_cast<float>(value)) {}
  SCANGRAD_FN explicit bfloat16(std::int32_t value) : bfloat16(static_cast<float>(value)) {}
  SCANGRAD_FN explicit bfloat16(bool value) : bfloat16(static_cast<float>(value)) {}
  SCANGRAD_FN operator float() const {
    const std::uint32_t u = static_cast<std::uint32_t>(bits) << 16;
    float value;
    std::memcpy(&value, &u, sizeof value);
    return value;
  }
};

}  // namespace scangrad
