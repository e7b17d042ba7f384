#pragma once
// The scan algorithms on the CPU, each over any monoid, of any length, never assuming that the
// operation commutes. docs/scan.md draws them and counts depth, work and traffic.
//
// The tree algorithms work in place on `Elements`, packed: x_t ← x_1 ∘ … ∘ x_t. `run_steps` and
// `chunked` read and write the tensors themselves.
//
// An element is one block of values `a`, or two, `a` and `b`; a state is a block too, of the size
// of the last of them. Each monoid says, of values of its type C,
//   size_a(), size_b(), state_size()   values of an element's parts (b: 0 if none) and of a state;
//   identity(out)                      the element that changes nothing;
//   combine(out, l, r)                 out = l ∘ r, first l, then r; `out` may be one of them;
//   start(state)                       the state before anything;
//   step(next, state, x)               next = state acted upon by x; blocks are distinct;
//   scratch_size(), scratch            values of working memory, which the caller provides;
//   exponent(block), set_exponent      only where the last value of each block is an exponent,
//   which
//                                      tensors keep apart.
#include <scangrad/core/dtype.h>
#include <scangrad/core/tensor.h>
#include <scangrad/ops/kernels.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <type_traits>

// The CPU kernels have a copy each instruction set (ops/cpu/level.h), ops/monoid_scan.h one more.
#ifndef SCANGRAD_CPU_NAMESPACE
#define SCANGRAD_CPU_NAMESPACE cpu_user
#endif

namespace scangrad::SCANGRAD_CPU_NAMESPACE {

template <class C>
struct Element {
  C* a = nullptr;
  C* b = nullptr;
};
template <class C>
struct Element<const C> {
  const C* a;
  const C* b;
  Element(const C* a_, const C* b_) : a(a_), b(b_) {}
  Element(Element<C> x) : a(x.a), b(x.b) {}
};

template <class C>
inline void copy_values(C* to, const C* from, std::int64_t n) {
  std::memcpy(to, from, static_cast<std::size_t>(n) * sizeof(C));
}

/// Packed elements in the order of the scan.
template <class Monoid>
struct Elements {
  using C = typename Monoid::C;
  const Monoid& monoid;
  C* data;
  std::int64_t count;

