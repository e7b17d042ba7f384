#include <scangrad/cuda/families.h>
#include <scangrad/ops/functors.h>
#include <scangrad/cuda/map.cuh>

namespace scangrad::cuda {
namespace {

/// A functor with its parameters.
template <class F, class C>
struct WithScalars {
  C a, b;
  __device__ C operator()(C x) const { return F{}(x, a, b); }
};

template <class F, class Types>
void unary(const Tensor& out, const Tensor& x, Scalars) {
  dispatch(Types{}, x.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    map<T, T>(out, x, F{});
  });
}

template <class F, class Types>
void unary_with(const Tensor& out, const Tensor& x, Scalars scalars) {
  dispatch(Types{}, x.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    using C = compute_type<T>;
    map<T, T>(out, x, WithScalars<F, C>{convert<C>(scalars.a), convert<C>(scalars.b)});
  });
}

template <class F, class Types>
void predicate(const Tensor& out, const Tensor& x, Scalars) {
  dispatch(Types{}, x.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    map<bool, T>(out, x, F{});
  });
}

template <class F, class Types>
void binary(const Tensor& out, const Tensor& a, const Tensor& b) {
  dispatch(Types{}, a.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    map<T, T>(out, a, b, F{});
  });
}

template <class F, class Types>
void comparison(const Tensor& out, const Tensor& a, const Tensor& b) {
  dispatch(Types{}, a.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    map<bool, T>(out, a, b, F{});
  });
}

template <class T>
void where_typed(const Tensor& out, const Tensor& condition, const Tensor& a, const Tensor& b) {
  const auto loop = strided_loop(out, condition, a, b);
  T* const to = out.data<T>();
  const bool* const chosen = condition.data<bool>();
  const T* const from_a = a.data<T>();
  const T* const from_b = b.data<T>();
  for_each(out.device(), loop.numel, [=] __device__(std::int64_t i) {
    std::int64_t at[4];
    offsets_of(loop, i, at);
    to[at[0]] = chosen[at[1]] ? from_a[at[2]] : from_b[at[3]];
  });
}

void where(const Tensor& out, const Tensor& condition, const Tensor& a, const Tensor& b) {
  dispatch(AllTypes{}, out.dtype(),
           [&](auto tag) { where_typed<typename decltype(tag)::type>(out, condition, a, b); });
}

}  // namespace

void fill_elementwise(Kernels& table) {
#define SCANGRAD_UNARY(name, F, Types, ...) table.name = unary<functors::F, Types>;
#define SCANGRAD_UNARY_1(name, F, Types, ...) table.name = unary_with<functors::F, Types>;
#define SCANGRAD_UNARY_2 SCANGRAD_UNARY_1
#define SCANGRAD_PREDICATE(name, F, Types) table.name = predicate<functors::F, Types>;
#define SCANGRAD_BINARY(name, F, Types, ...) table.name = binary<functors::F, Types>;
#define SCANGRAD_COMPARISON(name, F, Types) table.name = comparison<functors::F, Types>;
#include <scangrad/ops/elementwise.def>
  table.where = where;
}

}  // namespace scangrad::cuda
