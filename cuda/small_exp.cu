// Exponentials of small matrices and their gradients, each read and written once.
#include <scangrad/cuda/small_matrix.h>
#include <scangrad/cuda/small_exp.cuh>

namespace scangrad::cuda {
namespace {

/// out (count, n, n) ← eᵃ or, with `derivative`, the gradient of a for that of eᵃ, g: the
/// derivative of exp at aᵀ in the direction g.
template <int N, bool derivative, class T>
__global__ void __launch_bounds__(128)
    exp_kernel(std::int64_t count, int n, bool packs, T* out, const T* a, const T* g) {
  using Warp = ExpWarp<N, derivative, T>;
  constexpr int warps = warps_of<N> * matrices_of_block<N> / matrices_of_warp<N>;
  __shared__ alignas(128) double memory[warps / warps_of<N>][Warp::parts * Warp::stored];
  __shared__ int norms[warps_of<N>];
  const int warp = static_cast<int>(threadIdx.x) / 32, share = warp / warps_of<N>;
  const std::int64_t matrix =
      std::int64_t{blockIdx.x} * matrices_of_block<N> + share * matrices_of_warp<N>;
  if (matrix >= count) return;
  const Warp self{memory[share], norms, 16 * (warp % warps_of<N>)};
  const std::int64_t first = matrix * n * n;
  const Extent extent{count - matrix < matrices_of_warp<N> ? 1 : matrices_of_warp<N>, n, packs};
  typename Warp::Rows x;
  self.template load<derivative>(x, 0, a + first, extent);
  if constexpr (derivative) self.template load<false>(x, 1, g + first, extent);
  self.exponential(x);
  self.store(out + first, x, Warp::parts - 1, extent);
}

template <bool derivative>
void start(const Tensor& out, const Tensor& a, const Tensor& g) {
  dispatch(TypeList<float, double>{}, a.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    with_padded_order(a.shape().back(), [&](auto order) {
      constexpr int N = decltype(order)::value;
      constexpr int matrices = matrices_of_block<N>;
      constexpr int threads = 32 * warps_of<N> * matrices / matrices_of_warp<N>;
      const T* const grads = data_or_null<T>(g);
      const std::int64_t n = a.shape().back(), count = a.numel() / (n * n);
      const bool packs = n == N && n >= 8 && aligned<4>(out.data<T>()) && aligned<4>(a.data<T>()) &&
                         aligned<4>(grads);
      const int device = out.device().index;
      const DeviceGuard guard(device);
      exp_kernel<N, derivative><<<static_cast<unsigned>((count + matrices - 1) / matrices), threads,
                                  0, stream(device)>>>(count, static_cast<int>(n), packs,
                                                       out.data<T>(), a.data<T>(), grads);
      check_launch(device, std::source_location::current());
    });
  });
}

}  // namespace

void small_matrix_exp(const Tensor& out, const Tensor& a) { start<false>(out, a, {}); }
void small_matrix_exp_backward(const Tensor& da, const Tensor& a, const Tensor& g) {
  start<true>(da, a, g);
}

}  // namespace scangrad::cuda