  Element<C> operator[](std::int64_t t) const {
    C* const a = data + t * (monoid.size_a() + monoid.size_b());
    return {a, monoid.size_b() > 0 ? a + monoid.size_a() : nullptr};
  }
  /// The part of an element that is a state.
  C* state(std::int64_t t) const {
    const Element<C> x = (*this)[t];
    return monoid.size_b() > 0 ? x.b : x.a;
  }
  /// x_to ← x_from ∘ x_to: what stands before `to` is put in front of it.
  void prepend(std::int64_t from, std::int64_t to) const {
    monoid.combine((*this)[to], (*this)[from], (*this)[to]);
  }
  void copy(std::int64_t from, std::int64_t to) const {
    copy_values((*this)[to].a, (*this)[from].a, monoid.size_a() + monoid.size_b());
  }
};

// ---- tree algorithms

/// Every element takes in the one d before it, d = 1, 2, 4 …: log T rounds of nearly T steps.
/// Going downwards, a round reads only what the round before it left.
template <class Monoid>
void hillis_steele(const Elements<Monoid>& x) {
  for (std::int64_t d = 1; d < x.count; d *= 2) {
    for (std::int64_t t = x.count - 1; t >= d; --t) x.prepend(t - d, t);
  }
}

/// Blocks of d are scanned; the last of each enters all of the next: log T rounds of T/2 steps.
template <class Monoid>
void sklansky(const Elements<Monoid>& x) {
  for (std::int64_t d = 1; d < x.count; d *= 2) {
    for (std::int64_t block = d; block < x.count; block += 2 * d) {
      const std::int64_t end = std::min(block + d, x.count);
      for (std::int64_t t = block; t < end; ++t) x.prepend(block - 1, t);
    }
  }
}

/// Up: the ends of blocks of 2d take in their left halves. Down: a half that stands right of a
/// finished end takes that in. Some 2T steps in 2 log T rounds.
template <class Monoid>
void brent_kung(const Elements<Monoid>& x) {
  std::int64_t d = 1;
  for (; d < x.count; d *= 2) {
    for (std::int64_t t = 2 * d - 1; t < x.count; t += 2 * d) x.prepend(t - d, t);
  }
  for (; d >= 1; d /= 2) {
    for (std::int64_t t = 3 * d - 1; t < x.count; t += 2 * d) x.prepend(t - d, t);
  }
}

/// Room that `blelloch` needs: the next power of two, and two elements to swap through.
inline std::int64_t blelloch_room(std::int64_t count) {
  std::int64_t room = 1;
  while (room < count) room *= 2;
  return room + 2;
}

/// Blelloch's exclusive scan, then moved by one place to be inclusive. The length is filled up to a
/// power of two with the identity; `x.data` has blelloch_room(x.count) elements.
template <class Monoid>
void blelloch(const Elements<Monoid>& x) {
  const std::int64_t room = blelloch_room(x.count) - 2, root = room - 1;
  const std::int64_t total = room, spare = room + 1;
  for (std::int64_t t = x.count; t < room; ++t) x.monoid.identity(x[t]);
  for (std::int64_t d = 1; d < room; d *= 2) {
    for (std::int64_t t = 2 * d - 1; t < room; t += 2 * d) x.prepend(t - d, t);
  }
  x.copy(root, total);
  // Down: each node holds what stands before its block. Its left child gets just that, its right
  // child that followed by the left child's sum.
  x.monoid.identity(x[root]);
  for (std::int64_t d = room / 2; d >= 1; d /= 2) {
    for (std::int64_t t = 2 * d - 1; t < room; t += 2 * d) {
      x.copy(t - d, spare);
      x.copy(t, t - d);
      x.monoid.combine(x[t], x[t], x[spare]);
    }
  }
  for (std::int64_t t = 0; t < root; ++t) x.copy(t + 1, t);
  x.copy(total, root);
}

// ---- algorithms that work on the tensors themselves

/// Where a sequence's segments start: at the steps k, in the order of the scan, whose cut is true.
struct SequenceCuts {
  const bool* first = nullptr;  // null for none
  std::int64_t step = 0, count = 0;

  bool operator[](std::int64_t k) const { return first && k < count && first[k * step]; }
  /// The first cut in [begin, end), or `end`.
  std::int64_t next(std::int64_t begin, std::int64_t end) const {
    if (first == nullptr) return end;
    while (begin < end && !(*this)[begin]) ++begin;
    return begin;
  }
};

/// Does a block end with an exponent that its tensors keep apart?
template <class Monoid>
constexpr bool has_exponent = requires(Monoid m) {
  m.exponent(nullptr);
};
/// Are blocks of a tensor of T just as the monoid wants them?
template <class Monoid, class T>
constexpr bool in_place = std::is_same_v<typename Monoid::C, T> && !has_exponent<Monoid>;

/// Where a tensor has a state.
template <class T>
struct Slot {
  T* values = nullptr;  // null for nowhere
  std::conditional_t<std::is_const_v<T>, const std::int32_t, std::int32_t>* exponent = nullptr;
};

/// One sequence (of lanes) in its tensors: element t lies t * inner blocks after the first.
template <class Monoid, class T>
struct Sequence {
  using C = typename Monoid::C;
  Monoid monoid;
  Element<const T> x;           // elements
  std::int64_t step_a, step_b;  // values from one to the next
  Slot<T> states;
  std::int64_t step_state, step_exponent;
  Slot<T> last;
  Slot<const T> initial;
  std::int64_t count;
  SequenceCuts cuts;
  ScanPlan plan;

