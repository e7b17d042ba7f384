#pragma once
// Scans of sequences that lie one after another (inner = 1). All of them together are one long
// array in which states start anew, so that short rows, long ones and a single one are the same
// work; it passes through shared memory, where each thread finds its run of adjacent steps.
#include <scangrad/cuda/scan_chain.cuh>

#include <cuda_pipeline.h>

#include <numeric>
#include <type_traits>

namespace scangrad::cuda {

/// A tile of one operand in shared memory: packs of 16 bytes in the order of the scan, values in a
/// pack in that of memory. Each thread has `packs` of them, placed so that neither a thread's own
/// packs nor neighbouring ones share banks.
template <class T, int packs>
struct RowTile {
  static constexpr int pack = 16 / sizeof(T);
  static constexpr int length = packs * pack;  // steps of a run
  static constexpr int size = scan_threads * length;
  using Values = Pack<T, pack>;
  Values data[scan_threads * packs];

  __device__ Values& operator[](int i) {
    return data[i ^ (i / std::max(packs, 8) & (std::min(packs, 8) - 1))];
  }
};

/// Runs are 128 bytes of each operand.
template <class P>
struct RowRun {
  static constexpr int packs = 8;
  static constexpr int blocks = P::inputs == 1 ? 5 : P::inputs == 2 ? 3 : 2;  // of a multiprocessor
  using Tile = RowTile<typename P::Value, packs>;
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
  constexpr int packs = RowRun<P>::packs, length = Tile::length;
  extern __shared__ __align__(16) unsigned char tile_memory[];
  auto& data = reinterpret_cast<Tile(&)[P::inputs]>(tile_memory);
  __shared__ Segment<M> parts[2][scan_threads / 32];
  const Sequences& sequences = scan.sequences;
  const bool from_end = sequences.from_end;
  const std::int64_t numel = sequences.number * sequences.count;
  const int thread = static_cast<int>(threadIdx.x), lane = thread % 32, warp = thread / 32;

