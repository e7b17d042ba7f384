#pragma once
#include <scangrad/cuda/launch.cuh>

// out[i] = f(x[i]) or f(x[i], y[i]) for operands of one shape and any strides.
namespace scangrad::cuda {

template <class Out, class F, class C>
__device__ Out apply(const F& f, const C (&x)[1]) {
  return static_cast<Out>(f(x[0]));
}
template <class Out, class F, class C>
__device__ Out apply(const F& f, const C (&x)[2]) {
  return static_cast<Out>(f(x[0], x[1]));
}

/// Contiguous operands, four elements a thread: as few as 4 bytes each would not fill the bus.
template <class Out, class In, int N, class F>
void map_flat(Device device, std::int64_t n, const F& f, Out* out, const Operands<In, N>& in) {
  using C = compute_type<In>;
  bool packed = reinterpret_cast<std::uintptr_t>(out) % sizeof(Pack<Out, 4>) == 0;
  for (const In* data : in.data) {
    packed = packed && reinterpret_cast<std::uintptr_t>(data) % sizeof(Pack<In, 4>) == 0;
  }
  const std::int64_t packs = packed ? n / 4 : 0;
  if (packs > 0) {
    for_each(device, packs, [=] __device__(std::int64_t i) {
      Pack<In, 4> x[N];
      for (int k = 0; k < N; ++k) x[k] = reinterpret_cast<const Pack<In, 4>*>(in.data[k])[i];
      Pack<Out, 4> result;
      for (int j = 0; j < 4; ++j) {
        C values[N];
        for (int k = 0; k < N; ++k) values[k] = static_cast<C>(x[k].values[j]);
        result.values[j] = apply<Out>(f, values);
      }
      reinterpret_cast<Pack<Out, 4>*>(out)[i] = result;
    });
  }
  if (n > 4 * packs) {
    for_each(device, n - 4 * packs, [=] __device__(std::int64_t rest) {
      const std::int64_t i = 4 * packs + rest;
      C values[N];
      for (int k = 0; k < N; ++k) values[k] = static_cast<C>(in.data[k][i]);
      out[i] = apply<Out>(f, values);
    });
  }
}

/// N is 1 or 2; see `map`.
template <class Out, class In, int N, class F>
void map_loop(Device device, const StridedLoop<1 + N>& loop, const F& f, Out* out,
              const Operands<In, N>& in) {
  using C = compute_type<In>;
  bool flat = loop.rank == 1;
  for (int k = 0; k <= N; ++k) flat = flat && (loop.step(k) == 1 || loop.numel == 1);
  if (flat) return map_flat(device, loop.numel, f, out, in);
  for_each(device, loop.numel, [=] __device__(std::int64_t i) {
    std::int64_t at[1 + N];
    offsets_of(loop, i, at);
    C values[N];
    for (int k = 0; k < N; ++k) values[k] = static_cast<C>(in.data[k][at[1 + k]]);
    out[at[0]] = apply<Out>(f, values);
  });
}

template <class Out, class In, class F>
void map(const Tensor& out, const Tensor& x, const F& f) {
  map_loop<Out, In, 1>(out.device(), strided_loop(out, x), f, out.data<Out>(), {{x.data<In>()}});
}
template <class Out, class In, class F>
void map(const Tensor& out, const Tensor& a, const Tensor& b, const F& f) {
  map_loop<Out, In, 2>(out.device(), strided_loop(out, a, b), f, out.data<Out>(),
                       {{a.data<In>(), b.data<In>()}});
}

}  // namespace scangrad::cuda
