#pragma once
#include <scangrad/core/bfloat16.h>

#include <bit>
#include <cmath>
#include <cstdint>

// exp, expm1, log1p of [0, 1], tanh and erf of float within 2 ulp, without branches or calls, so
// that the compiler vectorises loops over them (a libm call in a loop costs some ten times as
// much). Infinities, NaN, signed zeros, overflow and denormals come out as from libm. Double takes
// libm itself, and device code CUDA's own functions, but for `normal`. The polynomials are minimax
// fits (Lawson's iteration) of this project.
namespace scangrad::functors::math {

namespace detail {

/// x = n ln 2 + r with |r| ≤ ln 2 / 2, and q = eʳ − 1.
struct ExpParts {
  std::int32_t n;
  float q;
};

SCANGRAD_FN ExpParts exp_parts(float x) {
  // Adding 1.5·2²³ leaves the nearest integer in the low bits (Cody and Waite's reduction, 1980).
  constexpr float magic = 12582912.0f, log2_e = 1.44269504f;
  constexpr float ln2_high = 0.693145752f, ln2_low = 1.42860677e-6f;
  const float shifted = x * log2_e + magic;
  const float n = shifted - magic;
  const float r = (x - n * ln2_high) - n * ln2_low;
  float p = 1.3814222e-3f;
  p = p * r + 8.368899e-3f;
  p = p * r + 4.1668404e-2f;
  p = p * r + 1.666652e-1f;
  p = p * r + 4.9999994e-1f;
  const std::int32_t bits = std::bit_cast<std::int32_t>(shifted);
  return {bits - std::bit_cast<std::int32_t>(magic), p * (r * r) + r};
}

/// 2ⁿ for −126 ≤ n ≤ 127.
SCANGRAD_FN float power_of_two(std::int32_t n) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(n + 127) << 23);
}

}  // namespace detail

SCANGRAD_FN double exp(double x) { return std::exp(x); }
SCANGRAD_FN double expm1(double x) { return std::expm1(x); }
SCANGRAD_FN double log1p_unit(double x) { return std::log1p(x); }
SCANGRAD_FN double tanh(double x) { return std::tanh(x); }
SCANGRAD_FN double erf(double x) { return std::erf(x); }

/// Φ(x) and φ(x), of the normal distribution.
template <class T>
struct Normal {
  T cdf, pdf;
};

#if defined(__CUDACC__)

/// 2^x to 22 bits, by one instruction; denormal results are 0.
__device__ inline float quick_exp2(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

#endif

#if defined(__CUDA_ARCH__)

SCANGRAD_FN float exp(float x) { return ::expf(x); }
SCANGRAD_FN float expm1(float x) { return ::expm1f(x); }
SCANGRAD_FN float log1p_unit(float x) { return ::log1pf(x); }
SCANGRAD_FN float tanh(float x) { return ::tanhf(x); }
SCANGRAD_FN float erf(float x) { return ::erff(x); }

/// Within 3·10⁻⁷. erff and expf would make GELU's backward wait for arithmetic instead of memory:
/// here both values share one exponential, erfc(u) = exp(−u²) t P(t) with t = 1/(1 + 0.36 u) and u
/// = |x|/√2 (the form of Abramowitz and Stegun's 7.1.26). The instructions' own approximations, as
/// CUDA's functions spend as many more on denormals, which are 0 here.
SCANGRAD_FN Normal<float> normal(float x) {
  float t;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(t) : "f"(1.0f + 0.254558441f * std::fabs(x)));
  const float e = quick_exp2(-0.721347520f * x * x);  // log₂e / 2
  float p = -7.94014891e-2f;
  p = p * t + 2.70857794e-1f;
  p = p * t - 1.56548785e-1f;
  p = p * t + 1.93460698e-1f;
  p = p * t + 6.49055299e-2f;
  p = p * t + 1.05313203e-1f;
  p = p * t + 1.01413041e-1f;
  const float tail = e * t * p;  // Φ(−|x|)
  return {x < 0.0f ? tail : 1.0f - tail, 3.98942280e-1f * e};
}

