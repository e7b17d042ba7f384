#pragma once
#include <scangrad/ops/vector_math.h>
#include <scangrad/cuda/launch.cuh>

#include <type_traits>

// Rows in registers: each is read from memory once, by a few lanes of a warp or by a block, and
// what softmax, norms and losses need of it is computed from there.
namespace scangrad::cuda {

/// A value for each column that may be left out.
template <class T>
struct Parameter {
  using C = compute_type<T>;
  const T* data;
  C absent;

  template <int V>
  __device__ Pack<C, V> load(std::int64_t first) const {
    Pack<C, V> values;
    if (data != nullptr) {
      const Pack<T, V> pack = load_pack<V>(data + first);
      for (int v = 0; v < V; ++v) values.values[v] = element(pack, v);
    } else {
      for (int v = 0; v < V; ++v) values.values[v] = absent;
    }
    return values;
  }
};

/// What one of `lanes` threads has of N rows of one length: packs of V elements, every `lanes`-th.
/// Of rows that fit, all is `kept`; longer ones are read anew each time, tile after tile. Functions
/// that return a total are called by all lanes.
template <class T, int V, int N, bool kept>
struct RowLane {
  using C = compute_type<T>;
  using Index = std::conditional_t<kept, int, std::int64_t>;
  static constexpr int slots = V > 1 ? 32 / V : kept ? 16 : 8;

  const T* rows[N];
  Index n;     // elements; 0 where there is no such row
  Index read;  // those before the rest, which is stored only
  int lanes, lane;
  Pack<T, V> held[slots][N];

  __device__ void load(Index tile) {
    for_each_slot(tile, read, [&](int s, Index first) {
      for (int k = 0; k < N; ++k) held[s][k] = load_pack<V>(rows[k] + first);
    });
  }
  /// f(tile) for each tile of [0, end), when it is in registers.
  template <class F>
  __device__ void for_each_tile(Index end, const F& f) {
    for (Index tile = 0; tile < end; tile += slots * lanes * V) {
      if (!kept) load(tile);
      f(tile);
      if (kept) break;
    }
  }
  /// f(s, first) for the packs of a tile; `first` is the column of slot s.
  template <class F>
  __device__ void for_each_slot(Index tile, Index end, const F& f) const {
    const auto visit = [&](auto whole) {
#pragma unroll
      for (int s = 0; s < slots; ++s) {
        const Index first = tile + (lane + s * lanes) * V;
        if (whole || first < end) f(s, first);
      }
    };
    // Tests would keep the slots' arithmetic apart, and that of 2-byte elements has no time to
    // spare.
    if (V > 1 && tile + slots * lanes * V <= end) return visit(std::true_type{});
    visit(std::false_type{});
  }
  /// f(j, x …, p …) for element v of a slot, with what the N rows and the parameters have there.
  template <class F, class... Packs>
  __device__ auto apply(const F& f, int s, Index first, int v, const Packs&... packs) const {
    if constexpr (N == 1) {
      return f(first + v, element(held[s][0], v), packs.values[v]...);
    } else {
      return f(first + v, element(held[s][0], v), element(held[s][1], v), packs.values[v]...);
    }
  }
  /// f(j, x …, p …) for what is read of a tile.
  template <class F, class... P>
  __device__ void for_each_in_tile(Index tile, const F& f, const P&... parameters) const {
    for_each_slot(tile, read, [&](int s, Index first) {
      const auto use = [&](const auto&... packs) {
        for (int v = 0; v < V; ++v) apply(f, s, first, v, packs...);
      };
      use(parameters.template load<V>(first)...);
    });
  }

