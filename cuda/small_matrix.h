#pragma once
#include <scangrad/core/tensor.h>

#include <type_traits>

namespace scangrad::cuda {

// Solutions, determinants and exponentials of many small matrices: the kernels of ops/kernels.h up
// to an order.
inline constexpr std::int64_t largest_small = 32;
inline bool is_small(const Tensor& a) { return a.shape().back() <= largest_small; }

/// f(N) for the least order N ≥ n, as a constant, that these kernels are made for.
template <class F>
void with_padded_order(std::int64_t n, const F& f) {
  if (n <= 4) return f(std::integral_constant<int, 4>{});
  if (n <= 8) return f(std::integral_constant<int, 8>{});
  if (n <= 16) return f(std::integral_constant<int, 16>{});
  f(std::integral_constant<int, largest_small>{});
}

void small_solve(const Tensor& out, const Tensor& a, const Tensor& b);
void small_slogdet(const Tensor& sign, const Tensor& logabsdet, const Tensor& a);
void small_slogdet_backward(const Tensor& da, const Tensor& a, const Tensor& g);
void small_matrix_exp(const Tensor& out, const Tensor& a);
void small_matrix_exp_backward(const Tensor& da, const Tensor& a, const Tensor& g);

}  // namespace scangrad::cuda
