#include <scangrad/ops/cpu/rows.h>

namespace scangrad::SCANGRAD_CPU_NAMESPACE {
namespace {

/// Row i of a matrix keeps the columns up to i + diagonal where `lower`, else those from there on.
template <bool lower>
void triangle(const Tensor& out, const Tensor& x, std::int64_t diagonal) {
  const std::int64_t m = x.shape()[x.rank() - 2], n = x.shape().back();
  dispatch(AllTypes{}, x.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    const T* const from = x.data<T>();
    T* const to = out.data<T>();
    parallel_over_rows(x.numel() / n, n, [=](std::int64_t r) {
      const std::int64_t edge = r % m + diagonal + (lower ? 1 : 0);
      const std::int64_t left = std::clamp<std::int64_t>(edge, 0, n);
      const T* i = from + r * n;
      T* o = to + r * n;
      for (std::int64_t j = 0; j < left; ++j) o[j] = lower ? i[j] : T(false);
      for (std::int64_t j = left; j < n; ++j) o[j] = lower ? T(false) : i[j];
    });
  });
}

/// Is 1/p, already computed, a number? It overflows where p is subnormal: then divide, which is
/// slower.
template <class T>
bool has_inverse(T inverse) {
  return std::fabs(inverse) <= std::numeric_limits<T>::max();
}

/// x ← a⁻¹ x for one matrix, a (n, n) being overwritten by its LU decomposition and x (n, m).
/// Gaussian elimination with partial pivoting. Returns false where a pivot is 0.
template <class T>
bool solve_in_place(T* a, T* x, std::int64_t n, std::int64_t m) {
  for (std::int64_t k = 0; k < n; ++k) {
    std::int64_t pivot = k;
    for (std::int64_t i = k + 1; i < n; ++i) {
      if (std::fabs(a[i * n + k]) > std::fabs(a[pivot * n + k])) pivot = i;
    }
    if (a[pivot * n + k] == T(0)) return false;
    if (pivot != k) {
      for (std::int64_t j = k; j < n; ++j) std::swap(a[k * n + j], a[pivot * n + j]);
      for (std::int64_t j = 0; j < m; ++j) std::swap(x[k * m + j], x[pivot * m + j]);
    }
    const T divisor = a[k * n + k], inverse = T(1) / divisor;
    for (std::int64_t i = k + 1; i < n; ++i) {
      const T factor = has_inverse(inverse) ? a[i * n + k] * inverse : a[i * n + k] / divisor;
      const T *upper = a + k * n, *solved = x + k * m;
      T *row = a + i * n, *right = x + i * m;
      for_each_in_row(n - k - 1, [=](auto j) { row[k + 1 + j] -= factor * upper[k + 1 + j]; });
      for_each_in_row(m, [=](auto j) { right[j] -= factor * solved[j]; });
    }
  }
  for (std::int64_t i = n - 1; i >= 0; --i) {
    T* right = x + i * m;
    for (std::int64_t k = i + 1; k < n; ++k) {
      const T factor = a[i * n + k];
      const T* solved = x + k * m;
      for_each_in_row(m, [=](auto j) { right[j] -= factor * solved[j]; });
    }
    const T divisor = a[i * n + i], inverse = T(1) / divisor;
    if (has_inverse(inverse)) {
      for_each_in_row(m, [=](auto j) { right[j] *= inverse; });
    } else {
      for_each_in_row(m, [=](auto j) { right[j] /= divisor; });
    }
  }
  return true;
}

void solve_batch(const Tensor& out, const Tensor& a, const Tensor& b) {
  const std::int64_t n = out.shape()[out.rank() - 2], m = out.shape().back();
  const std::int64_t batch = out.numel() / (n * m);
  const Tensor solved = empty({batch}, {DType::bool_, out.device()});
  bool* const ok = solved.data<bool>();
  dispatch(TypeList<float, double>{}, out.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    const T* const matrices = a.data<T>();
    const T* const right = b.data<T>();
    T* const to = out.data<T>();
    const std::int64_t grain = std::max<std::int64_t>(1, 16384 / (n * n * (n + m)));
    parallel_for(batch, grain, [&](std::int64_t begin, std::int64_t end) {
      const Tensor scratch = empty({n, n}, out.options());
      T* const lu = scratch.data<T>();
      for (std::int64_t k = begin; k < end; ++k) {
        std::copy_n(matrices + k * n * n, n * n, lu);
        std::copy_n(right + k * n * m, n * m, to + k * n * m);
        ok[k] = solve_in_place(lu, to + k * n * m, n, m);
      }
    });
  });
  for (std::int64_t k = 0; k < batch; ++k) {
    if (!ok[k]) singular_matrix("solve", k);
  }
}

}  // namespace

void fill_linalg(Kernels& table) {
  table.tril = triangle<true>;
  table.triu = triangle<false>;
  table.solve = solve_batch;
}

}  // namespace scangrad::SCANGRAD_CPU_NAMESPACE
