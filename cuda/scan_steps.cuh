#pragma once
// What a scan of scalars does at each step: forward, and the backward of the linear scan. A thread
// takes a run of adjacent steps of the order in which the kernel goes, "first" and "last" being
// meant so.
#include <scangrad/cuda/scan_monoids.cuh>

namespace scangrad::cuda {

/// i / n, by the quicker instruction where both are small, as they mostly are.
__device__ inline std::int64_t quotient(std::int64_t i, std::int64_t n) {
  if (((i | n) >> 32) != 0) return i / n;
  return static_cast<unsigned>(i) / static_cast<unsigned>(n);
}
/// The n lowest bits; none below 0, all from 32 on.
__device__ inline unsigned low_bits(std::int64_t n) {
  return n <= 0 ? 0u : n >= 32 ? ~0u : (1u << n) - 1u;
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
  unsigned valid;         // there is such a step
  unsigned starts;        // it is its sequence's first (set where invalid, too)
  unsigned ends;          // its last
  unsigned cuts;          // a segment begins there
  unsigned drops;         // what the steps before it leave does not enter it
  std::int64_t sequence;  // of step 0
  int next;               // from a sequence to the next in the run

  __device__ bool fresh(int r) const { return ((starts | drops) & valid) >> r & 1u; }
  __device__ std::int64_t sequence_at(int r) const {
    return sequence + next * __popc(starts & low_bits(r + 1) & ~1u);
  }
};

/// Those of a run of `length` steps that begins with step k of a sequence, whose mark is *cut. A
/// scan backwards drops what comes from the steps of a later segment: a mark acts one step on.
__device__ inline Marks marks_of(const Sequences& sequences, bool backwards, std::int64_t sequence,
                                 std::int64_t k, int length, unsigned valid, const bool* cut,
                                 std::int64_t cut_stride) {
  Marks marks{valid, 0, 0, 0, 0, sequence, sequences.from_end ? -1 : 1};
  const std::int64_t count = sequences.count;
  for (std::int64_t r = k == 0 ? 0 : count - k; r < length; r += count) marks.starts |= 1u << r;
  for (std::int64_t r = count - 1 - k; r < length; r += count) marks.ends |= 1u << r;
  marks.ends &= valid;
  if (cut == nullptr) return marks;
  for (int r = 0; r < length; ++r) {
    if (valid >> r & 1u) marks.cuts |= unsigned{cut[r * cut_stride]} << r;
  }
  marks.drops = marks.cuts;
  if (backwards) {
    marks.drops <<= 1;
    if (k > 0 && (valid & 1u) != 0) marks.drops |= unsigned{cut[-cut_stride]};
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

  __host__ __device__ int lead(int) const { return 0; }
  __device__ static C padding(int i) { return M::padding(i); }
  __device__ typename M::Element element(const Marks&, int, const C (&x)[inputs]) const {
    return M::element(x);
  }
  __device__ typename M::Element entering(const Marks& marks, int r) const {
    if ((marks.drops >> r & 1u) != 0 || initial == nullptr) return M::identity();
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
template <class T>
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
  bool exclusive;

  /// Inputs are read that many steps ahead: a from the step before, states from the one to come.
  __host__ __device__ int lead(int i) const { return exclusive ? 0 : i == 0 ? -1 : i == 2 ? 1 : 0; }
  __device__ static C padding(int i) { return i == 0 ? C(1) : C(0); }
  __device__ Element element(const Marks& marks, int r, const C (&x)[inputs]) const {
    if (exclusive) return {x[0], x[1]};
    const bool starts = marks.starts >> r & 1u, drops = marks.drops >> r & 1u;
    return {starts ? C(1) : drops ? C(0) : x[0], x[1]};
  }
  __device__ Element entering(const Marks& marks, int r) const {
    if ((marks.drops >> r & 1u) != 0) return Monoid::state(C(0));
    return Monoid::state(static_cast<C>(g_last[marks.sequence_at(r)]));
  }
  __device__ void results(C (&y)[outputs], const Element& before, const Element& after,
                          const Marks& marks, int r, const C (&x)[inputs]) const {
    C previous = x[2];
    if ((marks.ends >> r & 1u) != 0 && !exclusive) {
      previous = initial == nullptr ? C(0) : static_cast<C>(initial[marks.sequence_at(r)]);
    }
    if ((marks.cuts >> r & 1u) != 0) previous = C(0);
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
    d_initial[s] = static_cast<T>((marks.cuts >> r & 1u) != 0 ? C(0) : d);
  }
};

/// A run's product, a step more.
template <class P>
__device__ void multiply_step(Segment<typename P::Monoid>& product, const P& scan,
                              const Marks& marks, int r, const typename P::C (&x)[P::inputs]) {
  if (marks.fresh(r)) product = {scan.entering(marks, r), 1};
  product.total = P::Monoid::combine(product.total, scan.element(marks, r, x));
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
  if ((marks.ends >> r & 1u) != 0) scan.finish(state, marks, r);
}

inline constexpr int scan_threads = 256;

/// Products of the steps before a thread's run in its tile, and of the whole tile, both of the
/// thread's column threadIdx.x % width. Runs are in the order of threads. `parts` is shared memory,
/// scan_threads long, not in use by a thread that is a barrier behind.
template <class M>
struct TileProducts {
  Segment<M> before, tile;

  __device__ TileProducts(const Segment<M>& run, int width, Segment<M>* parts) {
    const int lane = static_cast<int>(threadIdx.x % 32), across = max(width, 32);
    const int part = static_cast<int>(threadIdx.x) / across,
              column = static_cast<int>(threadIdx.x) % width;
    const Segment<M> in_warp = scan_warp(run, width);
    if (lane + width >= 32) parts[part * width + column] = in_warp;
    __syncthreads();
    before = tile = nothing<M>();
    for (int i = 0; i < scan_threads / across; ++i) {
      if (i == part) before = tile;
      tile = combine(tile, parts[i * width + column]);
    }
    if (width < 32) {
      const Segment<M> left = from_below(in_warp, width);
      if (lane >= width) before = combine(before, left);
    }
  }
};

}  // namespace scangrad::cuda
