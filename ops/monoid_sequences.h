#pragma once
// One sequence of a user's monoid (ops/monoid_scan.h), walked in either direction, on any device.
#include <scangrad/core/tensor.h>
#include <scangrad/ops/kernels.h>
#include <scangrad/ops/vector_math.h>

#include <cstdint>

namespace scangrad::monoid_scan_kernels {

/// Where sequence s has its step k.
struct Steps {
  std::int64_t count, inner, groups;
  const bool* cuts;  // (outer, T, groups); null for none
  bool reverse, exclusive;

  Steps(const Tensor& states, const Tensor& cuts_, ScanPlan plan)
      : count(states.shape()[1]),
        inner(states.shape()[2]),
        groups(cuts_.defined() ? cuts_.shape()[2] : 1),
        cuts(cuts_.defined() ? cuts_.data<bool>() : nullptr),
        reverse(plan.reverse),
        exclusive(plan.exclusive) {}
  SCANGRAD_FN std::int64_t row(std::int64_t s, std::int64_t k) const {
    return s / inner * count + (reverse ? count - 1 - k : k);
  }
  SCANGRAD_FN std::int64_t at(std::int64_t s, std::int64_t k) const {
    return row(s, k) * inner + s % inner;
  }
  SCANGRAD_FN bool cut(std::int64_t s, std::int64_t k) const {
    return cuts != nullptr && cuts[row(s, k) * groups + s % inner / (inner / groups)];
  }
};

template <class C, class T>
SCANGRAD_FN void copy_block(C* to, const T* from, int size) {
  for (int i = 0; i < size; ++i) to[i] = static_cast<C>(from[i]);
}

/// A sequence from its last step to its first: with q the cotangent of the state after a step, the
/// adjoint of state ∘ x gives that of the state before it and the gradient of x.
template <class M, class T>
struct BackwardSequence {
  using C = compute_type<T>;
  Steps steps;
  T *dx, *d_initial;
  const T *x, *states, *initial, *g, *g_last;

  /// The state before step k.
  SCANGRAD_FN void before(C* state, std::int64_t s, std::int64_t k) const {
    if (steps.cut(s, k)) {
      M::identity(state);
    } else if (steps.exclusive || k > 0) {
      copy_block(state, states + steps.at(s, steps.exclusive ? k : k - 1) * M::size, M::size);
    } else if (initial != nullptr) {
      copy_block(state, initial + s * M::size, M::size);
    } else {
      M::identity(state);
    }
  }
  SCANGRAD_FN void add_gradient(C* q, std::int64_t s, std::int64_t k) const {
    const T* const from = g + steps.at(s, k) * M::size;
    for (int i = 0; i < M::size; ++i) q[i] += static_cast<C>(from[i]);
  }
  /// The cotangent of the state after the last step.
  SCANGRAD_FN void start(C* q, std::int64_t s) const {
    copy_block(q, g_last + s * M::size, M::size);
    if (!steps.exclusive) add_gradient(q, s, steps.count - 1);
  }
  /// Steps end - 1 … begin: from the cotangent q of the state after them to that of the one before.
  /// Without `adds` none of the states' own gradients, without `writes` nothing but q.
  SCANGRAD_FN void walk(C* q, std::int64_t s, std::int64_t begin, std::int64_t end, bool adds,
                        bool writes) const {
    C state[M::size], element[M::size], d_state[M::size], d_element[M::size];
    for (std::int64_t k = end - 1; k >= begin; --k) {
      const std::int64_t at = steps.at(s, k) * M::size;
      before(state, s, k);
      copy_block(element, x + at, M::size);
      M::adjoint(d_state, d_element, state, element, q);
      if (writes && dx != nullptr) copy_block(dx + at, d_element, M::size);
      const bool cut = steps.cut(s, k);  // nothing flows back into another segment
      for (int i = 0; i < M::size; ++i) q[i] = cut ? C(0) : d_state[i];
      if (!adds) continue;
      if (steps.exclusive && !cut) add_gradient(q, s, k);
      if (!steps.exclusive && k > 0) add_gradient(q, s, k - 1);
    }
  }
  SCANGRAD_FN void finish(const C* q, std::int64_t s) const {
    if (d_initial != nullptr) copy_block(d_initial + s * M::size, q, M::size);
  }
  SCANGRAD_FN void operator()(std::int64_t s) const {
    C q[M::size];
    start(q, s);
    walk(q, s, 0, steps.count, true, true);
    finish(q, s);
  }
};

/// A sequence from its first step to its last.
template <class M, class T>
struct ForwardSequence {
  using C = compute_type<T>;
  Steps steps;
  T *states, *last;
  const T *x, *initial;

  SCANGRAD_FN void start(C* state, std::int64_t s) const {
    M::identity(state);
    if (initial != nullptr) copy_block(state, initial + s * M::size, M::size);
  }
  /// Steps begin … end - 1, from the state before them to the one after, without `writes` only
  /// that. Is that independent of the one before?
  SCANGRAD_FN bool walk(C* state, std::int64_t s, std::int64_t begin, std::int64_t end,
                        bool writes) const {
    C element[M::size], next[M::size];
    bool fresh = false;
    for (std::int64_t k = begin; k < end; ++k) {
      const std::int64_t at = steps.at(s, k) * M::size;
      if (steps.cut(s, k)) {
        M::identity(state);
        fresh = true;
      }
      copy_block(element, x + at, M::size);
      M::combine(next, state, element);
      if (writes) copy_block(states + at, steps.exclusive ? state : next, M::size);
      copy_block(state, next, M::size);
    }
    return fresh;
  }
  SCANGRAD_FN void finish(const C* state, std::int64_t s) const {
    copy_block(last + s * M::size, state, M::size);
  }
  SCANGRAD_FN void operator()(std::int64_t s) const {
    C state[M::size];
    start(state, s);
    walk(state, s, 0, steps.count, true);
    finish(state, s);
  }
};

template <class T>
T* data_of(const Tensor& t) {
  return t.defined() ? t.data<T>() : nullptr;
}

}  // namespace scangrad::monoid_scan_kernels
