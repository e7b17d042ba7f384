#include <scangrad/ops/cpu/small_matrix.h>

#include <cblas.h>

namespace scangrad::SCANGRAD_CPU_NAMESPACE {
namespace {

/// A matrix as BLAS takes it: row-major with a leading dimension, perhaps transposed.
struct Layout {
  CBLAS_TRANSPOSE transpose;
  int leading;
};

/// How BLAS can read (rows, columns) of these strides in place, if it can.
bool blas_layout(std::int64_t rows, std::int64_t columns, std::int64_t row_step,
                 std::int64_t column_step, Layout& layout) {
  if ((column_step == 1 || columns == 1) && (row_step >= columns || rows == 1)) {
    layout = {CblasNoTrans, static_cast<int>(std::max({row_step, columns, std::int64_t{1}}))};
    return true;
  }
  if ((row_step == 1 || rows == 1) && (column_step >= rows || columns == 1)) {
    layout = {CblasTrans, static_cast<int>(std::max({column_step, rows, std::int64_t{1}}))};
    return true;
  }
  return false;
}

void gemm(Layout a, Layout b, int m, int n, int k, const float* pa, const float* pb, float* out) {
  cblas_sgemm(CblasRowMajor, a.transpose, b.transpose, m, n, k, 1.0f, pa, a.leading, pb, b.leading,
              0.0f, out, n);
}
void gemm(Layout a, Layout b, int m, int n, int k, const double* pa, const double* pb,
          double* out) {
  cblas_dgemm(CblasRowMajor, a.transpose, b.transpose, m, n, k, 1.0, pa, a.leading, pb, b.leading,
              0.0, out, n);
}

/// One product of a dtype or layout that BLAS does not take, accumulated in C.
template <class T, class C>
void plain_product(const T* a, const std::int64_t* sa, const T* b, const std::int64_t* sb, T* out,
                   std::int64_t m, std::int64_t n, std::int64_t k) {
  for (std::int64_t i = 0; i < m; ++i) {
    for (std::int64_t j = 0; j < n; ++j) {
      C total = 0;
      for (std::int64_t l = 0; l < k; ++l) {
        total += C(a[i * sa[1] + l * sa[2]]) * C(b[l * sb[1] + j * sb[2]]);
      }
      out[i * n + j] = static_cast<T>(total);
    }
  }
}

template <class T>
void matmul_typed(const Tensor& out, const Tensor& a, const Tensor& b) {
  const std::int64_t batch = out.shape()[0], m = out.shape()[1], n = out.shape()[2];
  const std::int64_t k = a.shape()[2];
  const std::int64_t* sa = a.strides().begin();
  const std::int64_t* sb = b.strides().begin();
  const T* pa = a.data<T>();
  const T* pb = b.data<T>();
  T* po = out.data<T>();
  constexpr bool has_blas = std::is_same_v<T, float> || std::is_same_v<T, double>;
  constexpr std::int64_t small = 4096;  // multiply-adds below which a BLAS call is mostly overhead
  if constexpr (has_blas) {
    Layout la, lb;
    const bool readable =
        blas_layout(m, k, sa[1], sa[2], la) && blas_layout(k, n, sb[1], sb[2], lb);
    if (readable && (batch == 1 || m * n * k > small)) {
      for (std::int64_t i = 0; i < batch; ++i) {
        gemm(la, lb, static_cast<int>(m), static_cast<int>(n), static_cast<int>(k), pa + i * sa[0],
             pb + i * sb[0], po + i * m * n);
      }
      return;
    }
  }
  const std::int64_t grain =
      std::max<std::int64_t>(1, 65536 / std::max<std::int64_t>(1, m * n * k));
  if constexpr (has_blas) {
    if (m * n * k <= small) {
      parallel_for(batch, grain, [&](std::int64_t begin, std::int64_t end) {
        T packed[small];  // k n ≤ m n k
        for (std::int64_t i = begin; i < end; ++i) {
          const T* right = pb + i * sb[0];
          if (sb[1] != n || sb[2] != 1) {
            for (std::int64_t l = 0; l < k; ++l) {
              for (std::int64_t j = 0; j < n; ++j) packed[l * n + j] = right[l * sb[1] + j * sb[2]];
            }
            right = packed;
          }
          small_product<T>({po + i * m * n, pa + i * sa[0], sa[1], sa[2], right, nullptr, m, k, n});
        }
      });
      return;
    }
  }
  parallel_for(batch, grain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      plain_product<T, compute_type<T>>(pa + i * sa[0], sa, pb + i * sb[0], sb, po + i * m * n, m,
                                        n, k);
    }
  });
}

/// `out` is contiguous.
void matmul(const Tensor& out, const Tensor& a, const Tensor& b) {
  dispatch(NumberTypes{}, out.dtype(),
           [&](auto tag) { matmul_typed<typename decltype(tag)::type>(out, a, b); });
}

}  // namespace

void fill_matmul(Kernels& table) { table.matmul = matmul; }

}  // namespace scangrad::SCANGRAD_CPU_NAMESPACE
