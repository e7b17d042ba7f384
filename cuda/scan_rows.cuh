#pragma once
// Scans of sequences that lie one after another (inner = 1). All of them together are one long
// array in which states start anew, so that short rows, long ones and a single one are the same
// work; it passes through shared memory, where each thread finds its run of adjacent steps.
#include <scangrad/cuda/scan_chain.cuh>

#include <cuda_pipeline.h>

#include <numeric>
#include <type_traits>

namespace scangrad::cuda {

/// A tile of one operand in shared memory: packs of 16 bytes in the order of memory, of which each
/// thread's run has 8. They are placed so that neither a run's packs nor those that neighbouring
/// threads take at once share banks.
template <class T>
struct RowTile {
  static constexpr int pack = 16 / sizeof(T), packs = 8;
  static constexpr int length = packs * pack;  // steps of a run
  static constexpr int size = scan_threads * length;
  using Values = Pack<T, pack>;
  Values data[scan_threads * packs];

  __device__ Values& operator[](int i) { return data[i ^ i / packs % packs]; }
  /// (*this)[begin + 32 j + lane], where `begin` is that of a warp's part.
  __device__ Values& of_lane(int begin, int j, int lane) {
    return data[begin + 32 * j + (lane ^ lane / packs ^ j % 2 * 4)];
  }
};

template <class P>
struct RowRun {
  static constexpr int blocks = P::inputs == 1 ? 5 : P::inputs == 2 ? 3 : 2;  // of a multiprocessor
  using Tile = RowTile<typename P::Value>;
};

/// How tiles, all `count` of them, are read and shared out.
struct RowTiles {
  std::int64_t count, each;        // `each` to a block
  unsigned packed_in, packed_out;  // operands that may be read and written by packs, a bit for each
};

/// A block's tiles follow one another in memory, or are one of the chain. Warps load and store just
/// what their own threads scan.
template <class P>
__global__ void __launch_bounds__(scan_threads, RowRun<P>::blocks)
    scan_rows_kernel(const P scan, const RowTiles tiles, const Chain<typename P::Monoid> chain) {
  using M = typename P::Monoid;
  using C = typename P::C;
  using T = typename P::Value;
  using Tile = typename RowRun<P>::Tile;
  constexpr int pack = Tile::pack, packs = Tile::packs, length = Tile::length;
  extern __shared__ __align__(16) unsigned char tile_memory[];
  auto& data = reinterpret_cast<Tile(&)[P::inputs]>(tile_memory);
  __shared__ Segment<M> parts[2][scan_threads / 32];
  const Sequences& sequences = scan.sequences;
  const bool from_end = sequences.from_end;
  const std::int64_t numel = sequences.number * sequences.count;
  const int thread = static_cast<int>(threadIdx.x), lane = thread % 32;
  // Where in the tile the thread's run lies, and the packs of its warp begin.
  const int run = from_end ? scan_threads - 1 - thread : thread, part = run / 32 * 32 * packs;

  std::int64_t begin = blockIdx.x * tiles.each;
  if (chain.used() && from_end) begin = tiles.count - 1 - begin;  // `each` is 1
  std::int64_t end = min(begin + tiles.each, tiles.count);
  Segment<M> carry[1] = {nothing<M>()};
  for (int turn = 0; begin < end; ++turn) {
    const std::int64_t tile = from_end ? --end : begin++;
    const std::int64_t base = tile * Tile::size;
    const bool whole = base + Tile::size <= numel;
    const std::int64_t own_pack = base + std::int64_t{part + lane} * pack;

#pragma unroll
    for (int i = 0; i < P::inputs; ++i) {
      const bool packed = (tiles.packed_in >> i & 1u) != 0;
      if (whole && packed) {
#pragma unroll
        for (int j = 0; j < packs; ++j) {
          const T* const from = scan.in[i] + own_pack + 32 * pack * j;
          __pipeline_memcpy_async(&data[i].of_lane(part, j, lane), from, 16);
        }
        continue;
      }
      if (packed) {  // up to the end, which may be within a pack
#pragma unroll 1
        for (int j = 0; j < packs; ++j) {
          const std::int64_t from = own_pack + 32 * pack * j;
          typename Tile::Values& to = data[i].of_lane(part, j, lane);
          if (from + pack <= numel) {
            __pipeline_memcpy_async(&to, scan.in[i] + from, 16);
            continue;
          }
#pragma unroll 1
          for (int l = 0; l < pack; ++l) {
            to.values[l] = from + l < numel ? scan.in[i][from + l] : static_cast<T>(P::padding(i));
          }
        }
        continue;
      }
#pragma unroll 4
      for (int j = 0; j < length; ++j) {
        const int to = part * pack + 32 * j + lane;
        const std::int64_t from = base + to;
        data[i][to / pack].values[to % pack] =
            from < numel ? scan.in[i][from] : static_cast<T>(P::padding(i));
      }
    }
    __pipeline_commit();

    const int along = from_end ? -1 : 1;
    const std::int64_t first = base + run * length + (from_end ? length - 1 : 0);
    // Beside the warp's runs, the values that operands read ahead or behind take from there. What
    // is read beyond the ends belongs to no step, and is not used.
    T beside[P::inputs];
    for (int i = 0; i < P::inputs; ++i) {
      const int lead = scan.lead(i);
      if (lead == 0 || lane != (lead < 0 ? 0 : 31)) continue;
      const std::int64_t from = first + along * (lead < 0 ? -1 : length);
      beside[i] = scan.in[i][min(max(from, std::int64_t{0}), numel - 1)];
    }
    const std::int64_t s = quotient(first, sequences.count), t = first - s * sequences.count;
    const std::uint64_t valid = from_end ? ~low_bits(first - (numel - 1)) : low_bits(numel - first);
    const Marks marks =
        marks_of(sequences, P::backwards, s, from_end ? sequences.count - 1 - t : t, length, valid,
                 sequences.cuts == nullptr ? nullptr : sequences.cuts + first, along);
    // A run beyond the end consists of identities; its results are not stored.
    const bool plain =
        __all_sync(0xFFFFFFFFu, marks.plain(length) || (valid & low_bits(length)) == 0);

    __pipeline_wait_prior(0);
    __syncwarp();
    // The run's packs in the order of the scan: pack p of run r has the place p ^ r % packs, and
    // from the end, where p and r count down from odd numbers, the same place again.
    const auto own = [&](int i, int j) ->
        typename Tile::Values& { return data[i].data[run * packs + (j ^ thread % packs)]; };
    const auto value = [&](int i, int r) {
      const int l = r % pack;
      return static_cast<C>(own(i, r / pack).values[from_end ? pack - 1 - l : l]);
    };
#pragma unroll
    for (int i = 0; i < P::inputs; ++i) {  // the other lanes find theirs in the next one's run
      const int lead = scan.lead(i);
      if (lead == 0) continue;
      const C next = lead < 0 ? __shfl_up_sync(0xFFFFFFFFu, value(i, length - 1), 1)
                              : __shfl_down_sync(0xFFFFFFFFu, value(i, 0), 1);
      if (lane != (lead < 0 ? 0 : 31)) beside[i] = static_cast<T>(next);
    }

    /// f(0, marks, r, x, y) for all steps, in order, and then results y are stored if `stores`;
    /// `plain` and `reverse` are `plain` and `from_end`.
    const auto each_in = [&](auto plain, auto reverse, auto stores, const auto& f) {
      C behind[P::inputs];  // the value before
      Marks from_here = marks;
#pragma unroll(plain ? 4 : 1)
      for (int j = 0; j < packs; ++j) {
        C values[P::inputs][pack], y[P::outputs][pack];
        for (int i = 0; i < P::inputs; ++i) widen(values[i], own(i, j));
#pragma unroll
        for (int l = 0; l < pack; ++l) {
          const bool first = l == 0 && j == 0, last = l + 1 == pack && j + 1 == packs;
          const int at = reverse ? pack - 1 - l : l;
          C x[P::inputs], results[P::outputs];
          for (int i = 0; i < P::inputs; ++i) {
            x[i] = values[i][at];
            if (scan.lead(i) < 0) x[i] = first ? static_cast<C>(beside[i]) : behind[i];
            if (scan.lead(i) > 0) {
              x[i] = last           ? static_cast<C>(beside[i])
                     : l + 1 < pack ? values[i][reverse ? at - 1 : at + 1]
                                    : value(i, (j + 1) * pack);
            }
            behind[i] = values[i][at];
          }
          if constexpr (plain) {
            f(0, marks.of_step(first, last, length), 0, x, results);
          } else {
            f(0, from_here, l, x, results);
          }
          for (int i = 0; i < P::outputs; ++i) y[i][at] = results[i];
        }
        if (!plain) from_here = from_here.from(pack);
        for (int i = 0; stores && i < P::outputs; ++i) own(i, j) = rounded<T>(y[i]);
      }
    };
    const auto each = [&](auto plain, auto stores, const auto& f) {
      with_constant(from_end, [&](auto reverse) { each_in(plain, reverse, stores, f); });
    };
    constexpr std::true_type yes;
    constexpr std::false_type no;
    Segment<M> product[1] = {nothing<M>()};
    const C first_value[1] = {value(0, 0)};
    if (plain) {
      multiply_plain(product, scan, marks, first_value, [&](const auto& f) {
        each(yes, no,
             [&](int v, const Marks& at, int r, const C(&x)[P::inputs], auto&) { f(v, at, r, x); });
      });
    } else {
      each(no, no, [&](int, const Marks& at, int r, const C(&x)[P::inputs], auto&) {
        multiply_step(product[0], scan, at, r, x);
      });
    }
    const TileProducts<M, 1> products(product, 1, parts[turn % 2]);
    if (chain.used()) chain.before(carry, 0, blockIdx.x, products.tile, 1, parts[1 - turn % 2]);
    typename M::Element state[1] = {combine(carry[0], products.before[0]).total};
    carry[0] = combine(carry[0], products.tile[0]);
    const auto walk = [&](auto plain, auto appends) {
      each(plain, yes, [&](int, const Marks& at, int r, const C(&x)[P::inputs], C(&y)[P::outputs]) {
        if constexpr (plain) {
          walk_inside<appends>(state[0], y, scan, at, r, x);
        } else {
          walk_step(state[0], y, scan, at, r, x);
        }
      });
      if (plain) leave_plain(state, scan, marks, length);
    };
    const bool appends = plain && enter_plain(state, scan, marks, first_value, product);
    if constexpr (Appending<M>) {
      with_constant(appends, [&](auto appends) { walk(appends, appends); });
    } else {
      with_constant(plain, [&](auto plain) { walk(plain, no); });
    }
    __syncwarp();

#pragma unroll
    for (int i = 0; i < P::outputs; ++i) {
      if (scan.out[i] == nullptr) continue;
      if (whole && (tiles.packed_out >> i & 1u) != 0) {
#pragma unroll
        for (int j = 0; j < packs; ++j) {
          store_pack(scan.out[i] + own_pack + 32 * pack * j, data[i].of_lane(part, j, lane));
        }
        continue;
      }
#pragma unroll 4
      for (int j = 0; j < length; ++j) {
        const int from = part * pack + 32 * j + lane;
        if (base + from < numel) {
          scan.out[i][base + from] = data[i][from / pack].values[from % pack];
        }
      }
    }
    __syncwarp();
  }
}

template <class P>
void scan_rows(Device device, const P& scan) {
  using M = typename P::Monoid;
  using Tile = typename RowRun<P>::Tile;
  const Sequences& sequences = scan.sequences;
  const std::int64_t numel = sequences.number * sequences.count;
  RowTiles tiles{(numel + Tile::size - 1) / Tile::size, 1, 0, 0};
  for (int i = 0; i < P::inputs; ++i) {
    if (aligned<Tile::pack>(scan.in[i])) tiles.packed_in |= 1u << i;
  }
  for (int i = 0; i < P::outputs; ++i) {
    if (aligned<Tile::pack>(scan.out[i])) tiles.packed_out |= 1u << i;
  }
  const DeviceGuard guard(device.index);
  const auto start = [&](std::int64_t blocks, const Chain<M>& chain) {
    start_scan(device, scan_rows_kernel<P>, blocks, P::inputs * sizeof(Tile), chain, scan, tiles);
  };
  // As many tiles as end with a row, where that leaves blocks enough, or all of a few.
  const std::int64_t to_row_end =
      std::min(tiles.count, sequences.count / std::gcd(sequences.count, std::int64_t{Tile::size}));
  const std::int64_t blocks = (tiles.count + to_row_end - 1) / to_row_end;
  if (to_row_end <= 4 || blocks >= 3 * multiprocessors(device.index)) {
    tiles.each = to_row_end;
    return start(blocks, {});
  }
  const ChainMemory<M> memory(device, 1, tiles.count, 1);
  start(tiles.count, memory.chain);
}

}  // namespace scangrad::cuda
