#pragma once
// Where sequences lie, and what is special about the steps of a run of one or several. A thread
// takes a run of adjacent steps of the order in which the kernel goes, "first" and "last" being
// meant so.
#include <scangrad/cuda/launch.cuh>

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
  /// Those of run v of adjacent sequences.
  __device__ Marks of_run(int v) const {
    Marks run = *this;
    run.sequence += v;
    return run;
  }
  /// Those from step n on.
  __device__ Marks from(int n) const {
    return {valid >> n, starts >> n, ends >> n, cuts >> n, drops >> n, sequence_at(n), next};
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

}  // namespace scangrad::cuda
