#pragma once
#include <scangrad/core/bfloat16.h>

#include <limits>
#include <type_traits>

namespace scangrad {

/// `value` as a To, the same on every device. From a floating-point number to an integer, where a
/// cast of C++ is undefined out of range: the fraction is cut off, what is too large or too small
/// becomes the nearest integer, NaN becomes 0.
template <class To, class From>
SCANGRAD_FN To convert(From value) {
  if constexpr (std::is_floating_point_v<From> && std::is_integral_v<To> &&
                !std::is_same_v<To, bool>) {
    constexpr To least = std::numeric_limits<To>::min(), most = std::numeric_limits<To>::max();
    constexpr From low = static_cast<From>(least);
    constexpr From above = static_cast<From>(most / 2 + 1) * 2;  // exact, as most may not be
    if (value != value) return To(0);
    return value <= low ? least : value >= above ? most : static_cast<To>(value);
  } else {
    return static_cast<To>(value);
  }
}

}  // namespace scangrad
