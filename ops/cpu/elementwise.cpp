#include <scangrad/ops/cpu/level.h>
#include <scangrad/ops/functors.h>

namespace scangrad::SCANGRAD_CPU_NAMESPACE {
namespace {

/// out[i] = f(x[i]) over rows; contiguous rows get a loop that the compiler vectorises.
template <class Out, class In, class F>
void map_rows(const Tensor& out, const Tensor& x, F f) {
  const auto loop = strided_loop(out, x);
  Out* const to = out.data<Out>();
  const In* const from = x.data<In>();
  parallel_rows(loop, [&](std::int64_t n, const std::int64_t* at) {
    Out* o = to + at[0];
    const In* i = from + at[1];
    if (loop.step(0) == 1 && loop.step(1) == 1) {
#pragma omp simd
      for (std::int64_t j = 0; j < n; ++j) o[j] = static_cast<Out>(f(compute_type<In>(i[j])));
    } else {
      for (std::int64_t j = 0; j < n; ++j) {
        o[j * loop.step(0)] = static_cast<Out>(f(compute_type<In>(i[j * loop.step(1)])));
      }
    }
  });
}

/// out[i] = f(a[i], b[i]); the rows of b may be one value (a broadcast operand).
template <class Out, class In, class F>
void zip_rows(const Tensor& out, const Tensor& a, const Tensor& b, F f) {
  using C = compute_type<In>;
  const auto loop = strided_loop(out, a, b);
  Out* const to = out.data<Out>();
  const In* const from_a = a.data<In>();
  const In* const from_b = b.data<In>();
  parallel_rows(loop, [&](std::int64_t n, const std::int64_t* at) {
    Out* o = to + at[0];
    const In* x = from_a + at[1];
    const In* y = from_b + at[2];
    if (loop.step(0) == 1 && loop.step(1) == 1 && loop.step(2) == 1) {
#pragma omp simd
      for (std::int64_t j = 0; j < n; ++j) o[j] = static_cast<Out>(f(C(x[j]), C(y[j])));
    } else if (loop.step(0) == 1 && loop.step(1) == 1 && loop.step(2) == 0) {
      const C value = C(*y);
#pragma omp simd
      for (std::int64_t j = 0; j < n; ++j) o[j] = static_cast<Out>(f(C(x[j]), value));
    } else {
      for (std::int64_t j = 0; j < n; ++j) {
        o[j * loop.step(0)] = static_cast<Out>(f(C(x[j * loop.step(1)]), C(y[j * loop.step(2)])));
      }
    }
  });
}

template <class F, class Types>
void unary(const Tensor& out, const Tensor& x, Scalars) {
  dispatch(Types{}, x.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    map_rows<T, T>(out, x, F{});
  });
}

template <class F, class Types>
void unary_with(const Tensor& out, const Tensor& x, Scalars scalars) {
  dispatch(Types{}, x.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    using C = compute_type<T>;
    const C a = convert<C>(scalars.a), b = convert<C>(scalars.b);
    map_rows<T, T>(out, x, [a, b](C value) { return F{}(value, a, b); });
  });
}

template <class F, class Types>
void predicate(const Tensor& out, const Tensor& x, Scalars) {
  dispatch(Types{}, x.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    map_rows<bool, T>(out, x, F{});
  });
}

template <class F, class Types>
void binary(const Tensor& out, const Tensor& a, const Tensor& b) {
  dispatch(Types{}, a.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    zip_rows<T, T>(out, a, b, F{});
  });
}

template <class F, class Types>
void comparison(const Tensor& out, const Tensor& a, const Tensor& b) {
  dispatch(Types{}, a.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    zip_rows<bool, T>(out, a, b, F{});
  });
}

void where(const Tensor& out, const Tensor& condition, const Tensor& a, const Tensor& b) {
  const auto loop = strided_loop(out, condition, a, b);
  dispatch(AllTypes{}, out.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    T* const to = out.data<T>();
    const bool* const chosen = condition.data<bool>();
    const T* const from_a = a.data<T>();
    const T* const from_b = b.data<T>();
    parallel_rows(loop, [&](std::int64_t n, const std::int64_t* at) {
      for (std::int64_t j = 0; j < n; ++j) {
        to[at[0] + j * loop.step(0)] = chosen[at[1] + j * loop.step(1)]
                                           ? from_a[at[2] + j * loop.step(2)]
                                           : from_b[at[3] + j * loop.step(3)];
      }
    });
  });
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

}  // namespace scangrad::SCANGRAD_CPU_NAMESPACE
