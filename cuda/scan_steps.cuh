#pragma once
// What a scan of scalars does at each step: forward, and the backward of the linear scan.
#include <scangrad/cuda/scan_marks.cuh>
#include <scangrad/cuda/scan_monoids.cuh>

#include <type_traits>

namespace scangrad::cuda {

/// states, last ← the scan of the elements.
template <class M, class T>
struct ForwardScan {
  using Monoid = M;
  using Value = T;
  using C = compute_type<T>;
  static constexpr int inputs = M::inputs, outputs = 1;
  static constexpr bool backwards = false;

  Sequences sequences;
  const T* in[inputs];
  T* out[outputs];
  T* last;
  const T* initial;
  bool exclusive;

  __host__ __device__ static constexpr int lead(int) { return 0; }
  __device__ static C padding(int i) { return M::padding(i); }
  __device__ typename M::Element element(const Marks&, int, const C (&x)[inputs]) const {
    return M::element(x);
  }
  __device__ typename M::Element entering(const Marks& marks, int r) const {
    if ((marks.drops >> r & 1) != 0 || initial == nullptr) return M::identity();
    return M::state(static_cast<C>(initial[marks.sequence_at(r)]));
  }
  __device__ void results(C (&y)[outputs], const typename M::Element& before,
                          const typename M::Element& after, const Marks&, int,
                          const C (&)[inputs]) const {
    y[0] = M::value(exclusive ? before : after);
  }
  __device__ void finish(const typename M::Element& after, const Marks& marks, int r) const {
    last[marks.sequence_at(r)] = static_cast<T>(M::value(after));
  }
};

/// With g_t the gradient of h_t, q_t = g_t + q_{t+1} a_{t+1} is its whole cotangent, db_t = q_t and
/// da_t = h_{t-1} q_t (docs/scan.md): a linear scan that goes the other way, of (a_{t+1}, g_t). Of
/// an exclusive scan g_t belongs to h_{t-1}: q_{t-1} = g_t + q_t a_t, and h_{t-1} stands at t.
template <class T, bool exclusive>
struct LinearBackwardScan {
  using C = compute_type<T>;
  using Monoid = LinearMonoid<C>;
  using Element = typename Monoid::Element;
  using Value = T;
  static constexpr int inputs = 3, outputs = 2;
  static constexpr bool backwards = true;

  Sequences sequences;
  const T* in[inputs];  // a, g, states
  T* out[outputs];      // db, da
  T* d_initial;
  const T *g_last, *initial;

