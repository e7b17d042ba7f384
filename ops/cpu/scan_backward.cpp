#include <scangrad/ops/cpu/scan_monoids.h>
#include <scangrad/ops/scan.h>

// The backward of h_t = h_{t-1} a_t + b_t, scalars or matrices, in one pass from the last step to
// the first: with g_t the gradient of h_t, q_t = g_t + q_{t+1} a_{t+1}ᵀ is its whole cotangent,
// db_t = q_t and da_t = h_{t-1}ᵀ q_t. It reads a, h and g once and writes da (and db).
namespace scangrad::SCANGRAD_CPU_NAMESPACE {
namespace {

/// The operands of a ScanBackwardKernel. Pointers are to the first value, null where not wanted.
template <class Monoid, class T>
struct BackwardTensors : SequenceLayout<Monoid> {
  T *da, *db, *d_initial;
  const T *a, *states, *initial, *g, *g_last;
  ScanPlan plan;
};

/// Working memory of a thread.
template <class Monoid>
struct BackwardWorkspace {
  using C = typename Monoid::C;
  Tensor memory;
  C *a, *da;                                         // element parts
  C *previous, *gradient, *cotangents[2], *scratch;  // states

  explicit BackwardWorkspace(const Monoid& m) {
    const std::int64_t size_a = m.size_a(), size = m.state_size();
    memory = empty({2 * size_a + 4 * size + m.scratch_size()}, {.dtype = dtype_of<C>});
    a = memory.template data<C>();
    da = a + size_a;
    previous = da + size_a;
    gradient = previous + size;
    cotangents[0] = gradient + size;
    cotangents[1] = cotangents[0] + size;
    scratch = cotangents[1] + size;
  }
};

/// One sequence of them.
template <class Monoid, class T>
struct BackwardSequence {
  using C = typename Monoid::C;
  const BackwardTensors<Monoid, T>& all;
  Monoid monoid;
  std::int64_t offset_a, step_a, offset, step,
      one;  // where it lies: elements, states, single states
  SequenceCuts cuts;

  BackwardSequence(const BackwardTensors<Monoid, T>& tensors, std::int64_t i,
                   const BackwardWorkspace<Monoid>& work)
      : all(tensors), monoid(tensors.monoid_of(i)), cuts(tensors.cuts_of(i, tensors.plan.reverse)) {
    monoid.scratch = work.scratch;
    offset_a = all.start(i, all.count, monoid.size_a());
    step_a = all.step(monoid.size_a());
    offset = all.start(i, all.count, monoid.state_size());
    step = all.step(monoid.state_size());
    one = all.start(i, 1, monoid.state_size());
  }
  std::int64_t time(std::int64_t k) const { return all.plan.reverse ? all.count - 1 - k : k; }
  std::int64_t element(std::int64_t k) const { return offset_a + time(k) * step_a; }
  std::int64_t state(std::int64_t k) const { return offset + time(k) * step; }

