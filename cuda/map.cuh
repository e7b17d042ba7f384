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

/// Elements of a pack: 16 bytes of the larger type.
template <class Out, class In>
inline constexpr int map_width = 16 / static_cast<int>(std::max(sizeof(Out), sizeof(In)));

/// Whether rows of the loop can be read, or repeat one element, and be written V elements at a
/// time.
template <int V, class Out, class In, int N>
bool in_packs(const StridedLoop<1 + N>& loop, const Out* out, const Operands<In, N>& in) {
  bool packed = (loop.rank == 1 || loop.row() % V == 0) && aligned<V>(out);
  for (int k = 0; k <= N; ++k) {
    if (k > 0 && loop.step(k) == 0) continue;
    packed = packed && loop.step(k) == 1 && (k == 0 || aligned<V>(in.data[k - 1]));
    for (int dim = 0; dim < loop.rank - 1; ++dim) packed = packed && loop.strides[k][dim] % V == 0;
  }
  return packed;
}

/// N is 1 or 2; see `map`.
template <class Out, class In, int N, class F>
void map_loop(Device device, const StridedLoop<1 + N>& loop, const F& f, Out* out,
              const Operands<In, N>& in) {
  using C = compute_type<In>;
  constexpr int V = map_width<Out, In>;
  const std::int64_t packs = in_packs<V>(loop, out, in) ? loop.numel / V : 0;
  if (packs > 0) {
    for_each(device, packs, [=] __device__(std::int64_t i) {
      std::int64_t at[1 + N];
      offsets_of(loop, i * V, at);
      Pack<In, V> x[N];
      for (int k = 0; k < N; ++k) {
        const In* const from = in.data[k] + at[1 + k];
        if (loop.strides[1 + k][loop.rank - 1] != 0) {
          x[k] = load_pack<V>(from);
        } else {
          for (int j = 0; j < V; ++j) x[k].values[j] = *from;
        }
      }
      Pack<Out, V> result;
      for (int j = 0; j < V; ++j) {
        C values[N];
        for (int k = 0; k < N; ++k) values[k] = element(x[k], j);
        result.values[j] = apply<Out>(f, values);
      }
      store_pack(out + at[0], result);
    });
  }
  const std::int64_t done = V * packs;
  if (done == loop.numel) return;
  for_each(device, loop.numel - done, [=] __device__(std::int64_t rest) {
    std::int64_t at[1 + N];
    offsets_of(loop, done + rest, at);
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
