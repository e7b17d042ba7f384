#include <scangrad/cuda/families.h>
#include <scangrad/cuda/small_matrix.h>
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

// Matrices too large for small_matrix.h: a block each, worked on in global memory.

/// The LU decomposition of one matrix by the threads of a block: a (n, n) → U in its upper
/// triangle, x (n, m) → L⁻¹ P x. Gaussian elimination with partial pivoting. Returns the sign of
/// the row exchanges P, or 0 where a pivot is 0.
template <class T>
__device__ int eliminate(T* a, T* x, std::int64_t n, std::int64_t m) {
  __shared__ std::int64_t pivot;
  int sign = 1;
  for (std::int64_t k = 0; k < n; ++k) {
    if (threadIdx.x == 0) {
      pivot = k;
      for (std::int64_t i = k + 1; i < n; ++i) {
        if (fabs(a[i * n + k]) > fabs(a[pivot * n + k])) pivot = i;
      }
    }
    __syncthreads();
    if (a[pivot * n + k] == T(0)) return 0;
    if (pivot != k) {
      sign = -sign;
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
  return sign;
}

/// x ← a⁻¹ x for one matrix, a being overwritten. False where a pivot is 0.
template <class T>
__device__ bool solve_in_place(T* a, T* x, std::int64_t n, std::int64_t m) {
  if (eliminate(a, x, n, m) == 0) return false;
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
  const std::int64_t count = out.size(0), n = out.size(1), m = out.size(2);
  const std::int64_t a_step = a.strides()[0], b_step = b.strides()[0];
  const Tensor scratch = empty({count, n, n}, a.options());
  const T* const matrices = a.data<T>();
  const T* const right = b.data<T>();
  T* const lu = scratch.data<T>();
  T* const to = out.data<T>();
  const FaultWord fault = fault_word(out.device().index);
  const char* const op = "solve";  // a host address
  for_each_row(out.device(), count, [=] __device__(std::int64_t k) {
    for_each_in_row(n * n, [=](auto j) { lu[k * n * n + j] = matrices[k * a_step + j]; });
    for_each_in_row(n * m, [=](auto j) { to[k * n * m + j] = right[k * b_step + j]; });
    __syncthreads();
    const bool solved = solve_in_place(lu + k * n * n, to + k * n * m, n, m);
    if (!solved && threadIdx.x == 0) note_fault(fault, op, nullptr, k, 0);
  });
}

void solve(const Tensor& out, const Tensor& a, const Tensor& b) {
  // Positions within one right-hand side are of 32 bits there.
  if (is_small(a) && out.size(1) * out.size(2) < 1 << 30) return small_solve(out, a, b);
  dispatch(TypeList<float, double>{}, out.dtype(),
           [&](auto tag) { solve_typed<typename decltype(tag)::type>(out, a, b); });
}

template <class T>
void slogdet_typed(const Tensor& sign, const Tensor& logabsdet, const Tensor& a) {
  const std::int64_t n = a.shape().back();
  const Tensor scratch = empty_like(a);
  const T* const matrices = a.data<T>();
  T* const decomposed = scratch.data<T>();
  T* const signs = sign.data<T>();
  T* const logs = logabsdet.data<T>();
  for_each_row(a.device(), sign.numel(), [=] __device__(std::int64_t k) {
    T* const lu = decomposed + k * n * n;
    for_each_in_row(n * n, [=](auto j) { lu[j] = matrices[k * n * n + j]; });
    __syncthreads();
    int s = eliminate(lu, static_cast<T*>(nullptr), n, 0);
    if (threadIdx.x != 0) return;
    T log = s == 0 ? -std::numeric_limits<T>::infinity() : T(0);
    for (std::int64_t i = 0; i < n && s != 0; ++i) {
      if (lu[i * n + i] < T(0)) s = -s;
      log += ::log(fabs(lu[i * n + i]));
    }
    signs[k] = static_cast<T>(s);
    logs[k] = log;
  });
}

void slogdet(const Tensor& sign, const Tensor& logabsdet, const Tensor& a) {
  if (is_small(a)) return small_slogdet(sign, logabsdet, a);
  dispatch(TypeList<float, double>{}, a.dtype(),
           [&](auto tag) { slogdet_typed<typename decltype(tag)::type>(sign, logabsdet, a); });
}

bool slogdet_backward(const Tensor& da, const Tensor& a, const Tensor& g) {
  if (!is_small(a)) return false;
  small_slogdet_backward(da, a, g);
  return true;
}

/// out (n, n) ← left · right by the threads of a block; `out` is neither of them.
template <class T>
__device__ void product(T* out, const T* left, const T* right, std::int64_t n) {
  for_each_in_row(n * n, [=](std::int64_t at) {
    const std::int64_t i = at / n, j = at % n;
    T total = 0;
    for (std::int64_t k = 0; k < n; ++k) total += left[i * n + k] * right[k * n + j];
    out[at] = total;
  });
  __syncthreads();
}

/// exp of one matrix by the threads of a block, as ops/cpu/linalg.cpp says: scaling, a Taylor
/// polynomial in powers of B⁴, squaring. `power` holds five matrices: B¹ … B⁴ at 1 … 4, scratch at
/// 0. Returns where the result is: `out` or `power`.
template <class T>
__device__ T* exponential(T* out, const T* a, T* power, std::int64_t n) {
  constexpr int groups = sizeof(T) == 4 ? 2 : 4;
  constexpr double theta = sizeof(T) == 4 ? 0.58 : 0.78;
  const std::int64_t nn = n * n;
  T norm = 0;  // the largest sum of a column, in every thread
  for (std::int64_t j = 0; j < n; ++j) {
    T total = 0;
    for (std::int64_t i = 0; i < n; ++i) total += fabs(a[i * n + j]);
    norm = norm >= total || norm != norm ? norm : total;  // NaN wins
  }
  const bool finite = norm <= std::numeric_limits<T>::max();
  int squarings = 0;
  if (finite) frexp(static_cast<double>(norm) / theta, &squarings);
  squarings = squarings > 0 ? squarings : 0;
  const T scale =
      finite ? static_cast<T>(ldexp(1.0, -squarings)) : std::numeric_limits<T>::quiet_NaN();
  for_each_in_row(nn, [=](auto i) { power[nn + i] = a[i] * scale; });
  __syncthreads();
  for (int k = 2; k <= 4; ++k) product(power + k * nn, power + (k - 1) * nn, power + nn, n);

  T *sum = out, *next = power;
  for (int group = groups - 1; group >= 0; --group) {
    if (group < groups - 1) {
      product(next, sum, power + 4 * nn, n);
      T* const done = sum;
      sum = next;
      next = done;
    }
    double factorial = 1;  // (4 group)!
    for (int i = 2; i <= 4 * group; ++i) factorial *= i;
    for_each_in_row(nn, [=](std::int64_t at) {
      T value = group < groups - 1 ? sum[at] : T(0);
      double divisor = factorial;  // (4 group + k)!
      if (at / n == at % n) value += static_cast<T>(1 / divisor);
      // The highest group ends with B⁴; the others' is the lowest of the group above.
      for (int k = 1; k <= (group < groups - 1 ? 3 : 4); ++k) {
        divisor *= 4 * group + k;
        value += static_cast<T>(1 / divisor) * power[k * nn + at];
      }
      sum[at] = value;
    });
    __syncthreads();
  }
  for (; squarings > 0; --squarings) {
    product(next, sum, sum, n);
    T* const done = sum;
    sum = next;
    next = done;
  }
  return sum;
}

template <class T>
void matrix_exp_typed(const Tensor& out, const Tensor& a) {
  const std::int64_t n = a.shape().back(), nn = n * n, batch = a.numel() / nn;
  const Tensor scratch = empty({batch, 5, n, n}, a.options());
  const T* const from = a.data<T>();
  T* const powers = scratch.data<T>();
  T* const to = out.data<T>();
  for_each_row(a.device(), batch, [=] __device__(std::int64_t k) {
    const T* const result = exponential(to + k * nn, from + k * nn, powers + k * 5 * nn, n);
    if (result != to + k * nn) {
      for_each_in_row(nn, [=](auto j) { to[k * nn + j] = result[j]; });
    }
  });
}

void matrix_exp(const Tensor& out, const Tensor& a) {
  if (is_small(a)) return small_matrix_exp(out, a);
  dispatch(TypeList<float, double>{}, a.dtype(),
           [&](auto tag) { matrix_exp_typed<typename decltype(tag)::type>(out, a); });
}

bool matrix_exp_backward(const Tensor& da, const Tensor& a, const Tensor& g) {
  if (!is_small(a)) return false;
  small_matrix_exp_backward(da, a, g);
  return true;
}

}  // namespace

void fill_linalg(Kernels& table) {
  table.tril = triangle<true>;
  table.triu = triangle<false>;
  table.solve = solve;
  table.slogdet = slogdet;
  table.slogdet_backward = slogdet_backward;
  table.matrix_exp = matrix_exp;
  table.matrix_exp_backward = matrix_exp_backward;
}

}  // namespace scangrad::cuda
