#include <scangrad/ops/cpu/level.h>

#include <cmath>

namespace scangrad::SCANGRAD_CPU_NAMESPACE {
namespace {

constexpr std::int64_t tile = 256;  // words made at a time: they stay in the nearest cache

/// words[j] = the word of element first + j; `first` is a multiple of 4.
void make_words(PhiloxState state, std::int64_t first, std::uint32_t* words) {
  constexpr int blocks = tile / 4;
  const std::uint64_t counter = philox_counter(state) + static_cast<std::uint64_t>(first) / 4;
  std::uint32_t lanes[4][blocks];  // apart, so that the rounds vectorise over blocks
#pragma omp simd
  for (int j = 0; j < blocks; ++j) {
    philox_words(state.seed, counter + static_cast<std::uint64_t>(j), 0, lanes[0][j], lanes[1][j],
                 lanes[2][j], lanes[3][j]);
  }
  for (int j = 0; j < blocks; ++j) {
    for (int lane = 0; lane < 4; ++lane) words[4 * j + lane] = lanes[lane][j];
  }
}

/// Calls `use(first, n, words)` for tiles that cover the elements [0, count), on all threads.
template <class Use>
void for_each_tile(PhiloxState state, std::int64_t count, const Use& use) {
  parallel_for((count + tile - 1) / tile, 32, [&](std::int64_t begin, std::int64_t end) {
    std::uint32_t words[tile];
    for (std::int64_t t = begin; t < end; ++t) {
      make_words(state, t * tile, words);
      use(t * tile, std::min(tile, count - t * tile), words);
    }
  });
}

void uniform(const Tensor& out, Scalars bounds, PhiloxState state) {
  dispatch(FloatTypes{}, out.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    T* const to = out.data<T>();
    const double low = bounds.a, range = bounds.b - bounds.a;
    for_each_tile(state, out.numel(),
                  [&](std::int64_t first, std::int64_t n, const std::uint32_t* words) {
                    // fma: the same rounding on every instruction set and device.
                    for (std::int64_t j = 0; j < n; ++j) {
                      const double u = philox_uniform(words[j]);
                      to[first + j] = static_cast<T>(std::fma(u, range, low));
                    }
                  });
  });
}

void normal(const Tensor& out, Scalars moments, PhiloxState state) {
  dispatch(FloatTypes{}, out.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    T* const to = out.data<T>();
    for_each_tile(state, out.numel(),
                  [&](std::int64_t first, std::int64_t n, const std::uint32_t* words) {
                    for (std::int64_t j = 0; j < n; j += 2) {
                      double z[2];
                      philox_normals(words[j], words[j + 1], z);
                      for (std::int64_t k = j; k < std::min(j + 2, n); ++k) {
                        to[first + k] = static_cast<T>(std::fma(z[k - j], moments.b, moments.a));
                      }
                    }
                  });
  });
}

void randint(const Tensor& out, std::int64_t low, std::uint64_t range, PhiloxState state) {
  dispatch(TypeList<std::int32_t, std::int64_t>{}, out.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    T* const to = out.data<T>();
    for_each_tile(state, out.numel(),
                  [&](std::int64_t first, std::int64_t n, const std::uint32_t* words) {
                    for (std::int64_t j = 0; j < n; ++j) {
                      to[first + j] = static_cast<T>(low + philox_below(words[j], range));
                    }
                  });
  });
}

void random_bits(const Tensor& out, PhiloxState state) {
  std::int64_t* const to = out.data<std::int64_t>();
  for_each_tile(
      state, 2 * out.numel(), [&](std::int64_t first, std::int64_t n, const std::uint32_t* words) {
        for (std::int64_t j = 0; j < n; j += 2) {
          to[(first + j) / 2] = static_cast<std::int64_t>(std::uint64_t{words[j]} |
                                                          std::uint64_t{words[j + 1]} << 32);
        }
      });
}

void dropout(const Tensor& out, const Tensor& x, double p, PhiloxState state) {
  dispatch(FloatTypes{}, x.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    using C = compute_type<T>;
    T* const to = out.data<T>();
    const T* const from = x.data<T>();
    const std::uint32_t threshold = philox_drop_threshold(p);
    const C scale = p < 1 ? static_cast<C>(1 / (1 - p)) : C(0);
    for_each_tile(state, out.numel(),
                  [&](std::int64_t first, std::int64_t n, const std::uint32_t* words) {
                    T* const o = to + first;
                    const T* const i = from + first;
#pragma omp simd
                    for (std::int64_t j = 0; j < n; ++j) {
                      const C kept = C(i[j]) * scale;  // read anyway, so that it vectorises
                      o[j] = static_cast<T>(words[j] >> 8 < threshold ? C(0) : kept);
                    }
                  });
  });
}

}  // namespace

void fill_random(Kernels& table) {
  table.uniform = uniform;
  table.normal = normal;
  table.randint = randint;
  table.random_bits = random_bits;
  table.dropout = dropout;
}

}  // namespace scangrad::SCANGRAD_CPU_NAMESPACE
