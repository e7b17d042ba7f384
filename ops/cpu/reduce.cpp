#include <scangrad/core/reduction.h>
#include <scangrad/ops/cpu/level.h>
#include <scangrad/ops/scan_functors.h>

namespace scangrad::SCANGRAD_CPU_NAMESPACE {
namespace {

using scan_functors::Largest, scan_functors::Smallest, scan_functors::Sum;

constexpr std::int64_t tile = 512;  // columns reduced together; their totals stay in the L1 cache

/// One reduction, and how its work is cut.
struct ReducePlan : ReductionPlan {
  /// Kept elements are adjacent in memory and reduced ones are not: whole rows are added up.
  bool by_columns() const { return kept.step(1) == 1 && kept.row() >= 4 && reduced.step(0) != 1; }
  std::int64_t tiles_per_row() const { return (kept.row() + tile - 1) / tile; }
  std::int64_t units() const {
    return by_columns() ? kept.numel / kept.row() * tiles_per_row() : kept.numel;
  }
  /// Parts into which the reduced range is split where the kept one is too small to feed all
  /// threads: a matter of shape alone, so that the number of threads does not change the result.
  std::int64_t chunks() const {
    constexpr std::int64_t enough = 64, work = 32768;
    if (units() >= enough) return 1;
    const std::int64_t longest = reduced.numel / (by_columns() ? 64 : 4096);
    const std::int64_t wanted = std::min(kept.numel * reduced.numel / work, longest);
    return std::max<std::int64_t>(1, std::min<std::int64_t>(wanted, 256));
  }
};

// A running sum of n equal terms drifts by up to n/2 units in the last place. So 32 interleaved
// parts (which also vectorise) are added up over blocks, and the blocks' totals separately.
constexpr int width = 32;
constexpr std::int64_t slow_block = 32;    // of values that are not adjacent
constexpr std::int64_t run_block = 1024;   // of adjacent values
constexpr std::int64_t column_block = 64;  // of rows

/// width ≤ n ≤ run_block adjacent values.
template <class Op, class A, class T>
A reduce_block(const T* x, std::int64_t n) {
  using C = compute_type<T>;
  A parts[width];
  for (int j = 0; j < width; ++j) parts[j] = A(C(x[j]));
  std::int64_t i = width;
  for (; i + width <= n; i += width) {
#pragma omp simd
    for (int j = 0; j < width; ++j) parts[j] = Op::combine(parts[j], A(C(x[i + j])));
  }
  for (; i < n; ++i) parts[i % width] = Op::combine(parts[i % width], A(C(x[i])));
  for (int half = width / 2; half > 0; half /= 2) {
    for (int j = 0; j < half; ++j) parts[j] = Op::combine(parts[j], parts[j + half]);
  }
  return parts[0];
}

template <class Op, class A, class T>
A reduce_run(const T* x, std::int64_t n, std::int64_t step) {
  using C = compute_type<T>;
  A total = Op::template identity<A>();
  std::int64_t i = 0;
  for (; step == 1 && n - i >= width; i += std::min(run_block, n - i)) {
    total = Op::combine(total, reduce_block<Op, A>(x + i, std::min(run_block, n - i)));
  }
  while (i < n) {
    A part = Op::template identity<A>();
    for (const std::int64_t stop = std::min(n, i + slow_block); i < stop; ++i) {
      part = Op::combine(part, A(C(x[i * step])));
    }
    total = Op::combine(total, part);
  }
  return total;
}

/// `count` ≤ tile adjacent columns over the reduced range [begin, end), four rows at a time.
template <class Op, class A, class T>
void reduce_columns(const StridedLoop<1>& reduced, std::int64_t begin, std::int64_t end, const T* x,
                    std::int64_t count, A* totals) {
  using C = compute_type<T>;
  const std::int64_t step = reduced.step(0);
  A parts[tile];
  for (std::int64_t j = 0; j < count; ++j) totals[j] = Op::template identity<A>();
  for (; begin < end; begin += column_block) {
    for (std::int64_t j = 0; j < count; ++j) parts[j] = Op::template identity<A>();
    const std::int64_t stop = std::min(end, begin + column_block);
    for_each_row(reduced, begin, stop, [&](std::int64_t rows, const std::int64_t* at) {
      const T* row = x + at[0];
      std::int64_t i = 0;
      for (; i + 4 <= rows; i += 4, row += 4 * step) {
#pragma omp simd
        for (std::int64_t j = 0; j < count; ++j) {
          A part = Op::combine(parts[j], A(C(row[j])));
          part = Op::combine(part, A(C(row[step + j])));
          part = Op::combine(part, A(C(row[2 * step + j])));
          parts[j] = Op::combine(part, A(C(row[3 * step + j])));
        }
      }
      for (; i < rows; ++i, row += step) {
#pragma omp simd
        for (std::int64_t j = 0; j < count; ++j) parts[j] = Op::combine(parts[j], A(C(row[j])));
      }
    });
    for (std::int64_t j = 0; j < count; ++j) totals[j] = Op::combine(totals[j], parts[j]);
  }
}

/// Each of `chunks` parts of the reduced range to its own `kept.numel` results in `to`.
template <class Op, class A, class Out, class T>
void reduce_pass(const ReducePlan& p, Out* to, const T* from, std::int64_t chunks) {
  const std::int64_t chunk = (p.reduced.numel + chunks - 1) / chunks;
  const std::int64_t units = p.units(), per_row = p.tiles_per_row();
  const bool columns = p.by_columns();
  const std::int64_t unit_work = p.kept.numel / units * chunk;
  const std::int64_t grain =
      std::max<std::int64_t>(1, 16384 / std::max<std::int64_t>(1, unit_work));
  parallel_for(units * chunks, grain, [&](std::int64_t begin, std::int64_t end) {
    while (begin < end) {
      const std::int64_t part = begin / units, unit = begin % units;
      const std::int64_t first = part * chunk, last = std::min(p.reduced.numel, first + chunk);
      Out* const out = to + part * p.kept.numel;
      if (columns) {
        A totals[tile];
        const std::int64_t column = unit % per_row * tile;
        const std::int64_t count = std::min(tile, p.kept.row() - column);
        const std::int64_t element = unit / per_row * p.kept.row() + column;
        for_each_row(p.kept, element, element + count, [&](std::int64_t n, const std::int64_t* at) {
          reduce_columns<Op>(p.reduced, first, last, from + at[1], n, totals);
          for (std::int64_t j = 0; j < n; ++j) {
            out[at[0] + j * p.kept.step(0)] = static_cast<Out>(totals[j]);
          }
        });
        ++begin;
        continue;
      }
      const std::int64_t stop = std::min(units, unit + end - begin);
      for_each_row(p.kept, unit, stop, [&](std::int64_t n, const std::int64_t* at) {
        for (std::int64_t j = 0; j < n; ++j) {
          const T* const x = from + at[1] + j * p.kept.step(1);
          A total = Op::template identity<A>();
          for_each_row(p.reduced, first, last, [&](std::int64_t count, const std::int64_t* offset) {
            total = Op::combine(total, reduce_run<Op, A>(x + offset[0], count, p.reduced.step(0)));
          });
          out[at[0] + j * p.kept.step(0)] = static_cast<Out>(total);
        }
      });
      begin += stop - unit;
    }
  });
}

template <class Op, class T>
void reduce_typed(const Tensor& out, const Tensor& x) {
  using A = compute_type<T>;
  const ReducePlan p{reduction(out, x)};
  const std::int64_t chunks = p.chunks();
  if (chunks == 1) return reduce_pass<Op, A>(p, out.data<T>(), x.data<T>(), 1);

  const Tensor scratch = empty({chunks, p.kept.numel}, {dtype_of<A>, out.device()});
  const SplitReduction passes = split(p, chunks);
  reduce_pass<Op, A>(ReducePlan{passes.to_scratch}, scratch.data<A>(), x.data<T>(), chunks);
  reduce_pass<Op, A>(ReducePlan{passes.from_scratch}, out.data<T>(),
                     static_cast<const A*>(scratch.data<A>()), 1);
}

template <class Op, class Types>
void reduce(const Tensor& out, const Tensor& x) {
  dispatch(Types{}, x.dtype(),
           [&](auto tag) { reduce_typed<Op, typename decltype(tag)::type>(out, x); });
}

/// The first place of the best of each run of n along the middle dimension; the first NaN, if any.
template <class Op>
void along(const Tensor& values, const Tensor& indices, const Tensor& x) {
  const std::int64_t n = x.shape()[1], inner = x.shape()[2];
  dispatch(AllTypes{}, x.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    using C = compute_type<T>;
    T* const best_of = values.data<T>();
    std::int64_t* const place_of = indices.data<std::int64_t>();
    const std::int64_t width = std::min(inner, tile), tiles = (inner + width - 1) / width;
    const std::int64_t grain = std::max<std::int64_t>(1, 16384 / (n * width));
    parallel_for(x.shape()[0] * tiles, grain, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t t = begin; t < end; ++t) {
        const std::int64_t outer = t / tiles, column = t % tiles * width;
        const std::int64_t count = std::min(width, inner - column);
        const T* const from = x.data<T>() + outer * n * inner + column;
        T* const best = best_of + outer * inner + column;
        std::int64_t* const place = place_of + outer * inner + column;
        if (inner == 1) {
          const C value = reduce_run<Op, C>(from, n, 1);
          std::int64_t i = 0;
          while (i + 1 < n && !(C(from[i]) == value || from[i] != from[i])) ++i;
          best[0] = from[i];
          place[0] = i;
          continue;
        }
        for (std::int64_t j = 0; j < count; ++j) {
          best[j] = from[j];
          place[j] = 0;
        }
        for (std::int64_t i = 1; i < n; ++i) {
          const T* const row = from + i * inner;
          for (std::int64_t j = 0; j < count; ++j) {
            const C old = C(best[j]), now = Op::combine(old, C(row[j]));
            const bool better = now != old && old == old;
            place[j] = better ? i : place[j];
            best[j] = static_cast<T>(now);
          }
        }
      }
    });
  });
}

}  // namespace

void fill_reduce(Kernels& table) {
  table.sum = reduce<Sum, NumberTypes>;
  table.amax = reduce<Largest, AllTypes>;
  table.amin = reduce<Smallest, AllTypes>;
  table.max_along = along<Largest>;
  table.min_along = along<Smallest>;
}

}  // namespace scangrad::SCANGRAD_CPU_NAMESPACE
