#include <scangrad/cuda/families.h>
#include <scangrad/cuda/launch.cuh>

#include <cub/device/device_segmented_sort.cuh>

// CUB sorts the rows, stably, by keys whose order as unsigned integers is that of the values, NaN
// being the largest.
namespace scangrad::cuda {
namespace {

template <std::size_t bytes>
struct KeyOf;
template <>
struct KeyOf<1> {
  using type = std::uint8_t;
};
template <>
struct KeyOf<2> {
  using type = std::uint16_t;
};
template <>
struct KeyOf<4> {
  using type = std::uint32_t;
};
template <>
struct KeyOf<8> {
  using type = std::uint64_t;
};

/// Order-preserving bits: sign flipped for integers; for floats, all bits where negative.
template <class T, class Key>
__device__ Key key_of(T x) {
  constexpr Key sign = Key(1) << (8 * sizeof(Key) - 1);
  if constexpr (std::is_same_v<T, bool>) {
    return Key(x);
  } else if constexpr (std::is_integral_v<T>) {
    return static_cast<Key>(x) ^ sign;
  } else {
    const compute_type<T> value = static_cast<compute_type<T>>(x);
    if (value != value) return static_cast<Key>(~Key(0));
    if (value == compute_type<T>(0)) return sign;  // −0 equals 0
    Key bits;
    memcpy(&bits, &x, sizeof bits);
    return (bits & sign) != 0 ? static_cast<Key>(~bits) : static_cast<Key>(bits | sign);
  }
}

template <class T>
void sort_typed(const Tensor& values, const Tensor& indices, const Tensor& x, bool descending) {
  using Key = typename KeyOf<sizeof(T)>::type;
  const Device device = x.device();
  const DeviceGuard guard(device.index);
  const std::int64_t rows = x.shape()[0], n = x.shape()[1], k = values.shape()[1];
  const std::int64_t bytes = rows * n * static_cast<std::int64_t>(sizeof(Key));
  const auto scratch = [&](std::int64_t size) {
    return empty({size}, {DType::bool_, device});  // bytes
  };
  const Tensor keys = scratch(bytes), sorted_keys = scratch(bytes);
  const Tensor places = empty({rows, n}, {DType::i64, device}), sorted = empty_like(places);
  const Tensor begins = empty({rows + 1}, {DType::i64, device});
  const T* const from = x.data<T>();
  auto* const key = static_cast<Key*>(keys.raw_data());
  auto* const place = places.data<std::int64_t>();
  auto* const begin = begins.data<std::int64_t>();
  for_each(device, rows * n, [=] __device__(std::int64_t i) {
    key[i] = key_of<T, Key>(from[i]);
    place[i] = i % n;
  });
  for_each(device, rows + 1, [=] __device__(std::int64_t r) { begin[r] = r * n; });

  call_cub(device, "a sort", [&](void* memory, std::size_t& size) {
    auto* const out = static_cast<Key*>(sorted_keys.raw_data());
    auto* const out_places = sorted.data<std::int64_t>();
    using Sort = cub::DeviceSegmentedSort;
    return descending ? Sort::StableSortPairsDescending(memory, size, key, out, place, out_places,
                                                        rows * n, rows, begin, begin + 1,
                                                        stream(device.index))
                      : Sort::StableSortPairs(memory, size, key, out, place, out_places, rows * n,
                                              rows, begin, begin + 1, stream(device.index));
  });

  const auto* const order = sorted.data<std::int64_t>();
  T* const to = values.data<T>();
  auto* const to_place = indices.data<std::int64_t>();
  for_each(device, rows * k, [=] __device__(std::int64_t i) {
    const std::int64_t row = i / k, chosen = order[row * n + i % k];
    to[i] = from[row * n + chosen];
    to_place[i] = chosen;
  });
}

void sort(const Tensor& values, const Tensor& indices, const Tensor& x, bool descending) {
  dispatch(AllTypes{}, x.dtype(), [&](auto tag) {
    sort_typed<typename decltype(tag)::type>(values, indices, x, descending);
  });
}

}  // namespace

void fill_sort(Kernels& table) { table.sort = sort; }

}  // namespace scangrad::cuda
