#pragma once
// The scalar monoids in a thread's registers, and their products across a warp.
#include <scangrad/ops/scan_functors.h>
#include <scangrad/cuda/launch.cuh>

#include <cstring>

namespace scangrad::cuda {

// Each monoid has, for values of type C,
//   Element          of the monoid; a state is an element too, of which only `value` counts;
//   inputs           operands that an element is made of;
//   element(x)       the element of a step's operands;
//   identity(), combine(l, r)     first l, then r;
//   state(h), value(x)            from a state's value and to it;
//   padding(i)       operand i of the identity.

/// Elements that are values: one of scan_functors.
template <class F, class Scalar>
struct PlainMonoid {
  using C = Scalar;
  static constexpr int inputs = 1;
  struct Element {
    C x;
  };
  __device__ static C padding(int) { return F::template identity<C>(); }
  __device__ static Element identity() { return {F::template identity<C>()}; }
  __device__ static Element element(const C (&x)[1]) { return {x[0]}; }
  __device__ static Element combine(Element l, Element r) { return {F::combine(l.x, r.x)}; }
  __device__ static Element state(C h) { return {h}; }
  __device__ static C value(Element e) { return e.x; }
};

__device__ inline float exp_below_1(float x) { return __expf(x); }
__device__ inline double exp_below_1(double x) { return ::exp(x); }
__device__ inline float log_from_1(float x) { return __logf(x); }
__device__ inline double log_from_1(double x) { return ::log(x); }

/// scan_functors::LogSumExp as Σ e^{x − most}, so that a combine takes an exponential and no
/// logarithm, which only states that are stored need. The sum is at least 1, next to which the
/// error of the quick functions is that of rounding.
template <class Scalar>
struct LogSumExpMonoid {
  using C = Scalar;
  static constexpr int inputs = 1;
  struct Element {
    C most, sum;
  };
  __device__ static C padding(int) { return scan_functors::lowest<C>(); }
  __device__ static Element identity() { return {scan_functors::lowest<C>(), C(0)}; }
  __device__ static Element element(const C (&x)[1]) { return {x[0], C(1)}; }
  __device__ static Element combine(Element l, Element r) {
    const bool right = (r.most > l.most) | (r.most != r.most);  // NaN wins and stays
    const C least = right ? l.most : r.most, most = right ? r.most : l.most;
    const C factor = least == most ? C(1) : exp_below_1(least - most);  // infinities too
    return {most, (right ? r.sum : l.sum) + (right ? l.sum : r.sum) * factor};
  }
  __device__ static Element state(C h) { return {h, C(1)}; }
  __device__ static C value(Element e) { return e.most + log_from_1(e.sum); }
};

/// h ↦ h a + b.
template <class Scalar>
struct LinearMonoid {
  using C = Scalar;
  static constexpr int inputs = 2;
  struct Element {
    C a, b;
  };
  __device__ static C padding(int i) { return i == 0 ? C(1) : C(0); }
  __device__ static Element identity() { return {C(1), C(0)}; }
  __device__ static Element element(const C (&x)[2]) { return {x[0], x[1]}; }
  __device__ static Element combine(Element l, Element r) { return {l.a * r.a, l.b * r.a + r.b}; }
  __device__ static Element state(C h) { return {C(0), h}; }
  __device__ static C value(Element e) { return e.b; }
};

/// The product of neighbouring steps. Where a state starts anew among them it is that state with
/// what follows, and `fresh`: whatever stood before, NaN included, is dropped.
template <class M>
struct alignas(8) Segment {
  typename M::Element total;
  int fresh;
};
template <class M>
__device__ Segment<M> nothing() {
  return {M::identity(), 0};
}
template <class M>
__device__ Segment<M> combine(const Segment<M>& l, const Segment<M>& r) {
  return r.fresh ? r : Segment<M>{M::combine(l.total, r.total), l.fresh};
}

/// A value of several words, each taken through a shuffle.
template <class X, class Shuffle>
__device__ X shuffled(X x, const Shuffle& shuffle) {
  static_assert(sizeof(X) % sizeof(unsigned) == 0);
  unsigned words[sizeof(X) / sizeof(unsigned)];
  memcpy(words, &x, sizeof(X));
  for (unsigned& word : words) word = shuffle(word);
  memcpy(&x, words, sizeof(X));
  return x;
}
/// That of the lane `by` lower, or of `lane`.
template <class M>
__device__ Segment<M> from_below(const Segment<M>& x, int by) {
  const auto up = [by](unsigned word) { return __shfl_up_sync(0xFFFFFFFFu, word, by); };
  return {shuffled(x.total, up), __shfl_up_sync(0xFFFFFFFFu, x.fresh, by)};
}
template <class M>
__device__ Segment<M> from_lane(const Segment<M>& x, int lane) {
  const auto at = [lane](unsigned word) { return __shfl_sync(0xFFFFFFFFu, word, lane); };
  return {shuffled(x.total, at), __shfl_sync(0xFFFFFFFFu, x.fresh, lane)};
}

/// The inclusive scan over the lanes of a warp that agree modulo `width`, a power of two.
template <class M>
__device__ Segment<M> scan_warp(Segment<M> x, int width) {
  const int lane = static_cast<int>(threadIdx.x % 32);
  for (int by = width; by < 32; by *= 2) {
    const Segment<M> left = from_below(x, by);
    if (lane >= by) x = combine(left, x);
  }
  return x;
}

}  // namespace scangrad::cuda
