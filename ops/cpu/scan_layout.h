#pragma once
// How a scan's tensors, (outer, T, inner, …), fall into sequences, and which monoid fits them.
#include <scangrad/ops/cpu/scan_algorithms.h>

namespace scangrad::SCANGRAD_CPU_NAMESPACE {
namespace {

/// Is a sequence one element a step (matrices), or some neighbouring scalars ("lanes")?
template <class Monoid>
constexpr bool has_lanes = requires(Monoid m) {
  m.lanes;
};

/// How sequences lie: (outer, T, inner) blocks, of which `group` neighbours have the same cuts.
template <class Monoid>
struct SequenceLayout {
  static constexpr std::int64_t most_lanes = 128;
  Monoid monoid;  // of the widest sequence
  std::int64_t outer, count, inner, groups, group, per_group;
  const bool* cuts;  // (outer, count, groups); null for none

  SequenceLayout(const Monoid& like, const Tensor& states, const Tensor& cuts_)
      : monoid(like),
        outer(states.shape()[0]),
        count(states.shape()[1]),
        inner(states.shape()[2]),
        groups(cuts_.defined() ? cuts_.shape()[2] : 1),
        group(inner / groups),
        per_group(group),
        cuts(cuts_.defined() ? cuts_.data<bool>() : nullptr) {
    if constexpr (has_lanes<Monoid>) {
      monoid.lanes = std::min(group, most_lanes);
      per_group = (group + most_lanes - 1) / most_lanes;
    }
  }

  std::int64_t per_outer() const { return groups * per_group; }
  std::int64_t sequences() const { return outer * per_outer(); }
  /// Sequences a thread should take at least.
  std::int64_t grain() const {
    const std::int64_t work = count * (monoid.size_a() + monoid.size_b());
    return std::max<std::int64_t>(1, 16384 / std::max<std::int64_t>(work, 1));
  }
  /// Too few sequences to keep a processor busy, and long enough to be cut. By shape alone.
  bool few_and_long() const { return sequences() < 4 && count >= 512; }

  /// The monoid of sequence i.
  Monoid monoid_of(std::int64_t i) const {
    Monoid m = monoid;
    if constexpr (has_lanes<Monoid>) {
      m.lanes = std::min(group - i % per_group * most_lanes, most_lanes);
    }
    return m;
  }
  /// Where sequence i starts in a (outer, steps, inner, …) tensor whose blocks have `size` values
  /// (for lanes: where inner counts single values).
  std::int64_t start(std::int64_t i, std::int64_t steps, std::int64_t size) const {
    const std::int64_t o = i / per_outer(), j = i % per_outer();
    if constexpr (has_lanes<Monoid>) {
      return o * steps * inner + j / per_group * group + j % per_group * most_lanes;
    }
    return (o * steps * inner + j) * size;
  }
  /// In the order of the scan.
  SequenceCuts cuts_of(std::int64_t i, bool reverse) const {
    if (cuts == nullptr) return {};
    const std::int64_t o = i / per_outer(), j = i % per_outer();
    const bool* const first = cuts + o * count * groups + j / per_group;
    return reverse ? SequenceCuts{first + (count - 1) * groups, -groups, count}
                   : SequenceCuts{first, groups, count};
  }
  /// From one step to the next.
  std::int64_t step(std::int64_t size) const { return has_lanes<Monoid> ? inner : inner * size; }
};

/// The operands of a ScanKernel.
template <class Monoid, class T>
struct ScanTensors : SequenceLayout<Monoid> {
  T *states, *last;
  const T *a, *b, *initial;
  // Where states have them, (outer, T, inner) and (outer, inner).
  std::int32_t *exponents = nullptr, *last_exponent = nullptr;
  const std::int32_t* initial_exponent = nullptr;
  ScanPlan plan;

  ScanTensors(const Monoid& like, const Tensor& states_, const Tensor& last_, const Tensor& a_,
              const Tensor& b_, const Tensor& initial_, const Tensor& cuts_, ScanPlan plan_)
      : SequenceLayout<Monoid>(like, states_, cuts_),
        states(states_.data<T>()),
        last(last_.data<T>()),
        a(a_.data<T>()),
        b(b_.defined() ? b_.data<T>() : nullptr),
        initial(initial_.defined() ? initial_.data<T>() : nullptr),
        plan(plan_) {}

  Sequence<Monoid, T> sequence(std::int64_t i, const Workspace<Monoid>& work) const {
    Monoid m = this->monoid_of(i);
    m.scratch = work.scratch;
    // Of the tensors' blocks.
    const std::int64_t size_a = m.size_a() - has_exponent<Monoid>, size_b = m.size_b(),
                       size = m.state_size() - has_exponent<Monoid>;
    const std::int64_t one = this->start(i, 1, size), one_exponent = this->start(i, 1, 1);
    return {m,
            {a + this->start(i, this->count, size_a),
             b ? b + this->start(i, this->count, size_b) : nullptr},
            this->step(size_a),
            this->step(size_b),
            {states + this->start(i, this->count, size),
             exponents ? exponents + this->start(i, this->count, 1) : nullptr},
            this->step(size),
            this->step(1),
            {last + one, last_exponent ? last_exponent + one_exponent : nullptr},
            {initial ? initial + one : nullptr,
             initial_exponent ? initial_exponent + one_exponent : nullptr},
            this->count,
            this->cuts_of(i, plan.reverse),
            plan};
  }
};

/// Calls f(TypeTag<T>, monoid) with the scalar monoid F of T's compute type.
template <class F, class Types, class Call>
void with_lanes(const Tensor& states, const Tensor&, Call&& f) {
  dispatch(Types{}, states.dtype(),
           [&](auto type) { f(type, Lanes<compute_type<typename decltype(type)::type>, F>{0}); });
}

/// Calls f(TypeTag<T>, monoid) with the linear monoid of T's compute type.
template <class F>
void with_linear(const Tensor& states, const Tensor&, F&& f) {
  dispatch(FloatTypes{}, states.dtype(), [&](auto type) {
    f(type, LinearLanes<compute_type<typename decltype(type)::type>>{0});
  });
}

/// The same with a matrix monoid, its order compiled in where that pays.
template <template <class, int> class Monoid, class F>
void with_matrices(const Tensor& states, const Tensor& a, F&& f) {
  const std::int64_t rows = states.shape()[3], n = a.shape()[4];
  dispatch(FloatTypes{}, states.dtype(), [&](auto type) {
    using C = compute_type<typename decltype(type)::type>;
    const auto with_order = [&](auto order) {
      f(type, Monoid<C, decltype(order)::value>{{rows, n}});
    };
    if constexpr (std::is_same_v<C, float>) {
      if (n == 4) return with_order(std::integral_constant<int, 4>{});
      if (n == 8) return with_order(std::integral_constant<int, 8>{});
      if (n == 16) return with_order(std::integral_constant<int, 16>{});
      if (n == 32) return with_order(std::integral_constant<int, 32>{});
    }
    with_order(std::integral_constant<int, 0>{});
  });
}
template <class F>
void with_product(const Tensor& states, const Tensor& a, F&& f) {
  with_matrices<MatrixProduct>(states, a, f);
}
template <class F>
void with_scaled_product(const Tensor& states, const Tensor& a, F&& f) {
  with_matrices<ScaledProduct>(states, a, f);
}
template <class F>
void with_affine(const Tensor& states, const Tensor& a, F&& f) {
  with_matrices<MatrixAffine>(states, a, f);
}

}  // namespace
}  // namespace scangrad::SCANGRAD_CPU_NAMESPACE
