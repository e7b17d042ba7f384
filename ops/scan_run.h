#pragma once
// A scan of tensors (outer, T, inner, …) with any monoid on the CPU: how they fall into sequences,
// and how the threads share these out.
#include <scangrad/core/parallel.h>
#include <scangrad/ops/scan.h>
#include <scangrad/ops/scan_algorithms.h>

namespace scangrad::SCANGRAD_CPU_NAMESPACE {

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

// ---- the algorithms on all sequences

/// A tree algorithm on a packed copy of each segment of each sequence, the state that enters it put
/// into its first element.
template <class Monoid, class T>
void run_tree(const ScanTensors<Monoid, T>& scan, void (*algorithm)(const Elements<Monoid>&)) {
  using C = typename Monoid::C;
  parallel_for(scan.sequences(), scan.grain(), [&](std::int64_t begin, std::int64_t end) {
    const Workspace<Monoid> work(scan.monoid);
    const Tensor packed =
        empty({blelloch_room(scan.count) * (scan.monoid.size_a() + scan.monoid.size_b())},
              {.dtype = dtype_of<C>});
    for (std::int64_t i = begin; i < end; ++i) {
      const Sequence<Monoid, T> s = scan.sequence(i, work);
      const std::int64_t size = s.monoid.state_size();
      start(s, work.states[0]);
      for (std::int64_t begin = 0, end; begin < s.count; begin = end) {
        end = s.cuts.next(begin + 1, s.count);
        const Elements<Monoid> x{s.monoid, packed.data<C>(), end - begin};
        for (std::int64_t k = begin; k < end; ++k) {
          get_element(s, k, x[k - begin]);
        }
        s.monoid.step(work.states[1], begin == 0 ? work.states[0] : work.nothing, x[0]);
        copy_values(x.state(0), work.states[1], size);
        algorithm(x);
        for (std::int64_t k = begin; k < end; ++k) {
          put_state(s.monoid, s.slot(k), s.forgets(k) ? work.nothing : x.state(k - begin));
        }
        if (end == s.count) put_state(s.monoid, s.last, x.state(end - 1 - begin));
      }
    }
  });
}

template <class Monoid, class T>
void run_sequential(const ScanTensors<Monoid, T>& scan) {
  parallel_for(scan.sequences(), scan.grain(), [&](std::int64_t begin, std::int64_t end) {
    const Workspace<Monoid> work(scan.monoid);
    for (std::int64_t i = begin; i < end; ++i) sequential(scan.sequence(i, work), work);
  });
}

template <class Monoid, class T>
void run_chunked(const ScanTensors<Monoid, T>& scan) {
  using C = typename Monoid::C;
  const Workspace<Monoid> outer_work(scan.monoid);
  const std::int64_t chunks = chunk_count(scan.count);
  const std::int64_t element_size = scan.monoid.size_a() + scan.monoid.size_b();
  const TensorOptions options{.dtype = dtype_of<C>};
  const Tensor totals = empty({scan.sequences(), chunks * element_size}, options);
  const Tensor carries = empty({scan.sequences(), chunks * scan.monoid.state_size()}, options);
  const auto carries_of = [&](std::int64_t i) {
    return carries.data<C>() + i * chunks * scan.monoid.state_size();
  };
  const auto totals_of = [&](const Sequence<Monoid, T>& s, std::int64_t i) {
    return Elements<Monoid>{s.monoid, totals.data<C>() + i * chunks * element_size, chunks};
  };

  parallel_for(scan.sequences() * chunks, 1, [&](std::int64_t begin, std::int64_t end) {
    const Workspace<Monoid> work(scan.monoid);
    for (std::int64_t unit = begin; unit < end; ++unit) {
      const std::int64_t i = unit / chunks, chunk = unit % chunks;
      const Sequence<Monoid, T> s = scan.sequence(i, work);
      if (chunk + 1 < chunks) reduce_chunk(s, chunk, totals_of(s, i)[chunk], work);
    }
  });
  for (std::int64_t i = 0; i < scan.sequences(); ++i) {
    const Sequence<Monoid, T> s = scan.sequence(i, outer_work);
    carry_chunks(s, totals_of(s, i), carries_of(i), outer_work);
  }
  parallel_for(scan.sequences() * chunks, 1, [&](std::int64_t begin, std::int64_t end) {
    const Workspace<Monoid> work(scan.monoid);
    for (std::int64_t unit = begin; unit < end; ++unit) {
      const std::int64_t i = unit / chunks;
      run_chunk(scan.sequence(i, work), unit % chunks, carries_of(i), work);
    }
  });
}

template <class Monoid, class T>
void run(const ScanTensors<Monoid, T>& scan) {
  switch (scan.plan.algorithm) {
    case ScanAlgorithm::automatic:
      return scan.few_and_long() ? run_chunked(scan) : run_sequential(scan);
    case ScanAlgorithm::sequential:
      return run_sequential(scan);
    case ScanAlgorithm::hillis_steele:
      return run_tree(scan, hillis_steele<Monoid>);
    case ScanAlgorithm::sklansky:
      return run_tree(scan, sklansky<Monoid>);
    case ScanAlgorithm::brent_kung:
      return run_tree(scan, brent_kung<Monoid>);
    case ScanAlgorithm::blelloch:
      return run_tree(scan, blelloch<Monoid>);
    case ScanAlgorithm::chunked:
      return run_chunked(scan);
  }
}

}  // namespace scangrad::SCANGRAD_CPU_NAMESPACE
