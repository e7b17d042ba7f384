#include <scangrad/ops/cpu/level.h>

namespace scangrad::SCANGRAD_CPU_NAMESPACE {
namespace {

/// Values and where they were, in two arrays of one length.
template <class T>
struct Entries {
  T* values;
  std::int64_t* indices;

  Entries from(std::int64_t i) const { return {values + i, indices + i}; }
  void set(std::int64_t i, const Entries& other, std::int64_t j) const {
    values[i] = other.values[j];
    indices[i] = other.indices[j];
  }
};

/// Does a stand strictly before b? NaN counts as the largest.
template <bool Descending, class T>
bool before(T a, T b) {
  using C = compute_type<T>;
  const C x = Descending ? C(b) : C(a), y = Descending ? C(a) : C(b);
  return x < y || (y != y && x == x);
}

/// Puts x[i] into the sorted first `used` of k entries, which drop their last when full.
template <bool Descending, class T>
std::int64_t insert(const Entries<T>& sorted, std::int64_t used, std::int64_t k, const T* x,
                    std::int64_t i) {
  if (used == k && !before<Descending>(x[i], sorted.values[k - 1])) return used;
  std::int64_t at = used < k ? used : k - 1;
  for (; at > 0 && before<Descending>(x[i], sorted.values[at - 1]); --at) {
    sorted.set(at, sorted, at - 1);
  }
  sorted.values[at] = x[i];
  sorted.indices[at] = i;
  return std::min(used + 1, k);
}

template <bool Descending, class T>
void merge(const Entries<T>& out, const Entries<T>& in, std::int64_t middle, std::int64_t n) {
  std::int64_t left = 0, right = middle;
  for (std::int64_t i = 0; i < n; ++i) {
    const bool take_right =
        right < n && (left == middle || before<Descending>(in.values[right], in.values[left]));
    out.set(i, in, take_right ? right++ : left++);
  }
}

/// Merge sort of all n: runs by insertion, then doubled. `out` and `spare` hold n entries each.
template <bool Descending, class T>
void sort_row(Entries<T> out, Entries<T> spare, const T* x, std::int64_t n) {
  constexpr std::int64_t run = 16;
  Entries<T> from = out, to = spare;
  std::int64_t passes = 0;
  for (std::int64_t length = run; length < n; length *= 2) ++passes;
  if (passes % 2 == 1) std::swap(from, to);  // so that the last pass ends in `out`
  for (std::int64_t first = 0; first < n; first += run) {
    const std::int64_t count = std::min(run, n - first);
    for (std::int64_t i = 0; i < count; ++i) {
      insert<Descending>(from.from(first), i, count, x + first, i);
    }
    for (std::int64_t i = 0; i < count; ++i) from.indices[first + i] += first;
  }
  for (std::int64_t length = run; length < n; length *= 2) {
    for (std::int64_t first = 0; first < n; first += 2 * length) {
      const std::int64_t count = std::min(2 * length, n - first);
      merge<Descending>(to.from(first), from.from(first), std::min(length, count), count);
    }
    std::swap(from, to);
  }
}

template <bool Descending, class T>
void sort_rows(const Tensor& values, const Tensor& indices, const Tensor& x) {
  const std::int64_t rows = x.shape()[0], n = x.shape()[1], k = values.shape()[1];
  const Entries<T> out{values.data<T>(), indices.data<std::int64_t>()};
  const T* const from = x.data<T>();
  const bool few = k < n && k <= 64;  // insertion into the best k so far
  parallel_for(rows, std::max<std::int64_t>(1, 1024 / n),
               [&](std::int64_t begin, std::int64_t end) {
                 const std::int64_t scratch = few ? 0 : n;
                 const Tensor value_space = empty({2, scratch}, {dtype_of<T>, x.device()});
                 const Tensor index_space = empty({2, scratch}, {DType::i64, x.device()});
                 const Entries<T> a{value_space.data<T>(), index_space.data<std::int64_t>()};
                 for (std::int64_t row = begin; row < end; ++row) {
                   const Entries<T> target = out.from(row * k);
                   if (few) {
                     std::int64_t used = 0;
                     for (std::int64_t i = 0; i < n; ++i) {
                       used = insert<Descending>(target, used, k, from + row * n, i);
                     }
                   } else if (k == n) {
                     sort_row<Descending>(target, a, from + row * n, n);
                   } else {
                     sort_row<Descending>(a, a.from(n), from + row * n, n);
                     for (std::int64_t i = 0; i < k; ++i) target.set(i, a, i);
                   }
                 }
               });
}

void sort(const Tensor& values, const Tensor& indices, const Tensor& x, bool descending) {
  dispatch(AllTypes{}, x.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    if (descending) {
      sort_rows<true, T>(values, indices, x);
    } else {
      sort_rows<false, T>(values, indices, x);
    }
  });
}

}  // namespace

void fill_sort(Kernels& table) { table.sort = sort; }

}  // namespace scangrad::SCANGRAD_CPU_NAMESPACE
