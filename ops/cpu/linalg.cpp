#include <scangrad/ops/cpu/rows.h>
#include <scangrad/ops/cpu/small_matrix.h>

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

/// The LU decomposition of one matrix: a (n, n) → U in its upper triangle, x (n, m) → L⁻¹ P x.
/// Gaussian elimination with partial pivoting. Returns the sign of the row exchanges P, or 0 where
/// a pivot is 0.
template <class T>
int eliminate(T* a, T* x, std::int64_t n, std::int64_t m) {
  int sign = 1;
  for (std::int64_t k = 0; k < n; ++k) {
    std::int64_t pivot = k;
    for (std::int64_t i = k + 1; i < n; ++i) {
      if (std::fabs(a[i * n + k]) > std::fabs(a[pivot * n + k])) pivot = i;
    }
    if (a[pivot * n + k] == T(0)) return 0;
    if (pivot != k) {
      sign = -sign;
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
  return sign;
}

/// x ← a⁻¹ x for one matrix, a being overwritten. Returns false where a pivot is 0.
template <class T>
bool solve_in_place(T* a, T* x, std::int64_t n, std::int64_t m) {
  if (eliminate(a, x, n, m) == 0) return false;
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
  const std::int64_t batch = out.size(0), n = out.size(1), m = out.size(2);
  const std::int64_t a_step = a.strides()[0], b_step = b.strides()[0];
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
        std::copy_n(matrices + k * a_step, n * n, lu);
        std::copy_n(right + k * b_step, n * m, to + k * n * m);
        ok[k] = solve_in_place(lu, to + k * n * m, n, m);
      }
    });
  });
  for (std::int64_t k = 0; k < batch; ++k) {
    if (!ok[k]) singular_matrix("solve", k);
  }
}

void slogdet(const Tensor& sign, const Tensor& logabsdet, const Tensor& a) {
  const std::int64_t n = a.shape().back(), batch = sign.numel();
  dispatch(TypeList<float, double>{}, a.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    const T* const matrices = a.data<T>();
    T* const signs = sign.data<T>();
    T* const logs = logabsdet.data<T>();
    const std::int64_t grain = std::max<std::int64_t>(1, 16384 / (n * n * n));
    parallel_for(batch, grain, [&](std::int64_t begin, std::int64_t end) {
      const Tensor scratch = empty({n, n}, a.options());
      T* const lu = scratch.data<T>();
      for (std::int64_t k = begin; k < end; ++k) {
        std::copy_n(matrices + k * n * n, n * n, lu);
        int s = eliminate(lu, static_cast<T*>(nullptr), n, 0);
        T log = s == 0 ? -std::numeric_limits<T>::infinity() : T(0);
        for (std::int64_t i = 0; i < n && s != 0; ++i) {
          if (lu[i * n + i] < T(0)) s = -s;
          log += std::log(std::fabs(lu[i * n + i]));
        }
        signs[k] = static_cast<T>(s);
        logs[k] = log;
      }
    });
  });
}

/// exp of one matrix. With B = a/2ˢ of 1-norm ≤ θ, exp(a) = T_m(B)^{2ˢ}, and the Taylor polynomial
/// T_m is evaluated in powers of B⁴ (Paterson and Stockmeyer 1973). θ is the largest norm at which
/// T_m(B) = exp(B + E) with ‖E‖ ≤ u ‖B‖ for the dtype's unit roundoff u, from the power series of
/// log(e⁻ˣ T_m(x)) (Higham 2005, with T_m for the Padé approximant).
template <class T>
struct MatrixExp {
  static constexpr int groups = sizeof(T) == 4 ? 2 : 4;  // m = 4 · groups
  static constexpr double theta = sizeof(T) == 4 ? 0.58 : 0.78;

  std::int64_t n;
  T* power[5];  // B¹ … B⁴ at 1 … 4; scratch at 0

  static T inverse_factorial(int k) {
    double product = 1;
    for (int i = 2; i <= k; ++i) product *= i;
    return static_cast<T>(1 / product);
  }

  void product(T* out, const T* left, const T* right) const {
    small_product<T>({out, left, n, 1, right, nullptr, n, n, n});
  }

  void operator()(T* out, const T* a) {
    T norm = 0;  // the largest sum of a column
    for (std::int64_t j = 0; j < n; ++j) {
      T total = 0;
      for (std::int64_t i = 0; i < n; ++i) total += std::fabs(a[i * n + j]);
      norm = norm >= total || norm != norm ? norm : total;  // NaN wins
    }
    if (!(norm <= std::numeric_limits<T>::max())) {
      std::fill_n(out, n * n, std::numeric_limits<T>::quiet_NaN());
      return;
    }
    int squarings = 0;
    std::frexp(static_cast<double>(norm) / theta, &squarings);
    squarings = std::max(squarings, 0);
    const T scale = std::ldexp(T(1), -squarings);
    T* const b = power[1];
    for_each_in_row(n * n, [=](auto i) { b[i] = a[i] * scale; });
    for (int k = 2; k <= 4; ++k) product(power[k], power[k - 1], b);

    T *sum = out, *next = power[0];
    const T highest = inverse_factorial(4 * groups);
    const T* const fourth = power[4];
    for_each_in_row(n * n, [=](auto i) { sum[i] = highest * fourth[i]; });
    for (int group = groups - 1; group >= 0; --group) {
      if (group < groups - 1) {
        product(next, sum, power[4]);
        std::swap(sum, next);
      }
      for (int k = 1; k <= 3; ++k) {
        const T factor = inverse_factorial(4 * group + k);
        const T* const term = power[k];
        for_each_in_row(n * n, [=](auto i) { sum[i] += factor * term[i]; });
      }
      for (std::int64_t i = 0; i < n; ++i) sum[i * n + i] += inverse_factorial(4 * group);
    }
    for (; squarings > 0; --squarings) {
      product(next, sum, sum);
      std::swap(sum, next);
    }
    if (sum != out) std::copy_n(sum, n * n, out);
  }
};

void matrix_exp(const Tensor& out, const Tensor& a) {
  const std::int64_t n = a.shape().back(), batch = a.numel() / (n * n);
  dispatch(TypeList<float, double>{}, a.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    const T* const from = a.data<T>();
    T* const to = out.data<T>();
    const std::int64_t grain = std::max<std::int64_t>(1, 16384 / (8 * n * n * n));
    parallel_for(batch, grain, [&](std::int64_t begin, std::int64_t end) {
      const Tensor scratch = empty({5, n, n}, a.options());
      T* const s = scratch.data<T>();
      const std::int64_t nn = n * n;
      MatrixExp<T> exponential{n, {s, s + nn, s + 2 * nn, s + 3 * nn, s + 4 * nn}};
      for (std::int64_t k = begin; k < end; ++k) exponential(to + k * nn, from + k * nn);
    });
  });
}

}  // namespace

void fill_linalg(Kernels& table) {
  table.tril = triangle<true>;
  table.triu = triangle<false>;
  table.solve = solve_batch;
  table.slogdet = slogdet;
  table.matrix_exp = matrix_exp;
}

}  // namespace scangrad::SCANGRAD_CPU_NAMESPACE
