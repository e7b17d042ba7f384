#include <scangrad/cuda/transpose.h>
#include <scangrad/cuda/launch.cuh>

namespace scangrad::cuda {
namespace {

constexpr int side = 64;                         // of a tile
constexpr int row_lanes = block_threads / side;  // rows that a block moves at a time
constexpr std::int64_t fewest = 32;              // neighbours that are worth a tile

/// The dimension along which operand k is adjacent, or −1.
int adjacent(const StridedLoop<2>& loop, int k) {
  for (int dim = loop.rank - 1; dim >= 0; --dim) {
    if (loop.strides[k][dim] == 1 && loop.sizes[dim] >= fewest) return dim;
  }
  return -1;
}

/// `across` is dst's adjacent dimension and `down` src's.
template <class T>
void copy_tiles(Device device, const StridedLoop<2>& loop, int across, int down, T* to,
                const T* from) {
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
  const std::int64_t tiles_across = (width + side - 1) / side;
  const std::int64_t tiles = tiles_across * ((height + side - 1) / side);
  for_each_row(device, others.numel * tiles, [=] __device__(std::int64_t unit) {
    __shared__ T tile[side][side + 1];
    std::int64_t at[2];
    offsets_of(others, unit / tiles, at);
    const std::int64_t x = unit % tiles % tiles_across * side,
                       y = unit % tiles / tiles_across * side;
    const int lane = threadIdx.x % side, row_lane = threadIdx.x / side;
    T values[side / row_lanes];
#pragma unroll
    for (int j = 0; j < side / row_lanes; ++j) {
      const int i = row_lane + j * row_lanes;
      if (x + i < width && y + lane < height) {
        values[j] = from[at[1] + (x + i) * from_step + y + lane];
      }
    }
    __syncthreads();  // what was in the tile has been written
#pragma unroll
    for (int j = 0; j < side / row_lanes; ++j) tile[row_lane + j * row_lanes][lane] = values[j];
    __syncthreads();
#pragma unroll
    for (int j = 0; j < side / row_lanes; ++j) {
      const int i = row_lane + j * row_lanes;
      if (y + i < height && x + lane < width)
        to[at[0] + (y + i) * to_step + x + lane] = tile[lane][i];
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
    copy_tiles(dst.device(), loop, across, down, static_cast<T*>(dst.raw_data()),
               static_cast<const T*>(src.raw_data()));
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
