#include <scangrad/cuda/families.h>
#include <scangrad/cuda/launch.cuh>

#include <cub/device/device_radix_sort.cuh>

#include <bit>

// What is added to one place is added in an order that depends on the indices alone: a run repeats
// to the bit.
namespace scangrad::cuda {
namespace {

template <int V, class T>
void index_select_typed(const Tensor& out, const Tensor& x, const Tensor& index, IndexCheck where) {
  const std::int64_t k = out.shape()[1], packs = out.shape()[2] / V, n = x.shape()[1];
  const std::int64_t* const at = index.data<std::int64_t>();
  const T* const from = x.data<T>();
  T* const to = out.data<T>();
  const FaultWord fault = fault_word(x.device().index);
  for_each(x.device(), out.numel() / V, [=] __device__(std::int64_t i) {
    const std::int64_t row = i / packs, chosen = at[row % k];
    if (chosen < 0 || chosen >= n) {
      note_fault(fault, where.op, where.unit, chosen, n);
      store_pack(to + i * V, Pack<T, V>{});
      return;
    }
    store_pack(to + i * V, load_pack<V>(from + ((row / k * n + chosen) * packs + i % packs) * V));
  });
}

/// Terms in the order in which they are added: term order[i] goes to targets[i], ascending; to
/// `places`, which is nowhere, if its index was bad.
struct SortedTerms {
  Tensor targets, order;
};

/// `target(i)` is where term i goes, for i < count.
template <class Target>
SortedTerms sort_terms(Device device, std::int64_t count, std::int64_t places,
                       const Target& target) {
  const DeviceGuard guard(device.index);
  const TensorOptions i64s{DType::i64, device};
  const Tensor keys = empty({count}, i64s), terms = empty({count}, i64s);
  SortedTerms sorted{empty({count}, i64s), empty({count}, i64s)};
  std::int64_t* const key = keys.data<std::int64_t>();
  std::int64_t* const term = terms.data<std::int64_t>();
  for_each(device, count, [=] __device__(std::int64_t i) {
    key[i] = target(i);
    term[i] = i;
  });
  const int bits =
      std::max(static_cast<int>(std::bit_width(static_cast<std::uint64_t>(places))), 1);
  call_cub(device, "a sort of indices", [&](void* memory, std::size_t& size) {
    return cub::DeviceRadixSort::SortPairs(memory, size, key, sorted.targets.data<std::int64_t>(),
                                           term, sorted.order.data<std::int64_t>(), count, 0, bits,
                                           stream(device.index));
  });
  return sorted;
}

/// out (outer, places, inner) += x (outer, count, inner), its rows being the sorted terms.
struct Addition {
  std::int64_t outer, places, count, inner;
};

/// The terms are cut into pieces of one length. What of a place lies within a piece is added at
/// once. A place whose terms go on into other pieces gets a partial sum from each, as the piece's
/// `head` if they began in an earlier one, else as its `tail`, and a second pass adds these up.
template <int V, class T>
void add_sorted(const Tensor& out, const Tensor& x, const SortedTerms& sorted, const Addition& a) {
  using C = compute_type<T>;
  constexpr int batch = 8, heads_batch = 16;  // loads in flight
  const auto length = static_cast<std::int64_t>(std::bit_ceil(
      std::clamp<std::uint64_t>(static_cast<std::uint64_t>(a.count) / 2048, 32, 256)));
  const std::int64_t pieces = (a.count + length - 1) / length, packs = a.inner / V;
  const Tensor partial = empty({2, a.outer, pieces, a.inner}, {dtype_of<C>, x.device()});
  C* const heads = partial.data<C>();
  C* const tails = heads + a.outer * pieces * a.inner;
  const std::int64_t* const targets = sorted.targets.data<std::int64_t>();
  const std::int64_t* const order = sorted.order.data<std::int64_t>();
  const T* const from = x.data<T>();
  T* const to = out.data<T>();
  const auto add = [=] __device__(std::int64_t outer, std::int64_t target, std::int64_t column,
                                  const Pack<C, V>& total) {
    T* const place = to + (outer * a.places + target) * a.inner + column;
    Pack<T, V> sum = load_pack<V>(place);
    for (int v = 0; v < V; ++v) sum.values[v] = static_cast<T>(C(sum.values[v]) + total.values[v]);
    store_pack(place, sum);
  };
  for_each(x.device(), a.outer * pieces * packs, [=] __device__(std::int64_t unit) {
    const std::int64_t column = unit % packs * V, row = unit / packs;
    const std::int64_t outer = row / pieces, first = row % pieces * length;
    const std::int64_t last = min(first + length, a.count);
    const T* const terms = from + outer * a.count * a.inner + column;
    const std::int64_t part = row * a.inner + column;
    bool began_before = first > 0 && targets[first - 1] == targets[first];
    Pack<C, V> total{};
    for (std::int64_t i = first; i < last; i += batch) {
      std::int64_t target[batch + 1];
      Pack<T, V> term[batch];
#pragma unroll
      for (int j = 0; j <= batch; ++j) target[j] = i + j < a.count ? targets[i + j] : -1;
#pragma unroll
      for (int j = 0; j < batch; ++j) {
        if (i + j < last) term[j] = load_pack<V>(terms + order[i + j] * a.inner);
      }
#pragma unroll
      for (int j = 0; j < batch; ++j) {
        if (i + j >= last) break;
        for (int v = 0; v < V; ++v) total.values[v] += C(term[j].values[v]);
        const bool ends = target[j + 1] != target[j];
        if (!ends && i + j + 1 < last) continue;
        if (began_before) {
          store_pack(heads + part, total);
        } else if (!ends) {
          store_pack(tails + part, total);
        } else if (target[j] < a.places) {
          add(outer, target[j], column, total);
        }
        began_before = false;
        total = {};
      }
    }
  });
  if (pieces == 1) return;
  for_each(x.device(), a.outer * (pieces - 1) * packs, [=] __device__(std::int64_t unit) {
    const std::int64_t column = unit % packs * V, row = unit / packs;
    const std::int64_t outer = row / (pieces - 1), piece = row % (pieces - 1);
    const std::int64_t first = piece * length, last = first + length;
    const std::int64_t target = targets[last - 1];
    if (target == a.places || targets[last] != target) return;  // ends here
    if (first > 0 && targets[first - 1] == target) return;      // began before
    const std::int64_t part = outer * pieces * a.inner + column;
    Pack<C, V> total = load_pack<V>(tails + part + piece * a.inner);
    bool more = true;
    for (std::int64_t next = piece + 1; more; next += heads_batch) {
      bool goes_on[heads_batch];
      Pack<C, V> head[heads_batch];
#pragma unroll
      for (int j = 0; j < heads_batch; ++j) {
        goes_on[j] = next + j < pieces && targets[(next + j) * length] == target;
      }
#pragma unroll
      for (int j = 0; j < heads_batch; ++j) {
        if (goes_on[j]) head[j] = load_pack<V>(heads + part + (next + j) * a.inner);
      }
#pragma unroll
      for (int j = 0; j < heads_batch; ++j) {
        for (int v = 0; goes_on[j] && v < V; ++v) total.values[v] += head[j].values[v];
      }
      more = goes_on[heads_batch - 1];
    }
    add(outer, target, column, total);
  });
}

template <class T>
void index_add_typed(const Tensor& out, const Tensor& index, const Tensor& x, IndexCheck where) {
  const Addition a{x.shape()[0], out.shape()[1], x.shape()[1], x.shape()[2]};
  const std::int64_t* const at = index.data<std::int64_t>();
  const FaultWord fault = fault_word(x.device().index);
  const auto target = [=] __device__(std::int64_t i) {
    const std::int64_t chosen = at[i];
    if (0 <= chosen && chosen < a.places) return chosen;
    note_fault(fault, where.op, where.unit, chosen, a.places);
    return a.places;
  };
  const SortedTerms sorted = sort_terms(x.device(), a.count, a.places, target);
  if (a.inner % 4 == 0 && aligned<4>(out.data<T>()) && aligned<4>(x.data<T>())) {
    add_sorted<4, T>(out, x, sorted, a);
  } else {
    add_sorted<1, T>(out, x, sorted, a);
  }
}

/// The loop over index and x without `dim`, and the steps along it.
struct Along {
  StridedLoop<2> others;
  std::int64_t n, step, x_step;
};
Along along(const Tensor& index, const Tensor& x, int dim) {
  Shape others = index.shape();
  Strides index_strides = index.strides(), x_strides = x.strides();
  others.erase(dim);
  index_strides.erase(dim);
  x_strides.erase(dim);
  return {
      strided_loop(index.as_strided(others, index_strides, 0), x.as_strided(others, x_strides, 0)),
      index.shape()[dim], index.strides()[dim], x.strides()[dim]};
}

template <class T>
void gather_typed(const Tensor& out, const Tensor& x, int dim, const Tensor& index,
                  IndexCheck where) {
  const Along plan = along(index, x, dim);
  const std::int64_t limit = x.shape()[dim];
  const std::int64_t* const at = index.data<std::int64_t>();
  const T* const from = x.data<T>();
  T* const to = out.data<T>();
  const FaultWord fault = fault_word(x.device().index);
  for_each(x.device(), index.numel(), [=] __device__(std::int64_t i) {
    std::int64_t first[2];
    offsets_of(plan.others, i / plan.n, first);
    const std::int64_t p = first[0] + i % plan.n * plan.step, chosen = at[p];
    if (chosen < 0 || chosen >= limit) {
      note_fault(fault, where.op, where.unit, chosen, limit);
      to[p] = T(false);
      return;
    }
    to[p] = from[first[1] + chosen * plan.x_step];
  });
}

/// Each thread walks one line along `dim`, where there are lines enough; else all is sorted.
template <class T>
void scatter_add_typed(const Tensor& out, int dim, const Tensor& index, const Tensor& x,
                       IndexCheck where) {
  using C = compute_type<T>;
  const Along plan = along(index, out, dim);
  const std::int64_t limit = out.shape()[dim];
  const std::int64_t* const at = index.data<std::int64_t>();
  const T* const from = x.data<T>();
  T* const to = out.data<T>();
  const FaultWord fault = fault_word(x.device().index);
  if (plan.n > std::max<std::int64_t>(plan.others.numel, 32)) {
    const std::int64_t places = out.numel();
    const auto target = [=] __device__(std::int64_t i) {
      // Term i is element i of x, line i / step / n × step + i % step, place i / step % n in it.
      const std::int64_t chosen = at[i], line = i / plan.step / plan.n * plan.step + i % plan.step;
      if (chosen < 0 || chosen >= limit) {
        note_fault(fault, where.op, where.unit, chosen, limit);
        return places;
      }
      std::int64_t first[2];
      offsets_of(plan.others, line, first);
      return first[1] + chosen * plan.x_step;
    };
    const SortedTerms sorted = sort_terms(x.device(), index.numel(), places, target);
    add_sorted<1, T>(out, x, sorted, {1, places, index.numel(), 1});
    return;
  }
  for_each(x.device(), plan.others.numel, [=] __device__(std::int64_t i) {
    std::int64_t first[2];
    offsets_of(plan.others, i, first);
    for (std::int64_t j = 0; j < plan.n; ++j) {
      const std::int64_t p = first[0] + j * plan.step, chosen = at[p];
      if (chosen < 0 || chosen >= limit) {
        note_fault(fault, where.op, where.unit, chosen, limit);
        continue;
      }
      T& target = to[first[1] + chosen * plan.x_step];
      target = static_cast<T>(C(target) + C(from[p]));
    }
  });
}

void index_select(const Tensor& out, const Tensor& x, const Tensor& index, IndexCheck where) {
  dispatch(AllTypes{}, x.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    if (out.shape()[2] % 4 == 0 && aligned<4>(out.data<T>()) && aligned<4>(x.data<T>())) {
      index_select_typed<4, T>(out, x, index, where);
    } else {
      index_select_typed<1, T>(out, x, index, where);
    }
  });
}
void index_add(const Tensor& out, const Tensor& index, const Tensor& x, IndexCheck where) {
  dispatch(NumberTypes{}, x.dtype(),
           [&](auto tag) { index_add_typed<typename decltype(tag)::type>(out, index, x, where); });
}
void gather(const Tensor& out, const Tensor& x, int dim, const Tensor& index, IndexCheck where) {
  dispatch(AllTypes{}, x.dtype(), [&](auto tag) {
    gather_typed<typename decltype(tag)::type>(out, x, dim, index, where);
  });
}
void scatter_add(const Tensor& out, int dim, const Tensor& index, const Tensor& x,
                 IndexCheck where) {
  dispatch(NumberTypes{}, x.dtype(), [&](auto tag) {
    scatter_add_typed<typename decltype(tag)::type>(out, dim, index, x, where);
  });
}

}  // namespace

void fill_index(Kernels& table) {
  table.index_select = index_select;
  table.index_add = index_add;
  table.gather = gather;
  table.scatter_add = scatter_add;
}

}  // namespace scangrad::cuda
