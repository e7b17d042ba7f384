#pragma once
// Scans of sequences that lie one after another (inner = 1). All of them together are one long
// array in which states start anew, so that short rows, long ones and a single one are the same
// work; it passes through shared memory, where each thread finds its run of adjacent steps.
#include <scangrad/cuda/scan_chain.cuh>
#include <scangrad/cuda/scan_steps.cuh>

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

  __device__ Values& operator[](int i) { return data[i ^ (i >> 3 & (packs - 1))]; }
  __device__ static Values ordered(const Values& x, bool reverse) {
    Values y;
#pragma unroll
    for (int i = 0; i < pack; ++i) y.values[i] = x.values[reverse ? pack - 1 - i : i];
    return y;
  }
};

/// Runs are 64 bytes of each operand, or 32 where there are three, so that several blocks share a
/// multiprocessor.
template <class P>
using RowTileOf = RowTile<typename P::Value, P::inputs == 3 ? 2 : 4>;

/// Which operands may be read and written by packs.
struct Packed {
  unsigned in, out;
};

/// The tiles [block * tiles_each, …) in memory, or one tile of the chain. Warps load and store just
/// what their own threads scan.
template <class P>
__global__ void __launch_bounds__(scan_threads, P::inputs == 1 ? 5 : 4)
    scan_rows_kernel(const P scan, const Chain<typename P::Monoid> chain, Packed packed,
                     std::int64_t tiles, std::int64_t tiles_each) {
  using M = typename P::Monoid;
  using C = typename P::C;
  using T = typename P::Value;
  using Tile = RowTileOf<P>;
  constexpr int length = Tile::length, packs = length / Tile::pack;
  __shared__ Tile data[P::inputs];
  __shared__ Segment<M> parts[2][scan_threads / 32];
  const Sequences& sequences = scan.sequences;
  const bool from_end = sequences.from_end;
  const std::int64_t numel = sequences.number * sequences.count;
  const int thread = static_cast<int>(threadIdx.x), lane = thread % 32, warp = thread / 32;

  std::int64_t begin = blockIdx.x * tiles_each, end = min(begin + tiles_each, tiles), in_chain = 0;
  if (chain.used()) {
    in_chain = chain.take();
    begin = from_end ? tiles - 1 - in_chain : in_chain;
    end = begin + 1;
  }
  Segment<M> carry = nothing<M>();
  for (int turn = 0; begin < end; ++turn) {
    const std::int64_t tile = from_end ? --end : begin++;
    const std::int64_t base = tile * Tile::size;
    const bool whole = base + Tile::size <= numel;
    // Where in the tile pack i lies, and value i of all packs.
    const auto pack_at = [&](int i) {
      return (from_end ? scan_threads * packs - 1 - i : i) * Tile::pack;
    };
    const auto value_at = [&](int i) { return pack_at(i / Tile::pack) + i % Tile::pack; };

#pragma unroll
    for (int i = 0; i < P::inputs; ++i) {
      if (whole && (packed.in >> i & 1u) != 0) {
#pragma unroll
        for (int j = 0; j < packs; ++j) {
          const int to = (warp * packs + j) * 32 + lane;
          __pipeline_memcpy_async(&data[i][to], scan.in[i] + base + pack_at(to), 16);
        }
        continue;
      }
      const std::int64_t shift = scan.lead(i) * sequences.stride();
#pragma unroll 4
      for (int j = 0; j < length; ++j) {
        const int to = (warp * length + j) * 32 + lane;
        const std::int64_t from = base + value_at(to);
        T value = static_cast<T>(P::padding(i));
        // What is read beyond the ends belongs to no step, and is not used.
        if (from < numel) value = scan.in[i][min(max(from + shift, std::int64_t{0}), numel - 1)];
        data[i][to / Tile::pack].values[to % Tile::pack] = value;
      }
    }
    __pipeline_commit();
    __pipeline_wait_prior(0);
    __syncwarp();

    const std::int64_t first = base + pack_at(thread * packs) + (from_end ? Tile::pack - 1 : 0);
    const std::int64_t s = quotient(first, sequences.count), t = first - s * sequences.count;
    const unsigned valid = from_end ? ~low_bits(first - (numel - 1)) : low_bits(numel - first);
    const Marks marks =
        marks_of(sequences, P::backwards, s, from_end ? sequences.count - 1 - t : t, length, valid,
                 sequences.cuts == nullptr ? nullptr : sequences.cuts + first, from_end ? -1 : 1);
    /// f(r, x, packs with the results, r's place in them) for all steps of the run.
    const auto each_step = [&](auto stores, const auto& f) {
#pragma unroll
      for (int j = 0; j < packs; ++j) {
        typename Tile::Values values[P::inputs];
        for (int i = 0; i < P::inputs; ++i) {
          values[i] = Tile::ordered(data[i][thread * packs + j], from_end);
        }
#pragma unroll
        for (int l = 0; l < Tile::pack; ++l) {
          C x[P::inputs];
          for (int i = 0; i < P::inputs; ++i) x[i] = static_cast<C>(values[i].values[l]);
          f(j * Tile::pack + l, x, values, l);
        }
        for (int i = 0; stores && i < P::outputs; ++i) {
          data[i][thread * packs + j] = Tile::ordered(values[i], from_end);
        }
      }
    };
    Segment<M> product = nothing<M>();
    each_step(std::false_type{}, [&](int r, const C(&x)[P::inputs], auto&, int) {
      multiply_step(product, scan, marks, r, x);
    });
    const TileProducts<M> products(product, 1, parts[turn % 2]);
    if (chain.used()) carry = chain.before(0, in_chain, products.tile);
    typename M::Element state = combine(carry, products.before).total;
    carry = combine(carry, products.tile);
    each_step(std::true_type{}, [&](int r, const C(&x)[P::inputs], auto& values, int l) {
      C y[P::outputs];
      walk_step(state, y, scan, marks, r, x);
      for (int i = 0; i < P::outputs; ++i) values[i].values[l] = static_cast<T>(y[i]);
    });
    __syncwarp();

#pragma unroll
    for (int i = 0; i < P::outputs; ++i) {
      if (scan.out[i] == nullptr) continue;
      if (whole && (packed.out >> i & 1u) != 0) {
#pragma unroll
        for (int j = 0; j < packs; ++j) {
          const int n = (warp * packs + j) * 32 + lane;
          store_pack(scan.out[i] + base + pack_at(n), data[i][n]);
        }
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
  using Tile = RowTileOf<P>;
  const Sequences& sequences = scan.sequences;
  Packed packed{0, 0};
  for (int i = 0; i < P::inputs; ++i) {
    if (scan.lead(i) == 0 && aligned<Tile::pack>(scan.in[i])) packed.in |= 1u << i;
  }
  for (int i = 0; i < P::outputs; ++i) {
    if (aligned<Tile::pack>(scan.out[i])) packed.out |= 1u << i;
  }
  const std::int64_t numel = sequences.number * sequences.count;
  const std::int64_t tiles = (numel + Tile::size - 1) / Tile::size;
  const DeviceGuard guard(device.index);
  const auto start = [&](std::int64_t blocks, const Chain<M>& chain, std::int64_t tiles_each) {
    scan_rows_kernel<<<static_cast<unsigned>(blocks), scan_threads, 0, stream(device.index)>>>(
        scan, chain, packed, tiles, tiles_each);
    check_launch(device.index, std::source_location::current());
  };
  // As many tiles as end with a row, where that leaves blocks enough, or all of a few.
  const std::int64_t tiles_each =
      std::min(tiles, sequences.count / std::gcd(sequences.count, std::int64_t{Tile::size}));
  const std::int64_t blocks = (tiles + tiles_each - 1) / tiles_each;
  if (tiles_each <= 4 || blocks >= 3 * multiprocessors(device.index)) {
    return start(blocks, {}, tiles_each);
  }
  const ChainMemory<M> memory(device, 1, tiles, 1);
  start(tiles, memory.chain, 1);
}

}  // namespace scangrad::cuda
