#include <scangrad/core/philox.h>
#include <scangrad/cuda/families.h>
#include <scangrad/cuda/launch.cuh>

// Each thread makes one block of four words and serves the four elements that take them: the words
// of core/philox.h, as on the CPU.
namespace scangrad::cuda {
namespace {

/// use(first, words) for each four elements of [0, count); the last may be fewer.
template <class Use>
void for_each_block(const Tensor& out, std::int64_t count, PhiloxState state, const Use& use) {
  for_each(out.device(), (count + 3) / 4, [=] __device__(std::int64_t i) {
    use(4 * i, philox(state.seed, philox_counter(state) + static_cast<std::uint64_t>(i)));
  });
}

template <class T>
void uniform_typed(const Tensor& out, Scalars bounds, PhiloxState state) {
  T* const to = out.data<T>();
  const std::int64_t n = out.numel();
  const double low = bounds.a, range = bounds.b - bounds.a;
  for_each_block(out, n, state, [=] __device__(std::int64_t first, PhiloxBlock block) {
    for (int k = 0; k < 4 && first + k < n; ++k) {
      const double u = philox_uniform(block.words[k]);
      to[first + k] = static_cast<T>(fma(u, range, low));
    }
  });
}

template <class T>
void normal_typed(const Tensor& out, Scalars moments, PhiloxState state) {
  T* const to = out.data<T>();
  const std::int64_t n = out.numel();
  const double mean = moments.a, deviation = moments.b;
  for_each_block(out, n, state, [=] __device__(std::int64_t first, PhiloxBlock block) {
    double z[4];
    philox_normals(block.words[0], block.words[1], z);
    philox_normals(block.words[2], block.words[3], z + 2);
    for (int k = 0; k < 4 && first + k < n; ++k) {
      to[first + k] = static_cast<T>(fma(z[k], deviation, mean));
    }
  });
}

template <class T>
void randint_typed(const Tensor& out, std::int64_t low, std::uint64_t range, PhiloxState state) {
  T* const to = out.data<T>();
  const std::int64_t n = out.numel();
  for_each_block(out, n, state, [=] __device__(std::int64_t first, PhiloxBlock block) {
    for (int k = 0; k < 4 && first + k < n; ++k) {
      to[first + k] = static_cast<T>(low + philox_below(block.words[k], range));
    }
  });
}

template <class T>
void dropout_typed(const Tensor& out, const Tensor& x, double p, PhiloxState state) {
  using C = compute_type<T>;
  T* const to = out.data<T>();
  const T* const from = x.data<T>();
  const std::int64_t n = out.numel();
  const std::uint32_t threshold = philox_drop_threshold(p);
  const C scale = p < 1 ? static_cast<C>(1 / (1 - p)) : C(0);
  for_each_block(out, n, state, [=] __device__(std::int64_t first, PhiloxBlock block) {
    for (int k = 0; k < 4 && first + k < n; ++k) {
      const C kept = C(from[first + k]) * scale;
      to[first + k] = static_cast<T>(block.words[k] >> 8 < threshold ? C(0) : kept);
    }
  });
}

void uniform(const Tensor& out, Scalars bounds, PhiloxState state) {
  dispatch(FloatTypes{}, out.dtype(),
           [&](auto tag) { uniform_typed<typename decltype(tag)::type>(out, bounds, state); });
}
void normal(const Tensor& out, Scalars moments, PhiloxState state) {
  dispatch(FloatTypes{}, out.dtype(),
           [&](auto tag) { normal_typed<typename decltype(tag)::type>(out, moments, state); });
}
void randint(const Tensor& out, std::int64_t low, std::uint64_t range, PhiloxState state) {
  dispatch(TypeList<std::int32_t, std::int64_t>{}, out.dtype(),
           [&](auto tag) { randint_typed<typename decltype(tag)::type>(out, low, range, state); });
}
void random_bits(const Tensor& out, PhiloxState state) {
  std::int64_t* const to = out.data<std::int64_t>();
  const std::int64_t n = out.numel();
  for_each_block(out, 2 * n, state, [=] __device__(std::int64_t first, PhiloxBlock block) {
    for (int k = 0; k < 4 && (first + k) / 2 < n; k += 2) {
      to[(first + k) / 2] = static_cast<std::int64_t>(std::uint64_t{block.words[k]} |
                                                      std::uint64_t{block.words[k + 1]} << 32);
    }
  });
}
void dropout(const Tensor& out, const Tensor& x, double p, PhiloxState state) {
  dispatch(FloatTypes{}, x.dtype(),
           [&](auto tag) { dropout_typed<typename decltype(tag)::type>(out, x, p, state); });
}

}  // namespace

void fill_random(Kernels& table) {
  table.uniform = uniform;
  table.normal = normal;
  table.randint = randint;
  table.random_bits = random_bits;
  table.dropout = dropout;
}

}  // namespace scangrad::cuda
