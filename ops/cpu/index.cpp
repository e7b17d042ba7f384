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

/// Calls visit(p, q) for each element p of the contiguous `index` and the element q of x (an
/// offset) that it names along `dim`. Those with one q come in ascending order of p, to one thread.
template <class Visit>
void for_each_indexed(const Tensor& index, const Tensor& x, int dim, const Visit& visit) {
  Shape others = index.shape();
  Strides index_strides = index.strides(), x_strides = x.strides();
  others.erase(dim);
  index_strides.erase(dim);
  x_strides.erase(dim);
  const auto loop =
      strided_loop(index.as_strided(others, index_strides, 0), x.as_strided(others, x_strides, 0));
  const std::int64_t* const at = index.data<std::int64_t>();
  const std::int64_t n = index.shape()[dim], step = index.strides()[dim];
  const std::int64_t x_step = x.strides()[dim];
  const std::int64_t grain = std::max<std::int64_t>(1, 16384 / n);
  parallel_for(loop.numel, grain, [&](std::int64_t begin, std::int64_t end) {
    for_each_row(loop, begin, end, [&](std::int64_t count, const std::int64_t* first) {
      const auto one = [&](std::int64_t i, std::int64_t j) {
        const std::int64_t p = first[0] + i * step + j * loop.step(0);
        visit(p, first[1] + j * loop.step(1) + at[p] * x_step);
      };
      if (loop.step(0) < step) {  // the inner loop over what is nearer in memory
        for (std::int64_t i = 0; i < n; ++i) {
          for (std::int64_t j = 0; j < count; ++j) one(i, j);
        }
      } else {
        for (std::int64_t j = 0; j < count; ++j) {
          for (std::int64_t i = 0; i < n; ++i) one(i, j);
        }
      }
    });
  });
}

void gather(const Tensor& out, const Tensor& x, int dim, const Tensor& index, IndexCheck where) {
  require_indices(index, x.shape()[dim], where);
  dispatch(AllTypes{}, x.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    T* const to = out.data<T>();
    const T* const from = x.data<T>();
    for_each_indexed(index, x, dim, [&](std::int64_t p, std::int64_t q) { to[p] = from[q]; });
  });
}

void scatter_add(const Tensor& out, int dim, const Tensor& index, const Tensor& x,
                 IndexCheck where) {
  require_indices(index, out.shape()[dim], where);
  dispatch(NumberTypes{}, x.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    using C = compute_type<T>;
    T* const to = out.data<T>();
    const T* const from = x.data<T>();
    for_each_indexed(index, out, dim, [&](std::int64_t p, std::int64_t q) {
      to[q] = static_cast<T>(C(to[q]) + C(from[p]));
    });
  });
}

}  // namespace

void fill_index(Kernels& table) {
  table.index_select = index_select;
  table.index_add = index_add;
  table.gather = gather;
  table.scatter_add = scatter_add;
}

}  // namespace scangrad::SCANGRAD_CPU_NAMESPACE
