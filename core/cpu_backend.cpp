// The CPU's side of core/backend.h.
#include <scangrad/core/backend.h>
#include <scangrad/core/cpu_allocator.h>
#include <scangrad/core/format.h>
#include <scangrad/core/strided.h>

#include <cstring>
#include <type_traits>

namespace scangrad {
namespace {

/// The dimension along which `src` is contiguous where a row of `dst` strides through it; −1 if
/// there is none.
int transposed_dim(const StridedLoop<2>& loop) {
  if (loop.step(0) != 1 || loop.step(1) == 1) return -1;
  for (int dim = loop.rank - 2; dim >= 0; --dim) {
    if (loop.strides[1][dim] == 1 && loop.sizes[dim] > 1) return dim;
  }
  return -1;
}

/// Copies a matrix transposed, for every index of the other dimensions, in tiles of which each
/// cache line is read whole: few enough lines that they stay in the cache where strides are powers
/// of two.
template <class To, class From>
void copy_transposed(const StridedLoop<2>& loop, int dim, To* out, const From* in) {
  constexpr std::int64_t tile_rows = 32, tile_columns = 16;
  const std::int64_t rows = loop.sizes[dim], columns = loop.row();
  const std::int64_t row_step = loop.strides[0][dim], column_step = loop.step(1);
  const std::int64_t bands = (rows + tile_rows - 1) / tile_rows;
  const std::int64_t grain = std::max<std::int64_t>(1, 16384 / (tile_rows * columns));
  parallel_for(
      loop.numel / (rows * columns) * bands, grain, [=](std::int64_t from, std::int64_t to) {
        for (std::int64_t band = from; band < to; ++band) {
          const std::int64_t first = band % bands * tile_rows,
                             last = std::min(first + tile_rows, rows);
          To* o = out + first * row_step;
          const From* i = in + first;
          std::int64_t outer = band / bands;
          for (int d = loop.rank - 2; d >= 0; --d) {
            if (d == dim) continue;
            o += outer % loop.sizes[d] * loop.strides[0][d];
            i += outer % loop.sizes[d] * loop.strides[1][d];
            outer /= loop.sizes[d];
          }
          for (std::int64_t begin = 0; begin < columns; begin += tile_columns) {
            const std::int64_t end = std::min(begin + tile_columns, columns);
            for (std::int64_t r = 0; r < last - first; ++r) {
              for (std::int64_t c = begin; c < end; ++c) {
                o[r * row_step + c] =
                    static_cast<To>(static_cast<compute_type<From>>(i[r + c * column_step]));
              }
            }
          }
        }
      });
}

void cpu_copy(const Tensor& dst, const Tensor& src) {
  const auto loop = strided_loop(dst, src);
  const int transposed = transposed_dim(loop);
  dispatch(AllTypes{}, dst.dtype(), [&](auto to) {
    dispatch(AllTypes{}, src.dtype(), [&](auto from) {
      using To = typename decltype(to)::type;
      using From = typename decltype(from)::type;
      To* out = dst.data<To>();
      const From* in = src.data<From>();
      if (transposed >= 0) return copy_transposed(loop, transposed, out, in);
      const std::int64_t out_step = loop.step(0), in_step = loop.step(1);
      parallel_rows(loop, [&](std::int64_t n, const std::int64_t* at) {
        To* o = out + at[0];
        const From* i = in + at[1];
        if (std::is_same_v<To, From> && out_step == 1 && in_step == 1) {
          std::memcpy(o, i, static_cast<std::size_t>(n) * sizeof(To));
        } else {
          for (std::int64_t j = 0; j < n; ++j) {
            o[j * out_step] = convert<To>(static_cast<compute_type<From>>(i[j * in_step]));
          }
        }
      });
    });
  });
}

void cpu_fill(const Tensor& dst, double value) {
  const auto loop = strided_loop(dst);
  dispatch(AllTypes{}, dst.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    T* out = dst.data<T>();
    const T converted = convert<T>(value);
    parallel_rows(loop, [&](std::int64_t n, const std::int64_t* at) {
      for (std::int64_t j = 0; j < n; ++j) out[at[0] + j * loop.step(0)] = converted;
    });
  });
}

void cpu_add_in_place(const Tensor& dst, const Tensor& src) {
  const auto loop = strided_loop(dst, src);
  dispatch(NumberTypes{}, dst.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    using C = compute_type<T>;
    T* out = dst.data<T>();
    const T* in = src.data<T>();
    parallel_rows(loop, [&](std::int64_t n, const std::int64_t* at) {
      T* o = out + at[0];
      const T* i = in + at[1];
      if (loop.step(0) == 1 && loop.step(1) == 1) {
        for (std::int64_t j = 0; j < n; ++j) o[j] = static_cast<T>(C(o[j]) + C(i[j]));
      } else {
        for (std::int64_t j = 0; j < n; ++j) {
          T& target = o[j * loop.step(0)];
          target = static_cast<T>(C(target) + C(i[j * loop.step(1)]));
        }
      }
    });
  });
}

}  // namespace

void register_cpu_backend(Backend& table) {
  table.allocate = [](int, std::size_t bytes) { return cpu_allocate(bytes); };
  table.deallocate = [](int, void* data, std::size_t bytes) { cpu_deallocate(data, bytes); };
  table.copy = cpu_copy;
  table.fill = cpu_fill;
  table.add_in_place = cpu_add_in_place;
  table.synchronize = [](int) {};
  table.memory_stats = [](int) { return cpu_memory_stats(); };
}

}  // namespace scangrad
