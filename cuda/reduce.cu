#include <scangrad/core/reduction.h>
#include <scangrad/cuda/families.h>
#include <scangrad/ops/scan_functors.h>
#include <scangrad/cuda/columns.cuh>

namespace scangrad::cuda {
namespace {

using scan_functors::Largest, scan_functors::Smallest, scan_functors::Sum;

/// A monoid as a function object. The larger float, or a NaN, is one instruction.
template <class Op>
struct Combine {
  template <class A>
  __device__ A operator()(A a, A b) const {
    if constexpr (std::is_same_v<A, float> && std::is_same_v<Op, Largest>) {
      asm("max.NaN.f32 %0, %0, %1;" : "+f"(a) : "f"(b));
      return a;
    } else if constexpr (std::is_same_v<A, float> && std::is_same_v<Op, Smallest>) {
      asm("min.NaN.f32 %0, %0, %1;" : "+f"(a) : "f"(b));
      return a;
    } else {
      return Op::combine(a, b);
    }
  }
};

/// Elements of 16 bytes.
template <class T>
inline constexpr int width_of = 16 / static_cast<int>(sizeof(T));

/// Kept elements are adjacent and reduced ones are not.
bool by_columns(const ReductionPlan& p) {
  return p.kept.step(1) == 1 && p.kept.numel >= 4 && p.reduced.step(0) != 1;
}

/// Whether x can be read in packs along its adjacent dimension.
template <class T>
bool in_packs(const ReductionPlan& p, const T* from) {
  constexpr int V = width_of<T>;
  const bool columns = by_columns(p);
  bool packed = aligned<V>(from) && (columns || p.reduced.step(0) == 1);
  const auto check = [&](const auto& loop, const std::int64_t* strides, bool adjacent) {
    for (int dim = 0; dim < loop.rank; ++dim) {
      const bool along = adjacent && dim == loop.rank - 1;
      packed = packed && (along ? loop.sizes[dim] : strides[dim]) % V == 0;
    }
  };
  check(p.kept, p.kept.strides[1], columns);
  check(p.reduced, p.reduced.strides[0], !columns);
  return packed;
}

/// Each part of the reduced range, `length` of it, to its own kept.numel results in `to`.
struct Parts {
  std::int64_t count, length;
};
/// As many as fill the device, by shape alone.
template <class T>
Parts parts_of(const ReductionPlan& p) {
  const std::int64_t n = p.reduced.numel;
  std::int64_t length = n;
  if (by_columns(p)) {
    length = rows_of_a_block(n, p.kept.numel, width_of<T>);
  } else {
    const std::int64_t wanted =
        std::min(2048 / std::min<std::int64_t>(p.kept.numel, 2048), n / 4096);
    // A part's elements are counted in 32 bits.
    const std::int64_t count = std::max<std::int64_t>({wanted, n >> 30, 1});
    length = ((n + count - 1) / count + 15) / 16 * 16;  // whole packs
  }
  return {(n + length - 1) / length, length};
}

/// Where the i-th reduced element lies.
__device__ std::int64_t reduced_offset(const ReductionPlan& p, std::int64_t i) {
  std::int64_t at[1];
  offsets_of(p.reduced, i, at);
  return at[0];
}

// `even` is for packs of elements along one dimension, which take less arithmetic to find.

template <class Op, class A, int V, bool even, class Out, class T>
void reduce_by_columns(Device device, const ReductionPlan& p, Out* to, const T* from, Parts parts) {
  constexpr int width = column_lanes * V;
  const std::int64_t tiles = (p.kept.numel + width - 1) / width;
  for_each_row(device, tiles * parts.count, [=] __device__(std::int64_t unit) {
    const std::int64_t part = unit / tiles, tile = unit % tiles * width;
    const std::int64_t first = part * parts.length;
    const std::int64_t last = min(p.reduced.numel, first + parts.length);
    const std::int64_t own = tile + threadIdx.x % column_lanes * V;
    std::int64_t at[2];
    offsets_of(p.kept, own, at);
    const T* const column = from + at[1];
    reduce_columns<V, 1>(
        first, last, own < p.kept.numel, Op::template identity<A>(),
        [&](std::int64_t i) {
          return load_pack<V>(column + (even ? i * p.reduced.strides[0][0] : reduced_offset(p, i)));
        },
        [](A(&totals)[1][V], const Pack<T, V>& row) {
          for (int v = 0; v < V; ++v) {
            totals[0][v] = Combine<Op>{}(totals[0][v], A(element(row, v)));
          }
        },
        Combine<Op>{},
        [&](int j, const A(&totals)[1]) {
          if (tile + j >= p.kept.numel) return;
          std::int64_t place[2];
          offsets_of(p.kept, tile + j, place);
          to[part * p.kept.numel + place[0]] = static_cast<Out>(totals[0]);
        });
  });
}

template <class Op, class A, int V, bool even, class Out, class T>
void reduce_by_rows(Device device, const ReductionPlan& p, Out* to, const T* from, Parts parts) {
  constexpr int batch = 8;                                   // loads in flight
  const int line = 128 / (V * static_cast<int>(sizeof(T)));  // lanes that read one together
  int lanes = 1;
  while (lanes < 32 && lanes * V < parts.length &&
         (lanes < line || lanes * V * batch < parts.length)) {
    lanes *= 2;
  }
  if (parts.length > 2 * lanes * V * batch) lanes = block_threads;
  const std::int64_t rows = p.kept.numel * parts.count;
  for_each_row_lane(device, rows, lanes, [=] __device__(std::int64_t r, int lane) {
    const std::int64_t part = parts.count == 1 ? 0 : r / p.kept.numel;
    const std::int64_t kept = r - part * p.kept.numel, first = part * parts.length;
    const std::int64_t last = r < rows ? min(p.reduced.numel, first + parts.length) : 0;
    std::int64_t at[2];
    offsets_of(p.kept, kept, at);
    const T* const row = from + at[1];
    const Combine<Op> combine;
    A totals[V];
    for (int v = 0; v < V; ++v) totals[v] = Op::template identity<A>();
    const unsigned step = lanes * V,
                   length = static_cast<unsigned>(max(last - first, std::int64_t{0}));
    for (unsigned i = lane * V; i < length; i += batch * step) {
      Pack<T, V> packs[batch];
#pragma unroll
      for (int b = 0; b < batch; ++b) {
        const unsigned j = i + b * step;
        if (j >= length) continue;
        packs[b] = load_pack<V>(row + (even ? first + j : reduced_offset(p, first + j)));
      }
#pragma unroll
      for (int b = 0; b < batch; ++b) {
        if (i + b * step >= length) continue;
        for (int v = 0; v < V; ++v) totals[v] = combine(totals[v], A(element(packs[b], v)));
      }
    }
    A total = totals[0];
    for (int v = 1; v < V; ++v) total = combine(total, totals[v]);
    total = reduce_lanes(lanes, total, Op::template identity<A>(), combine);
    if (lane == 0 && r < rows) to[part * p.kept.numel + at[0]] = static_cast<Out>(total);
  });
}

template <class Op, class A, int V, bool even, class Out, class T>
void reduce_in(Device device, const ReductionPlan& p, Out* to, const T* from, Parts parts) {
  if (by_columns(p)) return reduce_by_columns<Op, A, V, even>(device, p, to, from, parts);
  reduce_by_rows<Op, A, V, even>(device, p, to, from, parts);
}
template <class Op, class A, class Out, class T>
void reduce_pass(Device device, const ReductionPlan& p, Out* to, const T* from, Parts parts) {
  constexpr int V = width_of<T>;
  if (!in_packs(p, from)) return reduce_in<Op, A, 1, false>(device, p, to, from, parts);
  if (p.reduced.rank > 1) return reduce_in<Op, A, V, false>(device, p, to, from, parts);
  reduce_in<Op, A, V, true>(device, p, to, from, parts);
}

template <class Op, class T>
void reduce_typed(const Tensor& out, const Tensor& x) {
  using A = compute_type<T>;
  const Device device = x.device();
  const ReductionPlan p = reduction(out, x);
  const Parts parts = parts_of<T>(p);
  if (parts.count == 1) return reduce_pass<Op, A>(device, p, out.data<T>(), x.data<T>(), parts);

  const Tensor scratch = empty({parts.count, p.kept.numel}, {dtype_of<A>, device});
  const SplitReduction passes = split(p, parts.count);
  const A* const partial = scratch.data<A>();
  reduce_pass<Op, A>(device, passes.to_scratch, scratch.data<A>(), x.data<T>(), parts);
  reduce_pass<Op, A>(device, passes.from_scratch, out.data<T>(), partial, {1, parts.count});
}

template <class Op, class Types>
void reduce(const Tensor& out, const Tensor& x) {
  dispatch(Types{}, x.dtype(),
           [&](auto tag) { reduce_typed<Op, typename decltype(tag)::type>(out, x); });
}

/// A value and where it was; the earlier one of equals, the first NaN before all.
template <class Op, class C>
struct BestOf {
  C value;
  std::int64_t place;
  __device__ BestOf after(const BestOf& other) const {
    const bool nan = value != value, other_nan = other.value != other.value;
    if (nan || other_nan) return nan && (!other_nan || place < other.place) ? *this : other;
    if (value == other.value) return place < other.place ? *this : other;
    return Op::combine(value, other.value) == value ? *this : other;
  }
};

/// Several threads a line where its elements are adjacent, one where its neighbours' are.
template <class Op, class T>
void along_typed(const Tensor& values, const Tensor& indices, const Tensor& x) {
  using C = compute_type<T>;
  const std::int64_t n = x.shape()[1], inner = x.shape()[2], lines = x.shape()[0] * inner;
  const int lanes = inner == 1 && n > 1 ? 32 : 1;
  const T* const from = x.data<T>();
  T* const best = values.data<T>();
  std::int64_t* const place = indices.data<std::int64_t>();
  for_each_row_lane(x.device(), lines, lanes, [=] __device__(std::int64_t r, int lane) {
    const std::int64_t line = min(r, lines - 1);
    const T* const first = from + line / inner * n * inner + line % inner;
    const auto at = [=](std::int64_t j) { return BestOf<Op, C>{C(first[j * inner]), j}; };
    BestOf<Op, C> found = at(min(std::int64_t{lane}, n - 1));
#pragma unroll 4
    for (std::int64_t j = lane + lanes; j < n; j += lanes) found = found.after(at(j));
    for (int other = lanes / 2; other > 0; other /= 2) {
      found = found.after(
          {static_cast<C>(__shfl_xor_sync(0xFFFFFFFFu, found.value, other)),
           static_cast<std::int64_t>(__shfl_xor_sync(0xFFFFFFFFu, found.place, other))});
    }
    if (lane != 0 || r >= lines) return;
    best[line] = static_cast<T>(found.value);
    place[line] = found.place;
  });
}

template <class Op>
void along(const Tensor& values, const Tensor& indices, const Tensor& x) {
  dispatch(AllTypes{}, x.dtype(),
           [&](auto tag) { along_typed<Op, typename decltype(tag)::type>(values, indices, x); });
}

}  // namespace

void fill_reduce(Kernels& table) {
  table.sum = reduce<Sum, NumberTypes>;
  table.amax = reduce<Largest, AllTypes>;
  table.amin = reduce<Smallest, AllTypes>;
  table.max_along = along<Largest>;
  table.min_along = along<Smallest>;
}

}  // namespace scangrad::cuda
