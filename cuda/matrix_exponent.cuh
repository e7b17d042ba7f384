#pragma once
#include <scangrad/cuda/fragments.cuh>

// Matrices as x · 2^k, which products may make too large or too small for x alone.
namespace scangrad::cuda {

/// The largest exponent field of the |x| that are not NaN, as if x were rounded to T: 0 where all
/// are 0 (or subnormal), 2047 where one is infinite. The same for all lanes.
template <class T, int MT, int NT>
__device__ int exponent_field(const Fragment<MT, NT>& x) {
  constexpr long long half_ulp = sizeof(T) == 8 ? 0 : 1ll << (sizeof(T) == 4 ? 28 : 44);
  unsigned most = 0;
#pragma unroll
  for (const auto& row : x.values) {
#pragma unroll
    for (const auto& tile : row) {
      for (const double value : tile) {
        const long long bits = __double_as_longlong(value) & 0x7FFFFFFFFFFFFFFFll;
        const auto field = static_cast<unsigned>((bits + half_ulp) >> 52);
        most = ::max(most, value == value ? field : 0u);
      }
    }
  }
  return static_cast<int>(__reduce_max_sync(0xFFFFFFFFu, most));
}
__device__ inline bool is_normal(int field) { return field > 0 && field < 2047; }
/// 2^k, −1023 < k < 1024.
__device__ inline double two_to(int k) { return __hiloint2double((1023 + k) << 20, 0); }

template <int MT, int NT>
__device__ void multiply(Fragment<MT, NT>& x, double by) {
#pragma unroll
  for (auto& row : x.values) {
#pragma unroll
    for (auto& tile : row) {
      for (double& value : tile) value *= by;
    }
  }
}

/// The upper half of the largest |x|'s bits, which nearly always says what exponent_field would, at
/// a fraction of the instructions. The same for all lanes.
template <int MT, int NT>
__device__ unsigned upper_half(const Fragment<MT, NT>& x) {
  unsigned most = 0;
#pragma unroll
  for (int i = 0; i < (NT == 1 ? 1 : 2 * MT); ++i) {  // the lower half of 16 rows may be unused
#pragma unroll
    for (const auto& tile : x.values[i]) {
      for (const double value : tile) {
        most = ::max(most, static_cast<unsigned>(__double2hiint(value)) & 0x7FFFFFFFu);
      }
    }
  }
  return __reduce_max_sync(0xFFFFFFFFu, most);
}
/// Whether an |x| with this upper half might have the next exponent, rounded to T.
template <class T>
__device__ bool might_round_up(unsigned upper) {
  constexpr unsigned ones = sizeof(T) == 2 ? 0xFF000 : 0xFFFFF;
  return (~upper & ones) == 0;
}
template <class T, int MT, int NT>
__device__ int exponent_field(const Fragment<MT, NT>& x, unsigned upper) {
  const bool finite = upper < 0x7FF00000u;
  return finite && !might_round_up<T>(upper) ? static_cast<int>(upper >> 20) : exponent_field<T>(x);
}
/// Whether this upper half says the exponent, of a normal number, and 2^-exponent is one, too.
template <class T>
__device__ bool says_exponent(unsigned upper) {
  constexpr unsigned least = 1u << 20, most = 2046u << 20;
  return upper - least < most - least && !might_round_up<T>(upper);
}

/// What is to be taken out, of an |x| with this upper half, where that is further than 2^±slack
/// from [1, 2): to within one.
__device__ inline int exponent_to_take(unsigned upper, int slack) {
  const int field = static_cast<int>(upper >> 20), exponent = ::min(field - 1023, 1022);
  return is_normal(field) && abs(exponent) > slack ? exponent : 0;
}

/// Brings the largest |x|, whose `upper` half is given, into [1, 2) where it is further than
/// 2^±slack from there; the exponent that was taken out. The same for all lanes.
template <int MT, int NT>
__device__ int take_exponent(Fragment<MT, NT>& x, int slack, unsigned& upper) {
  const int field = exponent_field<double>(x, upper), exponent = ::min(field - 1023, 1022);
  if (!is_normal(field) || abs(exponent) <= slack) return 0;
  multiply(x, two_to(-exponent));
  upper = upper_half(x);
  return exponent;
}
template <int MT, int NT>
__device__ int take_exponent(Fragment<MT, NT>& x, int slack) {
  unsigned upper = upper_half(x);
  return take_exponent(x, slack, upper);
}

}  // namespace scangrad::cuda
