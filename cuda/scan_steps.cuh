#pragma once
// What a scan of scalars does at each step: forward, and the backward of the linear scan. A thread
// takes a run of adjacent steps of the order in which the kernel goes, "first" and "last" being
// meant so.
#include <scangrad/cuda/scan_monoids.cuh>

#include <type_traits>

namespace scangrad::cuda {

/// i / n, by the quicker instruction where both are small, as they mostly are.
__device__ inline std::int64_t quotient(std::int64_t i, std::int64_t n) {
  if (i < n) return 0;
  if (((i | n) >> 32) != 0) return i / n;
  return static_cast<unsigned>(i) / static_cast<unsigned>(n);
}
/// The n lowest bits; none below 0, all from 64 on.
__device__ inline std::uint64_t low_bits(std::int64_t n) {
  return n <= 0 ? 0 : n >= 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << n) - 1;
}

/// Sequence s of operands (outer, T, inner) is (s / inner, ·, s % inner).
struct Sequences {
  std::int64_t number, count, inner, groups;
  const bool* cuts;  // (outer, T, groups); null for none
  bool from_end;     // whether the last step in memory comes first

  Sequences(const Tensor& states, const Tensor& cuts_, bool from_end_)
      : number(states.shape()[0] * states.shape()[2]),
        count(states.shape()[1]),
        inner(states.shape()[2]),
        groups(cuts_.defined() ? cuts_.shape()[2] : 1),
        cuts(data_or_null<bool>(cuts_)),
        from_end(from_end_) {}
  /// In memory, from a step to the next.
  __device__ std::int64_t stride() const { return from_end ? -inner : inner; }
  /// Where the steps of a sequence begin in operands, and in `cuts`.
  __device__ std::int64_t first(std::int64_t s) const {
    const std::int64_t o = quotient(s, inner);
    return (o * count + (from_end ? count - 1 : 0)) * inner + (s - o * inner);
  }
  __device__ std::int64_t first_cut(std::int64_t s) const {
    const std::int64_t o = quotient(s, inner);
    return (o * count + (from_end ? count - 1 : 0)) * groups +
           quotient(s - o * inner, inner / groups);
  }
};

/// What is special about the steps of a run; bit r is step r.
struct Marks {
  std::uint64_t valid;    // there is such a step
  std::uint64_t starts;   // it is its sequence's first (set where invalid, too)
  std::uint64_t ends;     // its last
  std::uint64_t cuts;     // a segment begins there
  std::uint64_t drops;    // what the steps before it leave does not enter it
  std::int64_t sequence;  // of step 0
  int next;               // from a sequence to the next in the run

  __device__ bool fresh(int r) const { return ((starts | drops) & valid) >> r & 1; }
  /// Whether all steps are there, and just the first may start anew and just the last end a
  /// sequence.
  __device__ bool plain(int length) const {
    const std::uint64_t all = low_bits(length), last = std::uint64_t{1} << (length - 1);
    return (~valid & all) == 0 && ((starts | cuts | drops) & all & ~std::uint64_t{1}) == 0 &&
           (ends & all & ~last) == 0;
  }
  /// Those of one step of such a run, as step 0: is it the run's first, its last? Where the
  /// compiler knows that it is neither, nothing is left to be tested.
  __device__ Marks of_step(bool first, bool last, int length) const {
    Marks one{};
    one.sequence = sequence;
    if (first) {
      one.valid = valid & 1;
      one.starts = starts & 1;
      one.cuts = cuts & 1;
      one.drops = drops & 1;
    }
    if (last) one.ends = ends >> (length - 1) & 1;
    return one;
  }
  __device__ std::int64_t sequence_at(int r) const {
    return sequence + next * __popcll(starts & low_bits(r + 1) & ~std::uint64_t{1});
  }
};

/// Those of a run of `length` steps that begins with step k of a sequence, whose mark is *cut. A
/// scan backwards drops what comes from the steps of a later segment: a mark acts one step on.
__device__ inline Marks marks_of(const Sequences& sequences, bool backwards, std::int64_t sequence,
                                 std::int64_t k, int length, std::uint64_t valid, const bool* cut,
                                 std::int64_t cut_stride) {
  Marks marks{valid, 0, 0, 0, 0, sequence, sequences.from_end ? -1 : 1};
  const std::int64_t count = sequences.count;
  if (k == 0 || count - k <= length) {
    const std::uint64_t one = 1;
    for (std::int64_t r = k == 0 ? 0 : count - k; r < length; r += count) marks.starts |= one << r;
    for (std::int64_t r = count - 1 - k; r < length; r += count) marks.ends |= one << r;
    marks.ends &= valid;
  }
  if (cut == nullptr) return marks;
  for (int r = 0; r < length; ++r) {
    if (valid >> r & 1) marks.cuts |= std::uint64_t{cut[r * cut_stride]} << r;
  }
  marks.drops = marks.cuts;
  if (backwards) {
    marks.drops <<= 1;
    if (k > 0 && (valid & 1) != 0) marks.drops |= std::uint64_t{cut[-cut_stride]};
    marks.drops &= ~marks.starts;
  }
  return marks;
}

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

/// A run's product, a step more.
template <class P>
__device__ void multiply_step(Segment<typename P::Monoid>& product, const P& scan,
                              const Marks& marks, int r, const typename P::C (&x)[P::inputs]) {
  if (marks.fresh(r)) product = {scan.entering(marks, r), 1};
  product.total = P::Monoid::combine(product.total, scan.element(marks, r, x));
}
/// The products of V plain runs, of adjacent sequences; each(f) is f(v, marks, r, x) for all steps.
template <class P, int V, class Each>
__device__ void multiply_plain(Segment<typename P::Monoid> (&product)[V], const P& scan,
                               const Marks& marks, const Each& each) {
  using M = typename P::Monoid;
  if constexpr (requires(typename M::Element(&all)[V]) { M::product(all, each); }) {
    typename M::Element all[V];
    M::product(all, each);
    for (int v = 0; v < V; ++v) {
      Marks first = marks.of_step(true, false, 1);
      first.sequence += v;
      if (first.fresh(0)) product[v] = {scan.entering(first, 0), 1};
      product[v].total = M::combine(product[v].total, all[v]);
    }
  } else {
    each([&](int v, const Marks& at, int r, const typename P::C(&x)[P::inputs]) {
      multiply_step(product[v], scan, at, r, x);
    });
  }
}
/// The state carried over a step, and what the scan makes of it.
template <class P>
__device__ void walk_step(typename P::Monoid::Element& state, typename P::C (&y)[P::outputs],
                          const P& scan, const Marks& marks, int r,
                          const typename P::C (&x)[P::inputs]) {
  if (marks.fresh(r)) state = scan.entering(marks, r);
  const typename P::Monoid::Element before = state;
  state = P::Monoid::combine(state, scan.element(marks, r, x));
  scan.results(y, before, state, marks, r, x);
  if ((marks.ends >> r & 1) != 0) scan.finish(state, marks, r);
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
