#include <scangrad/cuda/families.h>
#include <scangrad/cuda/launch.cuh>

namespace scangrad::cuda {
namespace {

/// Row i of a matrix keeps the columns up to i + diagonal where `lower`, else those from there on.
template <bool lower, class T>
void triangle_typed(const Tensor& out, const Tensor& x, std::int64_t diagonal) {
  const std::int64_t m = x.shape()[x.rank() - 2], n = x.shape().back();
  const T* const from = x.data<T>();
  T* const to = out.data<T>();
  for_each(x.device(), x.numel(), [=] __device__(std::int64_t i) {
    const std::int64_t over = i % n - i / n % m;  // column − row
    to[i] = (lower ? over <= diagonal : over >= diagonal) ? from[i] : T(false);
  });
}

template <bool lower>
void triangle(const Tensor& out, const Tensor& x, std::int64_t diagonal) {
  dispatch(AllTypes{}, x.dtype(), [&](auto tag) {
    triangle_typed<lower, typename decltype(tag)::type>(out, x, diagonal);
  });
}

/// x ← a⁻¹ x for one matrix by the threads of a block: Gaussian elimination with partial pivoting,
/// a (n, n) being overwritten. False where a pivot is 0.
template <class T>
__device__ bool solve_in_place(T* a, T* x, std::int64_t n, std::int64_t m) {
  __shared__ std::int64_t pivot;
  for (std::int64_t k = 0; k < n; ++k) {
    if (threadIdx.x == 0) {
      pivot = k;
      for (std::int64_t i = k + 1; i < n; ++i) {
        if (fabs(a[i * n + k]) > fabs(a[pivot * n + k])) pivot = i;
      }
    }
    __syncthreads();
    if (a[pivot * n + k] == T(0)) return false;
    if (pivot != k) {
      const auto swap_in = [&](T* rows, std::int64_t width) {
        for_each_in_row(width, [=](auto j) {
          const T upper = rows[k * width + j];
          rows[k * width + j] = rows[pivot * width + j];
          rows[pivot * width + j] = upper;
        });
      };
      swap_in(a, n);
      swap_in(x, m);
    }
    __syncthreads();
    const T divisor = a[k * n + k];
    for_each_in_row((n - k - 1) * (n - k - 1 + m), [=](std::int64_t at) {
      const std::int64_t i = k + 1 + at / (n - k - 1 + m), j = at % (n - k - 1 + m);
      const T factor = a[i * n + k] / divisor;
      if (j < n - k - 1) {
        a[i * n + k + 1 + j] -= factor * a[k * n + k + 1 + j];
      } else {
        x[i * m + j - (n - k - 1)] -= factor * x[k * m + j - (n - k - 1)];
      }
    });
    __syncthreads();
  }
  for_each_in_row(m, [=](auto j) {
    for (std::int64_t i = n - 1; i >= 0; --i) {
      T value = x[i * m + j];
      for (std::int64_t k = i + 1; k < n; ++k) value -= a[i * n + k] * x[k * m + j];
      x[i * m + j] = value / a[i * n + i];
    }
  });
  __syncthreads();
  return true;
}

template <class T>
void solve_typed(const Tensor& out, const Tensor& a, const Tensor& b) {
  const std::int64_t n = out.shape()[out.rank() - 2], m = out.shape().back();
  const Tensor scratch = empty_like(a);
  const T* const matrices = a.data<T>();
  const T* const right = b.data<T>();
  T* const lu = scratch.data<T>();
  T* const to = out.data<T>();
  const FaultWord fault = fault_word(out.device().index);
  const char* const op = "solve";  // a host address
  for_each_row(out.device(), out.numel() / (n * m), [=] __device__(std::int64_t k) {
    for_each_in_row(n * n, [=](auto j) { lu[k * n * n + j] = matrices[k * n * n + j]; });
    for_each_in_row(n * m, [=](auto j) { to[k * n * m + j] = right[k * n * m + j]; });
    __syncthreads();
    const bool solved = solve_in_place(lu + k * n * n, to + k * n * m, n, m);
    if (!solved && threadIdx.x == 0) note_fault(fault, op, nullptr, k, 0);
  });
}

void solve(const Tensor& out, const Tensor& a, const Tensor& b) {
  dispatch(TypeList<float, double>{}, out.dtype(),
           [&](auto tag) { solve_typed<typename decltype(tag)::type>(out, a, b); });
}

}  // namespace

void fill_linalg(Kernels& table) {
  table.tril = triangle<true>;
  table.triu = triangle<false>;
  table.solve = solve;
}

}  // namespace scangrad::cuda