  /// Inputs are read that many steps ahead: a from the step before, states from the one to come.
  __host__ __device__ static constexpr int lead(int i) {
    return exclusive ? 0 : i == 0 ? -1 : i == 2 ? 1 : 0;
  }
  __device__ static C padding(int i) { return i == 0 ? C(1) : C(0); }
  __device__ Element element(const Marks& marks, int r, const C (&x)[inputs]) const {
    if (exclusive) return {x[0], x[1]};
    const bool starts = marks.starts >> r & 1, drops = marks.drops >> r & 1;
    return {starts ? C(1) : drops ? C(0) : x[0], x[1]};
  }
  __device__ Element entering(const Marks& marks, int r) const {
    if ((marks.drops >> r & 1) != 0) return Monoid::state(C(0));
    return Monoid::state(static_cast<C>(g_last[marks.sequence_at(r)]));
  }
  __device__ void results(C (&y)[outputs], const Element& before, const Element& after,
                          const Marks& marks, int r, const C (&x)[inputs]) const {
    C previous = x[2];
    if ((marks.ends >> r & 1) != 0 && !exclusive) {
      previous = initial == nullptr ? C(0) : static_cast<C>(initial[marks.sequence_at(r)]);
    }
    if ((marks.cuts >> r & 1) != 0) previous = C(0);
    y[0] = exclusive ? before.b : after.b;
    y[1] = previous * y[0];
  }
  __device__ void finish(const Element& after, const Marks& marks, int r) const {
    if (d_initial == nullptr) return;
    const std::int64_t s = marks.sequence_at(r);
    C d = after.b;
    if (!exclusive) {  // through the step that is left
      d *= static_cast<C>(in[0][sequences.first(s) + (sequences.count - 1) * sequences.stride()]);
    }
    d_initial[s] = static_cast<T>((marks.cuts >> r & 1) != 0 ? C(0) : d);
  }
};

/// Whether elements of M can be appended to a state (LogSumExpMonoid).
template <class M>
concept Appending = requires(typename M::Element x) {
  M::append(x, x);
};

/// f(condition), of one that the compiler knows.
template <class F>
__device__ void with_constant(bool condition, const F& f) {
  if (condition) {
    f(std::true_type{});
  } else {
    f(std::false_type{});
  }
}

// Of any run each step is asked whether a state starts anew there, or a sequence ends. Of V plain
// runs, of adjacent sequences, that is done before and after all steps.

/// A run's product, a step more.
template <class P>
__device__ void multiply_step(Segment<typename P::Monoid>& product, const P& scan,
                              const Marks& marks, int r, const typename P::C (&x)[P::inputs]) {
  if (marks.fresh(r)) product = {scan.entering(marks, r), 1};
  product.total = P::Monoid::combine(product.total, scan.element(marks, r, x));
}
/// The products of plain runs; first[v] are their first operands, and each(f) is f(v, marks, r, x)
/// for all steps.
template <class P, int V, class Each>
__device__ void multiply_plain(Segment<typename P::Monoid> (&product)[V], const P& scan,
                               const Marks& marks, const typename P::C (&first)[V],
                               const Each& each) {
  using M = typename P::Monoid;
  for (int v = 0; v < V; ++v) {
    if (marks.fresh(0)) product[v] = {scan.entering(marks.of_run(v), 0), 1};
  }
  if constexpr (Appending<M>) {
    typename M::Element all[V];
    M::product(all, first, each);
    for (int v = 0; v < V; ++v) product[v].total = M::combine(product[v].total, all[v]);
  } else {
    each([&](int v, const Marks& at, int r, const typename P::C(&x)[P::inputs]) {
      product[v].total = M::combine(product[v].total, scan.element(at, r, x));
    });
  }
}

/// The state carried over a step of a plain run, and what the scan makes of it; the element is
/// appended if `appends`.
template <bool appends, class P>
__device__ void walk_inside(typename P::Monoid::Element& state, typename P::C (&y)[P::outputs],
                            const P& scan, const Marks& marks, int r,
                            const typename P::C (&x)[P::inputs]) {
  using M = typename P::Monoid;
  const typename M::Element before = state, element = scan.element(marks, r, x);
  if constexpr (appends) {
    state = M::append(state, element);
  } else {
    state = M::combine(state, element);
  }
  scan.results(y, before, state, marks, r, x);
}
/// The same of any.
template <class P>
__device__ void walk_step(typename P::Monoid::Element& state, typename P::C (&y)[P::outputs],
                          const P& scan, const Marks& marks, int r,
                          const typename P::C (&x)[P::inputs]) {
  if (marks.fresh(r)) state = scan.entering(marks, r);
  walk_inside<false>(state, y, scan, marks, r, x);
  if ((marks.ends >> r & 1) != 0) scan.finish(state, marks, r);
}
/// States as they enter plain runs, with the first operands and products of multiply_plain; whether
/// elements are to be appended to them, in all of a warp.
template <class P, int V>
__device__ bool enter_plain(typename P::Monoid::Element (&state)[V], const P& scan,
                            const Marks& marks, const typename P::C (&first)[V],
                            const Segment<typename P::Monoid> (&product)[V]) {
  using M = typename P::Monoid;
  bool all = Appending<M>;
  for (int v = 0; v < V; ++v) {
    if (marks.fresh(0)) state[v] = scan.entering(marks.of_run(v), 0);
    if constexpr (Appending<M>) all = all && M::appends(state[v], first[v], product[v].total);
  }
  return Appending<M> && __all_sync(0xFFFFFFFFu, all);
}
/// And as they leave runs of `length` steps.
template <class P, int V>
__device__ void leave_plain(const typename P::Monoid::Element (&state)[V], const P& scan,
                            const Marks& marks, int length) {
  for (int v = 0; v < V; ++v) {
    if ((marks.ends >> (length - 1) & 1) != 0) scan.finish(state[v], marks.of_run(v), length - 1);
  }
}

/// The N values of a pack, computed with; two of 2 bytes are taken from a word at a time.
template <class C, class T, int N>
__device__ void widen(C (&x)[N], const Pack<T, N>& pack) {
  if constexpr (std::is_same_v<T, bfloat16> && N % 2 == 0) {
    unsigned words[N / 2];
    memcpy(words, &pack, sizeof(pack));
#pragma unroll
    for (int i = 0; i < N / 2; ++i) {
      x[2 * i] = __uint_as_float(words[i] << 16);
      x[2 * i + 1] = __uint_as_float(words[i] & 0xFFFF0000u);
    }
  } else {
#pragma unroll
    for (int i = 0; i < N; ++i) x[i] = static_cast<C>(pack.values[i]);
  }
}
/// The pack of N results; two of 2 bytes are rounded at once.
template <class T, class C, int N>
__device__ Pack<T, N> rounded(const C (&y)[N]) {
  Pack<T, N> pack;
  if constexpr (std::is_same_v<T, bfloat16> && N % 2 == 0) {
    unsigned words[N / 2];
#pragma unroll
    for (int i = 0; i < N / 2; ++i) {
      asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(words[i]) : "f"(y[2 * i + 1]), "f"(y[2 * i]));
    }
    memcpy(&pack, words, sizeof(pack));
  } else {
#pragma unroll
    for (int i = 0; i < N; ++i) pack.values[i] = static_cast<T>(y[i]);
  }
  return pack;
}

}  // namespace scangrad::cuda
