#pragma once
// The scalar monoids in a thread's registers, and their products across a warp and a block.
#include <scangrad/ops/scan_functors.h>
#include <scangrad/ops/vector_math.h>
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

/// scan_functors::Largest and Smallest, of floats by one instruction.
struct Largest : scan_functors::Largest {
  using scan_functors::Largest::combine;
  __device__ static float combine(float l, float r) {
    float z;
    asm("max.NaN.f32 %0, %1, %2;" : "=f"(z) : "f"(l), "f"(r));
    return z;
  }
};
struct Smallest : scan_functors::Smallest {
  using scan_functors::Smallest::combine;
  __device__ static float combine(float l, float r) {
    float z;
    asm("min.NaN.f32 %0, %1, %2;" : "=f"(z) : "f"(l), "f"(r));
    return z;
  }
};

// Quick functions that need not care for results or operands too small to be normal.

using functors::math::quick_exp2;
/// e^{x − about}; of floats the logarithm is off by |about|'s rounding.
__device__ inline float exp_about(float x, float about) {
  constexpr float log2_e = 1.4426950408889634f;
  return quick_exp2(std::fma(x, log2_e, -(about * log2_e)));
}
__device__ inline double exp_about(double x, double about) { return ::exp(x - about); }
/// e^x for x ≤ 0.
__device__ inline float exp_below_1(float x) { return quick_exp2(x * 1.4426950408889634f); }
__device__ inline double exp_below_1(double x) { return ::exp(x); }
/// log x for x ≥ 1 or 0.
__device__ inline float log_from_1(float x) {
  float y;
  asm("lg2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y * 0.6931471805599453f;
}
__device__ inline double log_from_1(double x) { return ::log(x); }

/// scan_functors::LogSumExp as Σ e^{x − about}, so that a combine takes an exponential and no
/// logarithm, which only states that are stored need. The sum is at least 1, next to which the
/// error of the quick functions is that of rounding; or 0, of nothing.
template <class Scalar>
struct LogSumExpMonoid {
  using C = Scalar;
  static constexpr int inputs = 1;
  // Of operands and sums up to there the float's error is small: runs are just added up.
  static constexpr C small = 1 << 20;
  struct Element {
    C about, sum;
  };
  __device__ static C padding(int) { return scan_functors::lowest<C>(); }
  __device__ static Element identity() { return {scan_functors::lowest<C>(), C(0)}; }
  __device__ static Element element(const C (&x)[1]) { return {x[0], C(1)}; }
  __device__ static Element combine(Element l, Element r) {
    const C difference = r.about - l.about;
    const bool right = difference > C(0);
    // Of two infinities NaN, of which `min` makes 0. A true NaN stays in `about`.
    const C factor = exp_below_1(std::fmin(-std::abs(difference), C(0)));
    return {Largest::combine(l.about, r.about),
            (right ? r.sum : l.sum) + (right ? l.sum : r.sum) * factor};
  }
  /// combine(l, r) of an operand r, about what l is about: one exponential, and no comparison.
  __device__ static Element append(Element l, Element r) {
    return {l.about, l.sum + exp_about(r.about, l.about)};
  }
  /// Whether the operands of a run, of this first one and product, may be appended to `state`,
  /// which becomes one about a number; never NaN, nor infinities that would give it.
  __device__ static bool appends(Element& state, C first, Element run) {
    const bool none = state.about == scan_functors::lowest<C>();
    const C about = none ? first : state.about;
    if (!(std::abs(about) <= small && run.sum * exp_about(run.about, about) <= small)) return false;
    if (none) state = {first, C(0)};
    return true;
  }
  /// all[v] ← the product of a run, about the first of its operands, or the largest where the sum
  /// would be too large for that or the first is no number; each(f) is f(v, …, x) for all steps of
  /// V runs.
  template <int V, class Each>
  __device__ static void product(Element (&all)[V], const C (&first)[V], const Each& each) {
    for (int v = 0; v < V; ++v) all[v] = {first[v], C(0)};
    each([&](int v, const auto&, int, const C(&x)[1]) { all[v] = append(all[v], element(x)); });
    bool fits = true;
    for (const Element& x : all) fits = fits && x.sum >= C(0.5) && x.sum <= small;
    if (__all_sync(0xFFFFFFFFu, fits)) return;
    for (Element& x : all) x = identity();
    each([&](int v, const auto&, int, const C(&x)[1]) {
      all[v].about = Largest::combine(all[v].about, x[0]);
    });
    __syncwarp();  // lest the compiler keep all operands for the next round
    C about[V];
    for (int v = 0; v < V; ++v) {
      about[v] = std::abs(all[v].about) == scan_functors::highest<C>() ? C(0) : all[v].about;
    }
    each([&](int v, const auto&, int, const C(&x)[1]) {
      all[v].sum += exp_below_1(x[0] - about[v]);
    });
  }
  __device__ static Element state(C h) { return {h, C(1)}; }
  __device__ static C value(Element e) { return e.about + log_from_1(e.sum); }
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

inline constexpr int scan_threads = 256;

/// Products of the steps before a thread's run in its tile, and of the whole tile. A thread has
/// runs of V columns, and the tile `across` threads' columns; runs of a column are in the order of
/// threads. `parts` is shared memory, V * across long for each max(across, 32) threads, not in use
/// by a thread that is a barrier behind.
template <class M, int V>
struct TileProducts {
  Segment<M> before[V], tile[V];

  __device__ TileProducts(const Segment<M> (&run)[V], int across, Segment<M>* parts) {
    const int lane = static_cast<int>(threadIdx.x % 32), span = max(across, 32);
    const int part = static_cast<int>(threadIdx.x) / span,
              column = static_cast<int>(threadIdx.x) % across;
    Segment<M> in_warp[V];
#pragma unroll
    for (int v = 0; v < V; ++v) {
      in_warp[v] = scan_warp(run[v], across);
      if (lane + across >= 32) parts[(part * V + v) * across + column] = in_warp[v];
    }
    __syncthreads();
#pragma unroll
    for (int v = 0; v < V; ++v) {
      const auto join = [&](Segment<M> x, int begin, int end) {
#pragma unroll 2
        for (int i = begin; i < end; ++i) x = combine(x, parts[(i * V + v) * across + column]);
        return x;
      };
      before[v] = join(nothing<M>(), 0, part);
      tile[v] = join(before[v], part, scan_threads / span);
      if (across < 32) {
        const Segment<M> left = from_below(in_warp[v], across);
        if (lane >= across) before[v] = combine(before[v], left);
      }
    }
  }
};

}  // namespace scangrad::cuda
