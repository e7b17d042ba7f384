#pragma once
// Scans of sequences that lie side by side (inner > 1). Tiles pass through shared memory, whose
// rows are pieces of memory; neighbouring threads have neighbouring sequences. A warp loads what
// its own threads scan, some steps of all its runs after another, and multiplies out what is there
// while the rest is on its way.
#include <scangrad/cuda/scan_chain.cuh>

#include <cuda_pipeline.h>

#include <type_traits>

namespace scangrad::cuda {

/// How a tile is cut: `across` threads have V adjacent sequences each, and scan_threads/across runs
/// of each sequence follow one another.
struct ColumnTiles {
  std::int64_t tiles, columns;  // tiles of a sequence; tiles side by side
  int across, length;           // `length` steps to a run
  bool packs;                   // rows of a tile may be loaded in packs of 16 bytes

  /// Rows of a tile in shared memory that a run takes. Where a warp has runs side by side, one
  /// more than its steps: they lie in different banks.
  __host__ __device__ int rows() const { return across < 32 ? length + 1 : length; }
};

/// Sequences and steps that a thread has of each operand: 64 KB a tile of one, 32 KB of each of
/// several. A few large tiles for a multiprocessor do better than many small ones, as what a thread
/// has to do beside the steps weighs less.
template <class P>
struct ColumnRun {
  using T = typename P::Value;
  static constexpr int wide = sizeof(T) == 2 ? 2 : 1;  // a warp's row has at least 128 bytes
  static constexpr int most = (P::inputs == 1 ? 256 : 128) / (wide * sizeof(T));  // steps
  static constexpr int blocks = P::inputs == 3 ? 2 : 3;  // of a multiprocessor
  static constexpr int at_once = 16;                     // steps that are loaded, and unrolled
  static_assert(most % at_once == 0 && most <= 64);
};

/// A block scans its sequences tile by tile, or one tile of a chain. Steps are combined twice,
/// first for the run's product, then from the state that enters the run. `fixed_across` is 0, or
/// what `tiles.across` always is; V is 1 or ColumnRun's.
template <class P, int V, int fixed_across>
__global__ void __launch_bounds__(scan_threads, ColumnRun<P>::blocks)
    scan_columns_kernel(const P scan, const ColumnTiles tiles,
                        const Chain<typename P::Monoid> chain) {
  using M = typename P::Monoid;
  using C = typename P::C;
  using T = typename P::Value;
  constexpr int pack = 16 / sizeof(T);
  constexpr int at_once = ColumnRun<P>::at_once;
  extern __shared__ __align__(16) unsigned char tile_memory[];
  T* const data = reinterpret_cast<T*>(tile_memory);
  __shared__ Segment<M> parts[scan_threads * V];
  const Sequences& sequences = scan.sequences;
  const int across = fixed_across > 0 ? fixed_across : tiles.across, width = across * V;
  const int length = tiles.length, rows = fixed_across == 32 ? length : tiles.rows();
  const int steps = scan_threads / across * length, size = scan_threads * V * rows;  // of a tile
  const int thread = static_cast<int>(threadIdx.x), lane = thread % 32, slot = thread / across,
            column = thread % across * V;
  std::int64_t tile = 0, end = tiles.tiles, block = blockIdx.x;
  if (chain.used()) {  // all columns' first tiles, then all second ones: chains seldom wait
    const unsigned columns = static_cast<unsigned>(tiles.columns);
    tile = blockIdx.x / columns;
    block = blockIdx.x % columns;
    end = tile + 1;
  }
  const std::int64_t stride = sequences.stride();
  /// The warp's part of the tile from step k on, `wide` adjacent values by each thread.
  const auto load = [&](auto wide, std::int64_t k) {
    constexpr int bytes = wide * static_cast<int>(sizeof(T));
    const int in_warp = std::min(across, 32), slots = 32 / in_warp,
              first_slot = (thread - lane) / across;
    const int a_row = in_warp * V / wide, rows_each = 32 / a_row, row = lane / a_row;
    const int at = (thread - lane) % across * V + lane % a_row * wide;
    const std::int64_t s = block * width + at;
    const std::int64_t first = s < sequences.number ? sequences.first(s) + k * stride : 0;
    /// Steps from `begin` on of each run.
    const auto copy = [&](int i, int slot, int begin) {
      const int place = slot * length + begin + scan.lead(i);
      const T* from = scan.in[i] + first + (place + row) * stride;
      T* to = data + i * size + (slot * rows + begin + row) * width + at;
      const std::int64_t step = k + place;
      with_constant(step >= 0 && step + at_once <= sequences.count, [&](auto whole) {
#pragma unroll
        for (int r = 0; r < at_once; r += rows_each) {
          if ((rows_each <= at_once || row < at_once) &&
              (whole || (step + row + r >= 0 && step + row + r < sequences.count))) {
            if constexpr (bytes >= 4) {
              __pipeline_memcpy_async(to, from, bytes);
            } else {
              *to = *from;
            }
          }
          from += rows_each * stride;
          to += rows_each * width;
        }
      });
    };
#pragma unroll 1
    for (int begin = 0; begin < length; begin += at_once) {
      if (s < sequences.number) {
        for (int slot = first_slot; slot < first_slot + slots; ++slot) {
#pragma unroll
          for (int i = 0; i < P::inputs; ++i) copy(i, slot, begin);
        }
      }
      __pipeline_commit();
    }
  };
  /// Waits until the steps from `begin` on are there.
  const auto arrive = [&](int begin) {
    __pipeline_wait_prior(static_cast<unsigned>((length - begin) / at_once - 1));
    __syncwarp();
  };
  const std::int64_t s = block * width + column;
  const bool active = s < sequences.number;
  Segment<M> carry[V];
  for (Segment<M>& x : carry) x = nothing<M>();
  for (; tile < end; ++tile) {
    if (tiles.packs) {
      load(std::integral_constant<int, pack>{}, tile * steps);
    } else {
      load(std::integral_constant<int, V>{}, tile * steps);
    }
    const std::int64_t k = tile * steps + slot * length;
    const std::int64_t left = active ? sequences.count - k : 0;
    const std::int64_t first = active ? sequences.first(s) + k * stride : 0;
    const bool* cut = nullptr;
    std::int64_t cut_stride = 0;
    if (active && sequences.cuts != nullptr) {
      cut_stride = sequences.from_end ? -sequences.groups : sequences.groups;
      cut = sequences.cuts + sequences.first_cut(s) + k * cut_stride;
    }
    // Of a run wholly beyond the end nothing is asked.
    const Marks marks = marks_of(sequences, P::backwards, s, left > 0 ? k : 0, length,
                                 low_bits(left), cut, cut_stride);
    const bool plain = __all_sync(0xFFFFFFFFu, marks.plain(length));

    const T* const own = data + slot * rows * width + column;
    /// f(v, marks, r, x) for the thread's sequences v at step r.
    const auto step = [&](Marks at, int bit, int r, const auto& f) {
      C values[P::inputs][V];
      for (int i = 0; i < P::inputs; ++i) {
        widen(values[i], load_pack<V>(own + i * size + r * width));
      }
#pragma unroll
      for (int v = 0; v < V; ++v, ++at.sequence) {
        C x[P::inputs];
        for (int i = 0; i < P::inputs; ++i) x[i] = values[i][v];
        f(v, at, bit, x);
      }
    };
    /// The same for each step of plain runs, and done() after it; start(begin) before the `at_once`
    /// steps from `begin` on.
    const auto each_plain = [&](const auto& start, const auto& f, const auto& done) {
#pragma unroll 1
      for (int begin = 0; begin < length; begin += at_once) {
        start(begin);
#pragma unroll
        for (int r = 0; r < at_once; ++r) {
          const bool first = r == 0 && begin == 0;
          const bool last = r + 1 == at_once && begin + at_once == length;
          step(marks.of_step(first, last, length), 0, begin + r, f);
          done();
        }
      }
    };
    /// The same of any.
    const auto each = [&](const auto& f, const auto& done) {
#pragma unroll 1
      for (int r = 0; r < length && r < left; ++r) {
        step(marks, r, r, f);
        done();
      }
    };
    Segment<M> product[V];
    for (Segment<M>& p : product) p = nothing<M>();
    C first_values[V];
    arrive(plain ? 0 : length - at_once);
    widen(first_values, load_pack<V>(own));
    if (plain) {
      multiply_plain(product, scan, marks, first_values,
                     [&](const auto& f) { each_plain(arrive, f, [] {}); });
    } else {
      each([&](int v, const Marks& at, int r,
               const C(&x)[P::inputs]) { multiply_step(product[v], scan, at, r, x); },
           [] {});
    }
    const TileProducts<M, V> products(product, across, parts);
    if (chain.used()) {
      __syncthreads();  // parts have been read
      chain.before(carry, block, tile, products.tile, across, parts);
    }
    typename M::Element state[V];
#pragma unroll
    for (int v = 0; v < V; ++v) {
      state[v] = combine(carry[v], products.before[v]).total;
      carry[v] = combine(carry[v], products.tile[v]);
    }
    const std::int64_t bytes = stride * static_cast<std::int64_t>(sizeof(T));
    char* to[P::outputs];
    for (int i = 0; i < P::outputs; ++i) to[i] = reinterpret_cast<char*>(scan.out[i] + first);
    C results[P::outputs][V];
    const auto walk = [&](auto plain, auto appends) {
      return [&, plain, appends](int v, const Marks& at, int r, const C(&x)[P::inputs]) {
        C y[P::outputs];
        if constexpr (plain) {
          walk_inside<appends>(state[v], y, scan, at, r, x);
        } else {
          walk_step(state[v], y, scan, at, r, x);
        }
        for (int i = 0; i < P::outputs; ++i) results[i][v] = y[i];
      };
    };
    const auto store = [&] {
      for (int i = 0; i < P::outputs; ++i) {
        if (scan.out[i] != nullptr) {
          store_pack<V>(reinterpret_cast<T*>(to[i]), rounded<T>(results[i]));
        }
        to[i] += bytes;
      }
    };
    constexpr std::true_type yes;
    constexpr std::false_type no;
    if (plain) {
      const auto walk_plain = [&](auto appends) {
        each_plain([](int) {}, walk(yes, appends), store);
      };
      const bool appends = enter_plain(state, scan, marks, first_values, product);
      if constexpr (Appending<M>) {
        with_constant(appends, walk_plain);
      } else {
        walk_plain(no);
      }
      leave_plain(state, scan, marks, length);
    } else {
      each(walk(no, no), store);
    }
    if (tile + 1 < end) __syncthreads();  // before the next tile is loaded
  }
}

template <class P, int V>
void scan_columns_by(Device device, const P& scan) {
  using M = typename P::Monoid;
  using T = typename P::Value;
  constexpr int pack = 16 / sizeof(T), at_once = ColumnRun<P>::at_once;
  const auto up_to = [](std::int64_t n, int most) {  // the power of two that reaches n, or `most`
    int power = 1;
    while (power < n && power < most) power *= 2;
    return power;
  };
  const Sequences& sequences = scan.sequences;
  // Of short sequences runs are no longer than has to be.
  const int length = static_cast<int>(std::min<std::int64_t>(
      (sequences.count + at_once - 1) / at_once * at_once, ColumnRun<P>::most));
  const int runs = up_to((sequences.count + length - 1) / length, scan_threads / 32);
  const int across = up_to(sequences.number / V, scan_threads / runs), width = across * V;
  const std::int64_t steps = std::int64_t{scan_threads} / across * length;
  ColumnTiles tiles{(sequences.count + steps - 1) / steps, (sequences.number + width - 1) / width,
                    across, length, width % pack == 0 && sequences.inner % pack == 0};
  for (const T* in : scan.in) tiles.packs = tiles.packs && aligned<pack>(in);
  const DeviceGuard guard(device.index);
  const auto start = [&](std::int64_t blocks, const Chain<M>& chain) {
    const auto kernel = across == 32 ? scan_columns_kernel<P, V, 32> : scan_columns_kernel<P, V, 0>;
    const int values = P::inputs * scan_threads * V * tiles.rows();
    start_scan(device, kernel, blocks, values * sizeof(T), chain, scan, tiles);
  };
  // Eight blocks a multiprocessor keep the memory busy; with fewer, tiles are shared out too.
  if (tiles.tiles == 1 || tiles.columns >= std::int64_t{8} * multiprocessors(device.index)) {
    return start(tiles.columns, {});
  }
  const ChainMemory<M> memory(device, tiles.columns, tiles.tiles, width);
  start(tiles.columns * tiles.tiles, memory.chain);
}

template <class P>
void scan_columns(Device device, const P& scan) {
  using T = typename P::Value;
  constexpr int wide = ColumnRun<P>::wide;
  if constexpr (wide > 1) {
    // Neighbours that a thread has share their marks.
    const Sequences& sequences = scan.sequences;
    bool packs = sequences.inner % wide == 0 &&
                 (sequences.cuts == nullptr || sequences.inner / sequences.groups % wide == 0);
    for (const T* in : scan.in) packs = packs && aligned<wide>(in);
    for (const T* out : scan.out) packs = packs && aligned<wide>(out);
    if (packs) return scan_columns_by<P, wide>(device, scan);
  }
  scan_columns_by<P, 1>(device, scan);
}

}  // namespace scangrad::cuda
