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

/// Elements of a thread: those of `blocks` blocks of words, adjacent, 16 bytes or more.
template <int blocks, class T>
void dropout_typed(const Tensor& out, const Tensor& x, double p, PhiloxState state) {
  using C = compute_type<T>;
  T* const to = out.data<T>();
  const T* const from = x.data<T>();
  const std::int64_t n = out.numel();
  const std::uint32_t threshold = philox_drop_threshold(p);
  const C scale = p < 1 ? static_cast<C>(1 / (1 - p)) : C(0);
  const auto drop = [=] __device__(T element, std::uint32_t word) {
    return static_cast<T>(word >> 8 < threshold ? C(0) : C(element) * scale);
  };
  const std::int64_t packs =
      aligned<4 * blocks>(from) && aligned<4 * blocks>(to) ? n / (4 * blocks) : 0;
  if (packs > 0) {
    for_each(x.device(), packs, [=] __device__(std::int64_t i) {
      const std::uint64_t counter = philox_counter(state) + static_cast<std::uint64_t>(i * blocks);
      auto pack = load_pack<4 * blocks>(from + i * 4 * blocks);
      for (int b = 0; b < blocks; ++b) {
        const PhiloxBlock block = philox(state.seed, counter + static_cast<std::uint64_t>(b));
        for (int k = 0; k < 4; ++k) {
          pack.values[4 * b + k] = drop(pack.values[4 * b + k], block.words[k]);
        }
      }
      store_pack(to + i * 4 * blocks, pack);
    });
  }
  const std::int64_t done = packs * 4 * blocks;  // whole blocks of words
  if (done == n) return;
  PhiloxState rest = state;
  rest.offset += static_cast<std::uint64_t>(packs * blocks);
  for_each_block(out, n - done, rest, [=] __device__(std::int64_t first, PhiloxBlock block) {
    for (int k = 0; k < 4 && first + k < n - done; ++k) {
      to[done + first + k] = drop(from[done + first + k], block.words[k]);
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
  dispatch(FloatTypes{}, x.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    dropout_typed<sizeof(T) == 2 ? 2 : 1, T>(out, x, p, state);
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

}  // namespace scangrad::cuda
