#include <scangrad/cuda/families.h>
#include <scangrad/ops/scan_functors.h>
#include <scangrad/cuda/launch.cuh>

namespace scangrad::cuda {
namespace {

using scan_functors::Largest, scan_functors::Smallest, scan_functors::Sum;

/// A monoid as a function object.
template <class Op>
struct Combine {
  template <class A>
  __device__ A operator()(A a, A b) const {
    return Op::combine(a, b);
  }
};

/// Where the kept elements, and the reduced ones of each, lie.
struct ReducePlan {
  StridedLoop<2> kept;     // over out and x
  StridedLoop<1> reduced;  // over x
};

/// x split by where `out` has stride 0.
ReducePlan plan(const Tensor& out, const Tensor& x) {
  Shape kept_sizes, reduced_sizes;
  Strides kept_out, kept_x, reduced_x;
  for (int dim = 0; dim < x.rank(); ++dim) {
    if (out.strides()[dim] == 0) {
      reduced_sizes.push_back(x.shape()[dim]);
      reduced_x.push_back(x.strides()[dim]);
    } else {
      kept_sizes.push_back(x.shape()[dim]);
      kept_out.push_back(out.strides()[dim]);
      kept_x.push_back(x.strides()[dim]);
    }
  }
  return {strided_loop(out.as_strided(kept_sizes, kept_out, out.offset()),
                       x.as_strided(kept_sizes, kept_x, x.offset())),
          strided_loop(x.as_strided(reduced_sizes, reduced_x, x.offset()))};
}

/// A block for each kept element where the reduced ones are adjacent; otherwise a thread for each
/// kept element, which are then adjacent to one another, over a part of the reduced range.
template <class Op, class A, class Out, class T>
void reduce_pass(Device device, const ReducePlan& p, Out* to, const T* from, std::int64_t chunks) {
  using C = compute_type<T>;
  const std::int64_t chunk = (p.reduced.numel + chunks - 1) / chunks;
  if (p.kept.step(1) != 1 || p.reduced.step(0) == 1 || p.kept.numel < 32) {
    for_each_row(device, p.kept.numel * chunks, [=] __device__(std::int64_t unit) {
      const std::int64_t part = unit / p.kept.numel;
      const std::int64_t first = part * chunk, last = min(p.reduced.numel, first + chunk);
      std::int64_t at[2], inner[1];
      offsets_of(p.kept, unit % p.kept.numel, at);
      A total = Op::template identity<A>();
      for (std::int64_t i = first + threadIdx.x; i < last; i += block_threads) {
        offsets_of(p.reduced, i, inner);
        total = Op::combine(total, A(C(from[at[1] + inner[0]])));
      }
      total = block_reduce(total, Op::template identity<A>(), Combine<Op>{});
      if (threadIdx.x == 0) to[part * p.kept.numel + at[0]] = static_cast<Out>(total);
    });
    return;
  }
  for_each(device, p.kept.numel * chunks, [=] __device__(std::int64_t unit) {
    const std::int64_t part = unit / p.kept.numel;
    const std::int64_t first = part * chunk, last = min(p.reduced.numel, first + chunk);
    std::int64_t at[2], inner[1];
    offsets_of(p.kept, unit % p.kept.numel, at);
    A total = Op::template identity<A>();
    for (std::int64_t i = first; i < last; ++i) {
      offsets_of(p.reduced, i, inner);
      total = Op::combine(total, A(C(from[at[1] + inner[0]])));
    }
    to[part * p.kept.numel + at[0]] = static_cast<Out>(total);
  });
}

template <class Op, class T>
void reduce_typed(const Tensor& out, const Tensor& x) {
  using A = compute_type<T>;
  const ReducePlan p = plan(out, x);
  // Parts into which the reduced range is split, by shape alone: enough of them to fill the device,
  // and none so long that a running sum loses digits.
  const std::int64_t wanted = std::max<std::int64_t>(p.reduced.numel / 2048, 1);
  const std::int64_t chunks = std::min<std::int64_t>(
      {wanted, std::max<std::int64_t>(1, (std::int64_t{1} << 20) / p.kept.numel), 1024});
  if (chunks == 1) return reduce_pass<Op, A>(x.device(), p, out.data<T>(), x.data<T>(), 1);

  // Two passes: every chunk to scratch (chunks, kept), then the chunks to `out`.
  const Tensor scratch = empty({chunks, p.kept.numel}, {dtype_of<A>, out.device()});
  ReducePlan first = p, second = p;
  std::int64_t step = 1;
  for (int dim = p.kept.rank - 1; dim >= 0; --dim) {
    first.kept.strides[0][dim] = second.kept.strides[1][dim] = step;
    step *= p.kept.sizes[dim];
  }
  second.reduced = {};
  second.reduced.numel = second.reduced.sizes[0] = chunks;
  second.reduced.strides[0][0] = p.kept.numel;
  reduce_pass<Op, A>(x.device(), first, scratch.data<A>(), x.data<T>(), chunks);
  reduce_pass<Op, A>(x.device(), second, out.data<T>(), static_cast<const A*>(scratch.data<A>()),
                     1);
}

template <class Op, class Types>
void reduce(const Tensor& out, const Tensor& x) {
  dispatch(Types{}, x.dtype(),
           [&](auto tag) { reduce_typed<Op, typename decltype(tag)::type>(out, x); });
}

/// A value and where it was; the earlier one of equals, the first NaN before all.
template <class Op, class C>
struct BestOf {
  C value;
  std::int64_t place;
  __device__ BestOf after(const BestOf& other) const {
    const bool nan = value != value, other_nan = other.value != other.value;
    if (nan || other_nan) return nan && (!other_nan || place < other.place) ? *this : other;
    if (value == other.value) return place < other.place ? *this : other;
    return Op::combine(value, other.value) == value ? *this : other;
  }
};

template <class Op, class T>
void along_typed(const Tensor& values, const Tensor& indices, const Tensor& x) {
  using C = compute_type<T>;
  const std::int64_t n = x.shape()[1], inner = x.shape()[2];
  const T* const from = x.data<T>();
  T* const best = values.data<T>();
  std::int64_t* const place = indices.data<std::int64_t>();
  const auto finish = [=] __device__(std::int64_t i, BestOf<Op, C> found) {
    best[i] = static_cast<T>(found.value);
    place[i] = found.place;
  };
  const auto at = [=] __device__(std::int64_t row, std::int64_t j) {
    return BestOf<Op, C>{C(from[(row / inner * n + j) * inner + row % inner]), j};
  };
  for_each(x.device(), x.shape()[0] * inner, [=] __device__(std::int64_t row) {
    BestOf<Op, C> found = at(row, 0);
    for (std::int64_t j = 1; j < n; ++j) found = found.after(at(row, j));
    finish(row, found);
  });
}

template <class Op>
void along(const Tensor& values, const Tensor& indices, const Tensor& x) {
  dispatch(AllTypes{}, x.dtype(),
           [&](auto tag) { along_typed<Op, typename decltype(tag)::type>(values, indices, x); });
}

}  // namespace

void fill_reduce(Kernels& table) {
  table.sum = reduce<Sum, NumberTypes>;
  table.amax = reduce<Largest, AllTypes>;
  table.amin = reduce<Smallest, AllTypes>;
  table.max_along = along<Largest>;
  table.min_along = along<Smallest>;
}

}  // namespace scangrad::cuda