#else

SCANGRAD_FN float exp(float x) {
  // Comparisons are false for NaN, which therefore passes through here and below.
  const float low = x < -104.0f ? -104.0f : x;      // e⁻¹⁰⁴ rounds to 0
  const float clamped = low > 89.0f ? 89.0f : low;  // e⁸⁹ overflows to infinity
  const detail::ExpParts parts = detail::exp_parts(clamped);
  // 2ⁿ in two factors: it may itself be denormal or infinite where eˣ is not.
  const std::int32_t half = parts.n >> 1;
  return (1.0f + parts.q) * detail::power_of_two(half) * detail::power_of_two(parts.n - half);
}

/// eˣ − 1, accurate near 0.
SCANGRAD_FN float expm1(float x) {
  const float low = x < -30.0f ? -30.0f : x;  // −1 in float
  const float clamped = low > 89.0f ? 89.0f : low;
  const detail::ExpParts parts = detail::exp_parts(clamped);
  const float scale = detail::power_of_two(parts.n - 1);  // 2¹²⁸ would overflow too early
  return 2.0f * (scale * parts.q + (scale - 0.5f));
}

/// ln(1 + x) for 0 ≤ x ≤ 1 only.
SCANGRAD_FN float log1p_unit(float x) {
  // 2 artanh(r/2) with r = 2x / (2 + x) ≤ 2/3: r + r³ P(r²).
  const float r = (x + x) / (2.0f + x);
  const float s = r * r;
  float p = 5.4710911e-4f;
  p = p * s + 2.1876411e-3f;
  p = p * s + 1.2506727e-2f;
  p = p * s + 8.3333023e-2f;
  return r + r * (s * p);
}

SCANGRAD_FN float tanh(float x) {
  const float magnitude = std::fabs(x);
  // |x| < 0.55: x + x³ P(x²).
  const float s = x * x;
  float p = -6.2742396e-3f;
  p = p * s + 2.107168e-2f;
  p = p * s - 5.385231e-2f;
  p = p * s + 1.3332586e-1f;
  p = p * s - 3.3333316e-1f;
  const float inner = x + x * (s * p);
  // Above: 1 − 2 / (e²ˣ + 1).
  const float outer = 1.0f - 2.0f / (exp(2.0f * magnitude) + 1.0f);
  const float y = magnitude < 0.55f ? inner : outer;  // NaN: outer is NaN too
  return std::copysign(y, x);                         // inner loses the sign of −0
}

SCANGRAD_FN float erf(float x) {
  const float magnitude = std::fabs(x);
  // |x| < 0.9275: x P(x²).
  const float s = x * x;
  float p = -5.965169e-4f;
  p = p * s + 4.9881833e-3f;
  p = p * s - 2.6763245e-2f;
  p = p * s + 1.1281724e-1f;
  p = p * s - 3.7612486e-1f;
  p = p * s + 1.2837915e-1f;
  const float inner = x + x * p;
  // Above: 1 − exp(|x| Q(|x|)).
  const float t = magnitude > 4.1f ? 4.1f : magnitude;  // 1 in float
  float q = 2.1373217e-4f;
  q = q * t - 3.2128664e-3f;
  q = q * t + 2.2883244e-2f;
  q = q * t - 1.0525133e-1f;
  q = q * t - 6.3572633e-1f;
  q = q * t - 1.128512f;
  const float outer = std::copysign(1.0f - exp(q * t), x);
  return magnitude < 0.9275f ? inner : outer;  // NaN: outer is NaN too
}

SCANGRAD_FN Normal<float> normal(float x) {
  return {0.5f * (1.0f + erf(x * 0.707106781f)), 0.398942280f * exp(-0.5f * x * x)};
}

#endif

SCANGRAD_FN Normal<double> normal(double x) {
  return {0.5 * (1 + erf(x * 0.70710678118654752440)), 0.39894228040143267794 * exp(-0.5 * x * x)};
}

}  // namespace scangrad::functors::math
