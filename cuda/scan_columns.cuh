#pragma once
// Scans of sequences that lie side by side (inner > 1): neighbouring threads have neighbouring
// sequences, so that each load of a warp is one piece of memory.
#include <scangrad/cuda/scan_chain.cuh>
#include <scangrad/cuda/scan_steps.cuh>

namespace scangrad::cuda {

/// Steps of a run, as many as registers hold.
template <class P>
inline constexpr int column_run = P::inputs * sizeof(typename P::C) <= 4 ? 16 : 8;

/// A tile is `width` sequences by scan_threads/width runs. A block scans its sequences tile by
/// tile, or one tile of a chain. Marks are found and steps combined twice, first for the run's
/// product, then from the state that enters the run; what was loaded stays in registers.
template <class P>
__global__ void __launch_bounds__(scan_threads, P::inputs == 3 ? 3 : 4)
    scan_columns_kernel(const P scan, const Chain<typename P::Monoid> chain, int width,
                        std::int64_t tiles, std::int64_t columns) {
  using M = typename P::Monoid;
  using C = typename P::C;
  using T = typename P::Value;
  constexpr int length = column_run<P>;
  __shared__ Segment<M> parts[2][scan_threads];
  const Sequences& sequences = scan.sequences;
  std::int64_t tile = 0, end = tiles, block = blockIdx.x;
  if (chain.used()) {  // all columns' first tiles, then all second ones: chains seldom wait
    const std::int64_t taken = chain.take();
    tile = quotient(taken, columns);
    block = taken - tile * columns;
    end = tile + 1;
  }
  const int slot = static_cast<int>(threadIdx.x) / width, runs = scan_threads / width;
  const std::int64_t s = block * width + static_cast<int>(threadIdx.x) % width;
  const bool active = s < sequences.number;
  const std::int64_t first = active ? sequences.first(s) : 0, stride = sequences.stride();
  const std::int64_t cut_stride = sequences.from_end ? -sequences.groups : sequences.groups;
  const bool* const cuts =
      active && sequences.cuts != nullptr ? sequences.cuts + sequences.first_cut(s) : nullptr;
  Segment<M> carry = nothing<M>();
  for (; tile < end; ++tile) {
    const std::int64_t k = (tile * runs + slot) * length;
    const std::int64_t left = active ? sequences.count - k : 0;
    C x[P::inputs][length];
    for (int i = 0; i < P::inputs; ++i) {
      const int lead = scan.lead(i);
      const T* const from = scan.in[i] + first + (k + lead) * stride;
      const int begin = k + lead < 0 ? 1 : 0;
      const int stop = static_cast<int>(min(left - max(lead, 0), std::int64_t{length}));
#pragma unroll
      for (int r = 0; r < length; ++r) {
        x[i][r] = r >= begin && r < stop ? static_cast<C>(from[r * stride]) : P::padding(i);
      }
    }
    const Marks marks = marks_of(sequences, P::backwards, s, k, length, low_bits(left),
                                 cuts == nullptr ? nullptr : cuts + k * cut_stride, cut_stride);
    Segment<M> product = nothing<M>();
#pragma unroll
    for (int r = 0; r < length; ++r) {
      C values[P::inputs];
      for (int i = 0; i < P::inputs; ++i) values[i] = x[i][r];
      multiply_step(product, scan, marks, r, values);
    }
    const TileProducts<M> products(product, width, parts[tile % 2]);
    if (chain.used()) carry = chain.before(block, tile, products.tile);
    typename M::Element state = combine(carry, products.before).total;
    carry = combine(carry, products.tile);
#pragma unroll
    for (int r = 0; r < length; ++r) {
      C values[P::inputs], y[P::outputs];
      for (int i = 0; i < P::inputs; ++i) values[i] = x[i][r];
      walk_step(state, y, scan, marks, r, values);
      if ((marks.valid >> r & 1u) == 0) continue;
      for (int i = 0; i < P::outputs; ++i) {
        if (scan.out[i] != nullptr) scan.out[i][first + (k + r) * stride] = static_cast<T>(y[i]);
      }
    }
  }
}

template <class P>
void scan_columns(Device device, const P& scan) {
  using M = typename P::Monoid;
  const auto up_to = [](std::int64_t n, int most) {  // the power of two that reaches n, or `most`
    int power = 1;
    while (power < n && power < most) power *= 2;
    return power;
  };
  const Sequences& sequences = scan.sequences;
  constexpr int length = column_run<P>;
  const int runs = up_to((sequences.count + length - 1) / length, scan_threads / 32);
  const int width = up_to(sequences.number, scan_threads / runs);
  const std::int64_t steps = std::int64_t{scan_threads} / width * length;
  const std::int64_t tiles = (sequences.count + steps - 1) / steps;
  const std::int64_t columns = (sequences.number + width - 1) / width;
  const DeviceGuard guard(device.index);
  const auto start = [&](std::int64_t blocks, const Chain<M>& chain) {
    scan_columns_kernel<<<static_cast<unsigned>(blocks), scan_threads, 0, stream(device.index)>>>(
        scan, chain, width, tiles, columns);
    check_launch(device.index, std::source_location::current());
  };
  // Three blocks a multiprocessor keep the memory busy; with fewer, tiles are shared out too.
  if (tiles == 1 || columns >= 3 * multiprocessors(device.index)) return start(columns, {});
  const ChainMemory<M> memory(device, columns, tiles, width);
  start(columns * tiles, memory.chain);
}

}  // namespace scangrad::cuda
