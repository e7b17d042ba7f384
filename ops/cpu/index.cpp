#include <scangrad/ops/cpu/level.h>

#include <cstring>

namespace scangrad::SCANGRAD_CPU_NAMESPACE {
namespace {

/// Throws for the first index outside [0, limit), before anything is written.
void require_indices(const Tensor& index, std::int64_t limit, IndexCheck where) {
  const std::int64_t* const at = index.data<std::int64_t>();
  for (std::int64_t i = 0; i < index.numel(); ++i) {
    if (at[i] < 0 || at[i] >= limit) bad_index(where, at[i], limit);
  }
}

void index_select(const Tensor& out, const Tensor& x, const Tensor& index, IndexCheck where) {
  const std::int64_t k = out.shape()[1], inner = out.shape()[2], n = x.shape()[1];
  require_indices(index, n, where);
  const std::int64_t* const at = index.data<std::int64_t>();
  const std::int64_t row = inner * static_cast<std::int64_t>(size_of(x.dtype()));  // bytes
  std::byte* const to = static_cast<std::byte*>(out.raw_data());
  const std::byte* const from = static_cast<const std::byte*>(x.raw_data());
  const std::int64_t grain = std::max<std::int64_t>(1, 65536 / row);
  parallel_for(out.shape()[0] * k, grain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin; r < end; ++r) {
      std::memcpy(to + r * row, from + (r / k * n + at[r % k]) * row,
                  static_cast<std::size_t>(row));
    }
  });
}

/// Each thread takes a range of columns and walks all indices, so that no two write one place and
/// the order of the sums is that of the indices.
void index_add(const Tensor& out, const Tensor& index, const Tensor& x, IndexCheck where) {
  const std::int64_t k = x.shape()[1], inner = x.shape()[2], n = out.shape()[1];
  require_indices(index, n, where);
  const std::int64_t* const at = index.data<std::int64_t>();
  dispatch(NumberTypes{}, x.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    using C = compute_type<T>;
    T* const to = out.data<T>();
    const T* const from = x.data<T>();
    const std::int64_t width = std::min<std::int64_t>(inner, 64);
    const std::int64_t tiles = (inner + width - 1) / width;
    const std::int64_t grain = std::max<std::int64_t>(1, 16384 / (k * width));
    parallel_for(x.shape()[0] * tiles, grain, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t t = begin; t < end; ++t) {
        const std::int64_t outer = t / tiles, column = t % tiles * width;
        const std::int64_t count = std::min(width, inner - column);
        T* const target = to + outer * n * inner + column;
        const T* const source = from + outer * k * inner + column;
        for (std::int64_t i = 0; i < k; ++i) {
          T* const o = target + at[i] * inner;
          const T* const s = source + i * inner;
#pragma omp simd
          for (std::int64_t j = 0; j < count; ++j) o[j] = static_cast<T>(C(o[j]) + C(s[j]));
        }
      }
    });
  });
}

}  // namespace

void fill_index(Kernels& table) {
  table.index_select = index_select;
  table.index_add = index_add;
}

}  // namespace scangrad::SCANGRAD_CPU_NAMESPACE