  /// f(j, x …, p …) for what is read of the row.
  template <class F, class... P>
  __device__ void for_each(const F& f, const P&... parameters) {
    for_each_tile(read, [&](Index tile) { for_each_in_tile(tile, f, parameters...); });
  }
  /// out[j] = f(j, x …, p …) for the whole row.
  template <class F, class... P>
  __device__ void store(T* out, const F& f, const P&... parameters) {
    for_each_tile(n, [&](Index tile) {
      for_each_slot(tile, n, [&](int s, Index first) {
        const auto use = [&](const auto&... packs) {
          Pack<T, V> result;
          for (int v = 0; v < V; ++v) result.values[v] = T(apply(f, s, first, v, packs...));
          store_pack(out + first, result);
        };
        use(parameters.template load<V>(first)...);
      });
    });
  }
  /// Σ of the lanes' values.
  __device__ C total(C value) const {
    return reduce_lanes(lanes, value, C(0), [](C a, C b) { return a + b; });
  }
  template <class F>
  __device__ C sum(const F& f) {
    C value = 0;
    for_each([&](Index j, auto... x) { value += f(j, x...); });
    return total(value);
  }
  /// One lane of each row.
  __device__ bool first_lane() const { return lane == 0 && n > 0; }
};

/// eˣ as exactly as T needs it: for bf16 one instruction's 22 bits, denormal results being 0.
template <class T>
__device__ compute_type<T> exp_for(compute_type<T> x) {
  if constexpr (std::is_same_v<T, bfloat16>) {
    constexpr float log2_e = 1.44269504f;
    return functors::math::quick_exp2(x * log2_e);
  } else {
    return functors::math::exp(x);
  }
}

/// The larger of both, b being passed over if it is NaN: one instruction for float, not for double.
template <class C>
__device__ C larger(C a, C b) {
  if constexpr (std::is_same_v<C, float>) return fmaxf(a, b);
  return b > a ? b : a;
}

/// The largest value(j, x) of a row, −∞ if there is none, and the Σ e^{value − largest}, in one
/// reading. NaN is passed over by the maximum and makes the sum NaN.
template <class C>
struct SoftmaxSums {
  C largest, total;
};
template <class T, int V, bool kept, class Value>
__device__ SoftmaxSums<compute_type<T>> softmax_sums(RowLane<T, V, 1, kept>& row,
                                                     const Value& value) {
  using C = compute_type<T>;
  using Index = typename RowLane<T, V, 1, kept>::Index;
  constexpr C nothing = -std::numeric_limits<C>::infinity();
  C largest = nothing, total = 0;
  row.for_each_tile(row.read, [&](Index tile) {
    C most = largest;
    row.for_each_in_tile(tile, [&](Index j, C x) { most = larger(most, value(j, x)); });
    const C shift = most == nothing ? C(0) : most;
    if (!kept && largest != nothing) total *= exp_for<T>(largest - shift);
    row.for_each_in_tile(tile, [&](Index j, C x) { total += exp_for<T>(value(j, x) - shift); });
    largest = most;
  });
  const C all = reduce_lanes(row.lanes, largest, nothing, [](C a, C b) { return larger(a, b); });
  if (largest != nothing) total *= exp_for<T>(largest - all);
  return {all, row.total(total)};
}

/// Elements of a pack in a row; f64 fills the bus one by one.
template <class T>
inline constexpr int row_width = sizeof(T) == 8 ? 1 : 16 / static_cast<int>(sizeof(T));

/// Whether rows of n elements can be read and written in packs.
template <class T, class... Data>
bool rows_in_packs(std::int64_t n, const Data*... data) {
  return n % row_width<T> == 0 && (aligned<row_width<T>>(data) && ...);
}

struct WholeRow {
  std::int64_t n;
  __device__ std::int64_t operator()(std::int64_t) const { return n; }
};

template <int V, bool kept, class T, int N, class Read, class F>
void for_each_row_of(Device device, std::int64_t rows, std::int64_t n, int lanes,
                     const Operands<T, N>& inputs, const Read& read, const F& f) {
  for_each_row_lane(device, rows, lanes, [=] __device__(std::int64_t r, int lane) {
    using Row = RowLane<T, V, N, kept>;
    const std::int64_t own = min(r, rows - 1);
    Row row;
    for (int k = 0; k < N; ++k) row.rows[k] = inputs.data[k] + own * n;
    row.n = static_cast<typename Row::Index>(r < rows ? n : 0);
    row.read = static_cast<typename Row::Index>(r < rows ? read(own) : 0);
    row.lanes = lanes;
    row.lane = lane;
    if (kept) row.load(0);
    f(row, own);
  });
}

/// f(row, r) for the lanes of each row r of N inputs (rows, n), of which read(r) elements matter.
/// Where there is no row r, f is called for reductions with one that has n = 0, and a lesser r.
template <class T, int N, class F, class Read>
void for_each_row_in_registers(Device device, std::int64_t rows, std::int64_t n, bool packed,
                               const Operands<T, N>& inputs, const F& f, const Read& read) {
  const auto run = [&](auto width) {
    constexpr int V = decltype(width)::value;
    constexpr int slots = RowLane<T, V, N, true>::slots;
    const std::int64_t packs = n / V;
    const int line = 128 / (V * static_cast<int>(sizeof(T)));  // lanes that read one together
    int lanes = 1;
    while (lanes < 32 && lanes < packs && (lanes < line || lanes * slots < packs)) lanes *= 2;
    if (lanes * slots < packs) lanes = block_threads;
    if (lanes * slots < packs) {
      for_each_row_of<V, false>(device, rows, n, lanes, inputs, read, f);
    } else {
      for_each_row_of<V, true>(device, rows, n, lanes, inputs, read, f);
    }
  };
  if (row_width < T >> 1 && packed) return run(std::integral_constant<int, row_width<T>>{});
  run(std::integral_constant<int, 1>{});
}
template <class T, int N, class F>
void for_each_row_in_registers(Device device, std::int64_t rows, std::int64_t n, bool packed,
                               const Operands<T, N>& inputs, const F& f) {
  for_each_row_in_registers(device, rows, n, packed, inputs, f, WholeRow{n});
}

}  // namespace scangrad::cuda