  std::int64_t begin = blockIdx.x * tiles.each;
  if (chain.used() && from_end) begin = tiles.count - 1 - begin;  // `each` is 1
  std::int64_t end = min(begin + tiles.each, tiles.count);
  Segment<M> carry[1] = {nothing<M>()};
  for (int turn = 0; begin < end; ++turn) {
    const std::int64_t tile = from_end ? --end : begin++;
    const std::int64_t base = tile * Tile::size;
    const bool whole = base + Tile::size <= numel;
    // Where in the tile pack i lies, and value i of all packs.
    const auto pack_at = [&](int i) {
      return (from_end ? scan_threads * packs - 1 - i : i) * Tile::pack;
    };
    const auto value_at = [&](int i) { return pack_at(i / Tile::pack) + i % Tile::pack; };
    // The first pack that the thread loads, and from there to the next ones.
    const int own_pack = warp * packs * 32 + lane;
    const std::int64_t a_warp = from_end ? -32 * Tile::pack : 32 * Tile::pack;

#pragma unroll
    for (int i = 0; i < P::inputs; ++i) {
      if (whole && (tiles.packed_in >> i & 1u) != 0) {
        const T* from = scan.in[i] + base + pack_at(own_pack);
#pragma unroll
        for (int j = 0; j < packs; ++j, from += a_warp) {
          __pipeline_memcpy_async(&data[i][own_pack + 32 * j], from, 16);
        }
        continue;
      }
      if ((tiles.packed_in >> i & 1u) != 0) {  // up to the end, which may be within a pack
#pragma unroll 1
        for (int j = 0; j < packs; ++j) {
          const std::int64_t from = base + pack_at(own_pack + 32 * j);
          typename Tile::Values& to = data[i][own_pack + 32 * j];
          if (from + Tile::pack <= numel) {
            __pipeline_memcpy_async(&to, scan.in[i] + from, 16);
            continue;
          }
#pragma unroll 1
          for (int l = 0; l < Tile::pack; ++l) {
            to.values[l] = from + l < numel ? scan.in[i][from + l] : static_cast<T>(P::padding(i));
          }
        }
        continue;
      }
#pragma unroll 4
      for (int j = 0; j < length; ++j) {
        const int to = (warp * length + j) * 32 + lane;
        const std::int64_t from = base + value_at(to);
        const T value = from < numel ? scan.in[i][from] : static_cast<T>(P::padding(i));
        data[i][to / Tile::pack].values[to % Tile::pack] = value;
      }
    }
    __pipeline_commit();

    const int along = from_end ? -1 : 1;
    const std::int64_t first = base + pack_at(thread * packs) + (from_end ? Tile::pack - 1 : 0);
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
    const auto value = [&](int i, int r) -> T& {
      const int l = r % Tile::pack;
      return data[i][thread * packs + r / Tile::pack].values[from_end ? Tile::pack - 1 - l : l];
    };
#pragma unroll
    for (int i = 0; i < P::inputs; ++i) {  // the other lanes find theirs in the next one's run
      const int lead = scan.lead(i);
      if (lead == 0) continue;
      const C next = lead < 0 ? __shfl_up_sync(0xFFFFFFFFu, C(value(i, length - 1)), 1)
                              : __shfl_down_sync(0xFFFFFFFFu, C(value(i, 0)), 1);
      if (lane != (lead < 0 ? 0 : 31)) beside[i] = static_cast<T>(next);
    }

    /// f(0, marks, r, x, y) for all steps of a plain run, in order, and then results y are stored
    /// if `stores`.
    const auto each_plain = [&](auto reverse, auto stores, const auto& f) {
      C behind[P::inputs];  // the value before
#pragma unroll 4
      for (int j = 0; j < packs; ++j) {
        C values[P::inputs][Tile::pack], y[P::outputs][Tile::pack];
        for (int i = 0; i < P::inputs; ++i) widen(values[i], data[i][thread * packs + j]);
#pragma unroll
        for (int l = 0; l < Tile::pack; ++l) {
          const int r = j * Tile::pack + l, at = reverse ? Tile::pack - 1 - l : l;
          C x[P::inputs], results[P::outputs];
          for (int i = 0; i < P::inputs; ++i) {
            x[i] = values[i][at];
            if (scan.lead(i) < 0) x[i] = r == 0 ? static_cast<C>(beside[i]) : behind[i];
            if (scan.lead(i) > 0) {
              x[i] = r + 1 == length      ? static_cast<C>(beside[i])
                     : l + 1 < Tile::pack ? values[i][reverse ? at - 1 : at + 1]
                                          : static_cast<C>(value(i, r + 1));
            }
            behind[i] = values[i][at];
          }
          const bool first = l == 0 && j == 0, last = l + 1 == Tile::pack && j + 1 == packs;
          f(0, marks.of_step(first, last, length), 0, x, results);
          for (int i = 0; i < P::outputs; ++i) y[i][at] = results[i];
        }
        for (int i = 0; stores && i < P::outputs; ++i) {
          data[i][thread * packs + j] = rounded<T>(y[i]);
        }
      }
    };
    /// The same of any run.
    const auto each = [&](auto stores, const auto& f) {
      C behind[P::inputs];
#pragma unroll 1
      for (int r = 0; r < length; ++r) {
        C x[P::inputs], y[P::outputs];
        for (int i = 0; i < P::inputs; ++i) {
          const C own = static_cast<C>(value(i, r));
          x[i] = own;
          if (scan.lead(i) < 0) x[i] = r == 0 ? static_cast<C>(beside[i]) : behind[i];
          if (scan.lead(i) > 0) {
            x[i] = static_cast<C>(r + 1 == length ? beside[i] : value(i, r + 1));
          }
          behind[i] = own;
        }
        f(0, marks, r, x, y);
        for (int i = 0; stores && i < P::outputs; ++i) value(i, r) = static_cast<T>(y[i]);
      }
    };
    constexpr std::true_type yes;
    constexpr std::false_type no;
    Segment<M> product[1] = {nothing<M>()};
    const auto multiply = [&](auto reverse) {
      multiply_plain(product, scan, marks, [&](const auto& f) {
        each_plain(reverse, no, [&](int v, const Marks& at, int r, const C(&x)[P::inputs], auto&) {
          f(v, at, r, x);
        });
      });
    };
    if (plain) {
      if (from_end) {
        multiply(yes);
      } else {
        multiply(no);
      }
    } else {
      each(no, [&](int, const Marks& at, int r, const C(&x)[P::inputs], auto&) {
        multiply_step(product[0], scan, at, r, x);
      });
    }
    const TileProducts<M, 1> products(product, 1, parts[turn % 2]);
    if (chain.used()) chain.before(carry, 0, blockIdx.x, products.tile, 1, parts[1 - turn % 2]);
    typename M::Element state = combine(carry[0], products.before[0]).total;
    carry[0] = combine(carry[0], products.tile[0]);
    const auto walk = [&](int, const Marks& at, int r, const C(&x)[P::inputs], C(&y)[P::outputs]) {
      walk_step(state, y, scan, at, r, x);
    };
    if (plain) {
      if (from_end) {
        each_plain(yes, yes, walk);
      } else {
        each_plain(no, yes, walk);
      }
    } else {
      each(yes, walk);
    }
    __syncwarp();

#pragma unroll
    for (int i = 0; i < P::outputs; ++i) {
      if (scan.out[i] == nullptr) continue;
      if (whole && (tiles.packed_out >> i & 1u) != 0) {
        T* to = scan.out[i] + base + pack_at(own_pack);
#pragma unroll
        for (int j = 0; j < packs; ++j, to += a_warp) store_pack(to, data[i][own_pack + 32 * j]);
        continue;
      }
#pragma unroll 4
      for (int j = 0; j < length; ++j) {
        const int from = (warp * length + j) * 32 + lane;
        const std::int64_t to = base + value_at(from);
        if (to < numel) scan.out[i][to] = data[i][from / Tile::pack].values[from % Tile::pack];
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