  /// Position of the k-th element in the order of the scan.
  std::int64_t time(std::int64_t k) const { return plan.reverse ? count - 1 - k : k; }
  Element<const T> element(std::int64_t k) const {
    return {x.a + time(k) * step_a, x.b ? x.b + time(k) * step_b : nullptr};
  }
  /// Where the state after step k goes, k = -1 being the start.
  Slot<T> slot(std::int64_t k) const {
    if (plan.exclusive) ++k;
    if (k < 0) return {};
    if (k >= count) return last;
    return {states.values + time(k) * step_state,
            states.exponent ? states.exponent + time(k) * step_exponent : nullptr};
  }
  /// Does what stands in slot(k) enter step k + 1, where a segment starts: is it the identity?
  bool forgets(std::int64_t k) const { return plan.exclusive && cuts[k + 1]; }
};

/// Working memory of a thread that runs sequences.
template <class Monoid>
struct Workspace {
  using C = typename Monoid::C;
  Tensor memory;
  Element<C> element;  // one element, converted to C
  C* states[2];
  C* nothing;  // the state that enters a segment
  C* scratch;  // the monoid's

  explicit Workspace(const Monoid& monoid) {
    const std::int64_t a = monoid.size_a(), b = monoid.size_b(), state = monoid.state_size();
    memory = empty({a + b + 3 * state + monoid.scratch_size()}, {.dtype = dtype_of<C>});
    element = {memory.template data<C>(), memory.template data<C>() + a};
    states[0] = element.b + b;
    states[1] = states[0] + state;
    nothing = states[1] + state;
    scratch = nothing + state;
    monoid.start(nothing);
  }
};

/// `from` itself where T is C, else converted into `buffer`.
template <class C, class T>
inline const C* as_compute(const T* from, std::int64_t n, C* buffer) {
  if constexpr (std::is_same_v<C, T>) {
    return from;
  } else {
    for (std::int64_t i = 0; from && i < n; ++i) buffer[i] = static_cast<C>(from[i]);
    return from ? buffer : nullptr;
  }
}
template <class C, class T>
inline void store(T* to, const C* from, std::int64_t n) {
  if (static_cast<const void*>(to) == static_cast<const void*>(from)) return;
  for (std::int64_t i = 0; i < n; ++i) to[i] = static_cast<T>(from[i]);
}

/// A state, from its place in the tensors and to it.
template <class Monoid, class T>
inline void get_state(const Monoid& monoid, typename Monoid::C* state, Slot<const T> from) {
  store(state, from.values, monoid.state_size() - has_exponent<Monoid>);
  if constexpr (has_exponent<Monoid>) {
    monoid.set_exponent(state, from.exponent ? *from.exponent : 0);
  }
}
template <class Monoid, class T>
inline void put_state(const Monoid& monoid, Slot<T> to, const typename Monoid::C* state) {
  store(to.values, state, monoid.state_size() - has_exponent<Monoid>);
  if constexpr (has_exponent<Monoid>) *to.exponent = monoid.exponent(state);
}

/// An element, copied to a block.
template <class Monoid, class T>
inline void get_element(const Sequence<Monoid, T>& s, std::int64_t k,
                        Element<typename Monoid::C> to) {
  store(to.a, s.element(k).a, s.monoid.size_a() - has_exponent<Monoid>);
  if (to.b) store(to.b, s.element(k).b, s.monoid.size_b());
  if constexpr (has_exponent<Monoid>) s.monoid.set_exponent(to.a, 0);
}

template <class Monoid, class T>
inline Element<const typename Monoid::C> load_element(const Sequence<Monoid, T>& s, std::int64_t k,
                                                      const Workspace<Monoid>& work) {
  if constexpr (has_exponent<Monoid>) {
    get_element(s, k, work.element);
    return work.element;
  }
  const Element<const T> x = s.element(k);
  return {as_compute(x.a, s.monoid.size_a(), work.element.a),
          as_compute(x.b, s.monoid.size_b(), work.element.b)};
}

/// The state before everything, into `state`; also stored where the scan is exclusive.
template <class Monoid, class T>
void start(const Sequence<Monoid, T>& s, typename Monoid::C* state) {
  if (s.initial.values && !s.cuts[0]) {
    get_state(s.monoid, state, s.initial);
  } else {
    s.monoid.start(state);
  }
  if (s.plan.exclusive) put_state(s.monoid, s.slot(-1), state);
}

/// Steps [begin, end) from `state`, each state written where it belongs. Where blocks are
/// `in_place` a state is read back from where it was written. After the last step of all, `last` is
/// written too.
template <class Monoid, class T>
void run_steps(const Sequence<Monoid, T>& s, std::int64_t begin, std::int64_t end,
               const typename Monoid::C* state, const Workspace<Monoid>& work) {
  using C = typename Monoid::C;
  const std::int64_t size = s.monoid.state_size();
  for (std::int64_t k = begin; k < end; ++k) {
    if (s.cuts[k]) state = work.nothing;
    C* next;
    if constexpr (in_place<Monoid, T>) {
      next = s.slot(k).values;
    } else {
      next = work.states[state == work.states[0] ? 1 : 0];
    }
    if (s.forgets(k)) {
      copy_values(next, work.nothing, size);
    } else {
      s.monoid.step(next, state, load_element(s, k, work));
    }
    if constexpr (!in_place<Monoid, T>) put_state(s.monoid, s.slot(k), next);
    state = next;
  }
  if (end == s.count) put_state(s.monoid, s.last, state);
}

/// One state carried along.
template <class Monoid, class T>
void sequential(const Sequence<Monoid, T>& s, const Workspace<Monoid>& work) {
  start(s, work.states[0]);
  run_steps(s, 0, s.count, work.states[0], work);
}

// Chunks are a function of the length alone, never of the threads: results are the same bit for
// bit.
inline std::int64_t chunk_length(std::int64_t count) {
  constexpr std::int64_t least = 64, chunks = 64;
  return std::max(least, (count + chunks - 1) / chunks);
}
inline std::int64_t chunk_count(std::int64_t count) {
  return (count + chunk_length(count) - 1) / chunk_length(count);
}

/// Chunked, first pass: the chunk's elements, those of its last segment, combined into `total`.
template <class Monoid, class T>
void reduce_chunk(const Sequence<Monoid, T>& s, std::int64_t chunk,
                  Element<typename Monoid::C> total, const Workspace<Monoid>& work) {
  const std::int64_t length = chunk_length(s.count), begin = chunk * length;
  const std::int64_t end = std::min(begin + length, s.count);
  s.monoid.identity(total);
  for (std::int64_t k = begin; k < end; ++k) {
    if (s.cuts[k]) s.monoid.identity(total);
    s.monoid.combine(total, total, load_element(s, k, work));
  }
}

/// Chunked, second pass: the state that enters each chunk, into carries (chunks, state).
template <class Monoid, class T>
void carry_chunks(const Sequence<Monoid, T>& s, const Elements<Monoid>& totals,
                  typename Monoid::C* carries, const Workspace<Monoid>& work) {
  const std::int64_t size = s.monoid.state_size(), length = chunk_length(s.count);
  start(s, carries);
  for (std::int64_t c = 0; c + 1 < totals.count; ++c) {
    const std::int64_t end = (c + 1) * length;
    const bool passes = s.cuts.next(c * length, end) == end;
    s.monoid.step(carries + (c + 1) * size, passes ? carries + c * size : work.nothing, totals[c]);
  }
}

/// Chunked, third pass: the chunk's steps from the state that enters it.
template <class Monoid, class T>
void run_chunk(const Sequence<Monoid, T>& s, std::int64_t chunk, const typename Monoid::C* carries,
               const Workspace<Monoid>& work) {
  const std::int64_t length = chunk_length(s.count), begin = chunk * length;
  run_steps(s, begin, std::min(begin + length, s.count), carries + chunk * s.monoid.state_size(),
            work);
}

}  // namespace scangrad::SCANGRAD_CPU_NAMESPACE
