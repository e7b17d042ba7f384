#pragma once
#include <scangrad/ops/vector_math.h>

#include <cmath>
#include <limits>

// The scalar monoids of scans and reductions, shared by every backend: an identity and an
// associative `combine(l, r)`, first l, then r. T is the compute type: float for bf16 tensors.
namespace scangrad::scan_functors {

/// What loses against everything: −∞, or the smallest integer.
template <class T>
SCANGRAD_FN constexpr T lowest() {
  using Limits = std::numeric_limits<T>;
  return Limits::has_infinity ? -Limits::infinity() : Limits::lowest();
}
template <class T>
SCANGRAD_FN constexpr T highest() {
  using Limits = std::numeric_limits<T>;
  return Limits::has_infinity ? Limits::infinity() : Limits::max();
}

struct Sum {
  template <class T>
  SCANGRAD_FN static T identity() {
    return T(0);
  }
  template <class T>
  SCANGRAD_FN static T combine(T l, T r) {
    return l + r;
  }
};

struct Product {
  template <class T>
  SCANGRAD_FN static T identity() {
    return T(1);
  }
  template <class T>
  SCANGRAD_FN static T combine(T l, T r) {
    return l * r;
  }
};

/// The k for which most/2^k lies in [1, 2), as far as T has that power of two; 0 for 0, ∞ and NaN.
template <class T>
SCANGRAD_FN int binary_exponent(T most) {
  if (!(most > T(0) && most <= std::numeric_limits<T>::max())) return 0;
  constexpr int least = std::numeric_limits<T>::min_exponent;  // −125 for float
  int k = 0;
  std::frexp(most, &k);  // most/2^k in [1/2, 1)
  return k - 1 < least ? least : k - 1 > -least ? -least : k - 1;
}
/// 2^k.
template <class T>
SCANGRAD_FN T power_of_two(int k) {
  return std::ldexp(T(1), k);
}

/// The larger one; NaN wins and stays.
struct Largest {
  template <class T>
  SCANGRAD_FN static T identity() {
    return lowest<T>();
  }
  template <class T>
  SCANGRAD_FN static T combine(T l, T r) {
    return ((r > l) | (r != r)) ? r : l;  // no branch: it vectorises
  }
};

/// The smaller one; NaN wins and stays.
struct Smallest {
  template <class T>
  SCANGRAD_FN static T identity() {
    return highest<T>();
  }
  template <class T>
  SCANGRAD_FN static T combine(T l, T r) {
    return ((r < l) | (r != r)) ? r : l;
  }
};

/// log(eˡ + eʳ) about the larger one, so that nothing overflows; −∞ is nothing.
struct LogSumExp {
  template <class T>
  SCANGRAD_FN static T identity() {
    return lowest<T>();
  }
  template <class T>
  SCANGRAD_FN static T combine(T l, T r) {
    using functors::math::exp, functors::math::log1p_unit;
    const T most = l != l || l > r ? l : r, difference = l > r ? r - l : l - r;
    const bool infinite = most == lowest<T>() || most == highest<T>();
    return infinite ? most : most + log1p_unit(exp(difference));
  }
};

}  // namespace scangrad::scan_functors