  /// The state before step k.
  const C* previous(std::int64_t k, C* buffer) const {
    const std::int64_t size = monoid.state_size();
    if (all.plan.exclusive) return as_compute(all.states + state(k), size, buffer);
    if (!cuts[k]) {
      if (k > 0) return as_compute(all.states + state(k - 1), size, buffer);
      if (all.initial) return as_compute(all.initial + one, size, buffer);
    }
    monoid.start(buffer);
    return buffer;
  }
  /// The gradient that reaches the state before step k from outside; null for none.
  const C* gradient_before(std::int64_t k, C* buffer) const {
    if (!all.plan.exclusive) --k;
    return k < 0 ? nullptr : as_compute(all.g + state(k), monoid.state_size(), buffer);
  }
  /// The cotangent of the state before a step that begins a segment, from its gradient g: nothing
  /// flows back through the step, and what an exclusive scan returned there was the identity.
  void cut(C* q, const C* g) const {
    const bool read = g && !all.plan.exclusive;
    for (std::int64_t i = 0; i < monoid.state_size(); ++i) q[i] = read ? g[i] : C(0);
  }
  /// The cotangent of the last state.
  void start(C* q, const BackwardWorkspace<Monoid>& work) const {
    store(q, all.g_last + one, monoid.state_size());
    if (all.plan.exclusive) return;
    const C* g = gradient_before(all.count, work.gradient);
    for (std::int64_t i = 0; i < monoid.state_size(); ++i) q[i] += g[i];
  }
};

// Always inlined: a function that only prefetches has no effect in gcc's eyes, and no calls either.
template <class T>
[[gnu::always_inline]] inline void prefetch(const T* block, std::int64_t n) {
  constexpr std::int64_t line = 64 / sizeof(T);
  for (std::int64_t i = n - 1; i >= 0; i -= line) __builtin_prefetch(block + i);
}

/// Asks for what step k will read. Blocks that are read forwards, one before the other, mislead the
/// hardware's own prefetch: without this the pass takes about a third longer.
template <class Monoid, class T>
[[gnu::always_inline]] inline void prefetch_step(const BackwardSequence<Monoid, T>& s,
                                                 std::int64_t k) {
  if (k < 1 || s.all.plan.reverse) return;  // reverse: memory is walked forwards
  const std::int64_t before = s.all.plan.exclusive ? k : k - 1;
  prefetch(s.all.a + s.element(k), s.monoid.size_a());
  prefetch(s.all.g + s.state(before), s.monoid.state_size());
  prefetch(s.all.states + s.state(before), s.monoid.state_size());
  if (s.all.da) prefetch(s.all.da + s.element(k), s.monoid.size_a());
}

/// da_k and db_k from the cotangent q of the state after step k.
template <class Monoid, class T>
void write_gradients(const BackwardSequence<Monoid, T>& s, std::int64_t k,
                     const typename Monoid::C* q, const BackwardWorkspace<Monoid>& work) {
  using C = typename Monoid::C;
  if (s.all.db) store(s.all.db + s.state(k), q, s.monoid.state_size());
  if (!s.all.da) return;
  T* const to = s.all.da + s.element(k);
  const C* const previous = s.previous(k, work.previous);
  if constexpr (std::is_same_v<C, T>) {
    s.monoid.element_gradient(to, previous, q);
  } else {
    s.monoid.element_gradient(work.da, previous, q);
    store(to, work.da, s.monoid.size_a());
  }
}

/// The cotangent q pulled back through steps [begin, end), last first, and the gradients met on the
/// way written where `write` says so. Returns the cotangent of the state before `begin`.
template <class Monoid, class T>
const typename Monoid::C* pull_steps(const BackwardSequence<Monoid, T>& s, std::int64_t begin,
                                     std::int64_t end, const typename Monoid::C* q, bool write,
                                     const BackwardWorkspace<Monoid>& work) {
  using C = typename Monoid::C;
  for (std::int64_t k = end - 1; k >= begin; --k) {
    prefetch_step(s, k - 1);
    if (write) write_gradients(s, k, q, work);
    C* const before = work.cotangents[q == work.cotangents[0] ? 1 : 0];
    const C* const g = s.gradient_before(k, work.gradient);
    if (s.cuts[k]) {
      s.cut(before, g);
    } else {
      const C* const a = as_compute(s.all.a + s.element(k), s.monoid.size_a(), work.a);
      s.monoid.pull(before, q, a, g);
    }
    q = before;
  }
  if (write && begin == 0 && s.all.d_initial) {
    store(s.all.d_initial + s.one, q, s.monoid.state_size());
  }
  return q;
}

template <class Monoid, class T>
void run_sequential(const BackwardTensors<Monoid, T>& scan) {
  parallel_for(scan.sequences(), scan.grain(), [&](std::int64_t begin, std::int64_t end) {
    const BackwardWorkspace<Monoid> work(scan.monoid);
    for (std::int64_t i = begin; i < end; ++i) {
      const BackwardSequence<Monoid, T> s(scan, i, work);
      s.start(work.cotangents[0], work);
      pull_steps(s, 0, scan.count, work.cotangents[0], true, work);
    }
  });
}

/// As the forward: each chunk from nothing, then what enters each chunk, then each chunk in
/// earnest.
template <class Monoid, class T>
void run_chunked(const BackwardTensors<Monoid, T>& scan) {
  using C = typename Monoid::C;
  const std::int64_t chunks = chunk_count(scan.count), length = chunk_length(scan.count);
  const std::int64_t size_a = scan.monoid.size_a(), size = scan.monoid.state_size();
  const TensorOptions options{.dtype = dtype_of<C>};
  const Tensor linear = empty({scan.sequences() * chunks, size_a}, options);
  const Tensor cotangents = empty({scan.sequences() * chunks, size}, options);
  const auto linear_of = [&](std::int64_t unit) { return linear.data<C>() + unit * size_a; };
  const auto cotangent_of = [&](std::int64_t unit) { return cotangents.data<C>() + unit * size; };

  parallel_for(scan.sequences() * chunks, 1, [&](std::int64_t first, std::int64_t last) {
    const BackwardWorkspace<Monoid> work(scan.monoid);
    for (std::int64_t unit = first; unit < last; ++unit) {
      const BackwardSequence<Monoid, T> s(scan, unit / chunks, work);
      const std::int64_t begin = unit % chunks * length, end = std::min(begin + length, scan.count);
      C* const product = linear_of(unit);
      store(product, s.all.a + s.element(begin), s.monoid.size_a());
      for (std::int64_t k = begin + 1; k < end; ++k) {
        s.monoid.combine_linear(product, product,
                                as_compute(s.all.a + s.element(k), s.monoid.size_a(), work.a));
      }
      for (std::int64_t i = 0; i < size; ++i) work.cotangents[0][i] = C(0);
      store(cotangent_of(unit), pull_steps(s, begin, end, work.cotangents[0], false, work),
            s.monoid.state_size());
    }
  });
  const BackwardWorkspace<Monoid> carrying(scan.monoid);
  for (std::int64_t i = 0; i < scan.sequences(); ++i) {
    const BackwardSequence<Monoid, T> s(scan, i, carrying);
    C *entering = carrying.cotangents[0], *next = carrying.cotangents[1];
    s.start(entering, carrying);
    for (std::int64_t unit = (i + 1) * chunks - 1; unit >= i * chunks; --unit) {
      const std::int64_t begin = unit % chunks * length, end = std::min(begin + length, scan.count);
      if (s.cuts.next(begin, end) == end) {
        s.monoid.pull(next, entering, linear_of(unit), cotangent_of(unit));
      } else {
        copy_values(next, cotangent_of(unit), s.monoid.state_size());
      }
      store(cotangent_of(unit), entering, s.monoid.state_size());
      std::swap(entering, next);
    }
  }
  parallel_for(scan.sequences() * chunks, 1, [&](std::int64_t first, std::int64_t last) {
    const BackwardWorkspace<Monoid> work(scan.monoid);
    for (std::int64_t unit = first; unit < last; ++unit) {
      const BackwardSequence<Monoid, T> s(scan, unit / chunks, work);
      const std::int64_t begin = unit % chunks * length, end = std::min(begin + length, scan.count);
      pull_steps(s, begin, end, cotangent_of(unit), true, work);
    }
  });
}

template <class T>
T* values_of(const Tensor& t) {
  return t.defined() ? t.data<T>() : nullptr;
}

// A kernel each: ScanBackwardKernel.
#define SCANGRAD_SCAN_BACKWARD_KERNEL(kernel, with_monoid)                                        \
  void kernel(const Tensor& da, const Tensor& db, const Tensor& d_initial, const Tensor& a,       \
              const Tensor& states, const Tensor& initial, const Tensor& g, const Tensor& g_last, \
              const Tensor& cuts, ScanPlan plan) {                                                \
    with_monoid(states, a, [&](auto type, auto monoid) {                                          \
      using T = typename decltype(type)::type;                                                    \
      const BackwardTensors<decltype(monoid), T> scan{                                            \
          {monoid, states, cuts}, values_of<T>(da),                                               \
          values_of<T>(db),       values_of<T>(d_initial),                                        \
          values_of<T>(a),        values_of<T>(states),                                           \
          values_of<T>(initial),  values_of<T>(g),                                                \
          values_of<T>(g_last),   plan};                                                          \
      const bool chunked = plan.algorithm == ScanAlgorithm::chunked ||                            \
                           (plan.algorithm == ScanAlgorithm::automatic && scan.few_and_long());   \
      chunked ? run_chunked(scan) : run_sequential(scan);                                         \
    });                                                                                           \
  }
SCANGRAD_SCAN_BACKWARD_KERNEL(linear_scan_backward, with_linear)
SCANGRAD_SCAN_BACKWARD_KERNEL(matmul_scan_backward, with_product)
SCANGRAD_SCAN_BACKWARD_KERNEL(affine_scan_backward, with_affine)
#undef SCANGRAD_SCAN_BACKWARD_KERNEL

}  // namespace

void fill_scan_backward(Kernels& table) {
  table.linear_scan_backward = linear_scan_backward;
  table.matmul_scan_backward = matmul_scan_backward;
  table.affine_scan_backward = affine_scan_backward;
}

}  // namespace scangrad::SCANGRAD_CPU_NAMESPACE
