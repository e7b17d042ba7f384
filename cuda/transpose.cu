#include <scangrad/cuda/transpose.h>
#include <scangrad/cuda/launch.cuh>

namespace scangrad::cuda {
namespace {

constexpr std::int64_t fewest = 32;  // neighbours that are worth a tile

/// The dimension along which operand k is adjacent, or −1.
int adjacent(const StridedLoop<2>& loop, int k) {
  for (int dim = loop.rank - 1; dim >= 0; --dim) {
    if (loop.strides[k][dim] == 1 && loop.sizes[dim] >= fewest) return dim;
  }
  return -1;
}

/// Whether both operands of a loop lie in packs of W along both dimensions.
template <int W, class T>
bool in_packs(const StridedLoop<2>& loop, int across, int down, const T* to, const T* from) {
  bool packed = aligned<W>(to) && aligned<W>(from);
  for (int dim = 0; dim < loop.rank; ++dim) {
    if (dim == across || dim == down) packed = packed && loop.sizes[dim] % W == 0;
    packed = packed && (dim == across || loop.strides[0][dim] % W == 0) &&
             (dim == down || loop.strides[1][dim] % W == 0);
  }
  return packed;
}

/// `across` is dst's adjacent dimension and `down` src's. A thread reads packs of W neighbours down
/// from W neighbours across, turns these W×W round in registers, and shared memory does the same
/// with packs.
template <int W, class T>
void copy_tiles(Device device, const StridedLoop<2>& loop, int across, int down, T* to,
                const T* from) {
  constexpr int packs_across = W == 4 ? 32 : 64, packs_down = W == 1 ? 64 : 32;  // of a tile
  constexpr int row_lanes = block_threads / packs_down;  // packs across that are read at a time
  constexpr int column_lanes = block_threads / packs_across;  // packs down that are written
  constexpr int reads = packs_across / row_lanes, writes = packs_down / column_lanes;
  StridedLoop<2> others;
  int rank = 0;
  for (int dim = 0; dim < loop.rank; ++dim) {
    if (dim == across || dim == down) continue;
    others.sizes[rank] = loop.sizes[dim];
    others.numel *= loop.sizes[dim];
    for (int k = 0; k < 2; ++k) others.strides[k][rank] = loop.strides[k][dim];
    ++rank;
  }
  others.rank = std::max(rank, 1);
  const std::int64_t width = loop.sizes[across], height = loop.sizes[down];
  const std::int64_t to_step = loop.strides[0][down], from_step = loop.strides[1][across];
  const std::int64_t tiles_across = (width + packs_across * W - 1) / (packs_across * W);
  const std::int64_t tiles = tiles_across * ((height + packs_down * W - 1) / (packs_down * W));
  for_each_row(device, others.numel * tiles, [=] __device__(std::int64_t unit) {
    __shared__ Pack<T, W> tile[W][packs_down][packs_across + 1];
    std::int64_t at[2];
    offsets_of(others, unit / tiles, at);
    const std::int64_t x = unit % tiles % tiles_across * (packs_across * W),
                       y = unit % tiles / tiles_across * (packs_down * W);
    const int down_lane = threadIdx.x % packs_down, row_lane = threadIdx.x / packs_down;
    Pack<T, W> packs[reads][W];
#pragma unroll
    for (int j = 0; j < reads; ++j) {
      const int i = (row_lane + j * row_lanes) * W;
      if (x + i >= width || y + down_lane * W >= height) continue;
      const T* const corner = from + at[1] + (x + i) * from_step + y + down_lane * W;
      for (int k = 0; k < W; ++k) packs[j][k] = load_pack<W>(corner + k * from_step);
    }
    __syncthreads();  // what was in the tile has been written
#pragma unroll
    for (int j = 0; j < reads; ++j) {
      for (int w = 0; w < W; ++w) {
        Pack<T, W> turned;
        for (int k = 0; k < W; ++k) turned.values[k] = packs[j][k].values[w];
        tile[w][down_lane][row_lane + j * row_lanes] = turned;
      }
    }
    __syncthreads();
    const int across_lane = threadIdx.x % packs_across, column_lane = threadIdx.x / packs_across;
#pragma unroll
    for (int j = 0; j < writes; ++j) {
      const int i = column_lane + j * column_lanes;
      if (y + i * W >= height || x + across_lane * W >= width) continue;
      T* const corner = to + at[0] + (y + i * W) * to_step + x + across_lane * W;
      for (int w = 0; w < W; ++w) store_pack(corner + w * to_step, tile[w][i][across_lane]);
    }
  });
}

}  // namespace

bool copy_transposed(const Tensor& dst, const Tensor& src) {
  const StridedLoop<2> loop = strided_loop(dst, src);
  const int across = adjacent(loop, 0), down = adjacent(loop, 1);
  if (across < 0 || down < 0 || across == down) return false;
  // Only bytes are moved: one kernel for all types of a size.
  const auto copy_as = [&](auto word) {
    using T = decltype(word);
    T* const to = static_cast<T*>(dst.raw_data());
    const T* const from = static_cast<const T*>(src.raw_data());
    // Words, of several elements if these are small: a warp's row then has at least 128 bytes.
    constexpr int W = sizeof(T) < 4 ? 4 / static_cast<int>(sizeof(T)) : 1;
    if (in_packs<W>(loop, across, down, to, from)) {
      copy_tiles<W>(dst.device(), loop, across, down, to, from);
    } else {
      copy_tiles<1>(dst.device(), loop, across, down, to, from);
    }
  };
  switch (size_of(dst.dtype())) {
    case 1:
      copy_as(std::uint8_t{});
      break;
    case 2:
      copy_as(std::uint16_t{});
      break;
    case 4:
      copy_as(std::uint32_t{});
      break;
    default:
      copy_as(std::uint64_t{});
  }
  return true;
}

}  // namespace scangrad::cuda
