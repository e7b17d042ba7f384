#include <scangrad/ops/cpu/scan_layout.h>
#include <scangrad/ops/scan.h>
#include <scangrad/ops/scan_functors.h>

namespace scangrad::SCANGRAD_CPU_NAMESPACE {
namespace {

using namespace scan_functors;

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

// A ScanKernel each; the last argument calls back with the monoid.
#define SCANGRAD_SCAN_KERNEL(kernel, ...)                                                     \
  void kernel(const Tensor& states, const Tensor& last, const Tensor& a, const Tensor& b,     \
              const Tensor& initial, const Tensor& cuts, ScanPlan plan) {                     \
    __VA_ARGS__(states, a, [&](auto type, auto monoid) {                                      \
      using T = typename decltype(type)::type;                                                \
      run(ScanTensors<decltype(monoid), T>(monoid, states, last, a, b, initial, cuts, plan)); \
    });                                                                                       \
  }
SCANGRAD_SCAN_KERNEL(linear_scan, with_linear)
SCANGRAD_SCAN_KERNEL(matmul_scan, with_product)
SCANGRAD_SCAN_KERNEL(affine_scan, with_affine)
SCANGRAD_SCAN_KERNEL(cumsum, with_lanes<Sum, NumberTypes>)
SCANGRAD_SCAN_KERNEL(cumprod, with_lanes<Product, NumberTypes>)
SCANGRAD_SCAN_KERNEL(cummax, with_lanes<Largest, NumberTypes>)
SCANGRAD_SCAN_KERNEL(cummin, with_lanes<Smallest, NumberTypes>)
SCANGRAD_SCAN_KERNEL(logcumsumexp, with_lanes<LogSumExp, FloatTypes>)
#undef SCANGRAD_SCAN_KERNEL

/// A ScaledScanKernel.
void matmul_scan_scaled(const Tensor& states, const Tensor& exponents, const Tensor& last,
                        const Tensor& last_exponent, const Tensor& m, const Tensor& initial,
                        const Tensor& initial_exponent, const Tensor& cuts, ScanPlan plan) {
  with_scaled_product(states, m, [&](auto type, auto monoid) {
    using T = typename decltype(type)::type;
    ScanTensors<decltype(monoid), T> scan(monoid, states, last, m, {}, initial, cuts, plan);
    scan.exponents = exponents.data<std::int32_t>();
    scan.last_exponent = last_exponent.data<std::int32_t>();
    if (initial_exponent.defined()) scan.initial_exponent = initial_exponent.data<std::int32_t>();
    run(scan);
  });
}

}  // namespace

void fill_scan(Kernels& table) {
  table.cumsum = cumsum;
  table.cumprod = cumprod;
  table.cummax = cummax;
  table.cummin = cummin;
  table.logcumsumexp = logcumsumexp;
  table.linear_scan = linear_scan;
  table.matmul_scan = matmul_scan;
  table.affine_scan = affine_scan;
  table.matmul_scan_scaled = matmul_scan_scaled;
}

}  // namespace scangrad::SCANGRAD_CPU_NAMESPACE
