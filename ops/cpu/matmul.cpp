#include <scangrad/core/backend.h>
#include <scangrad/ops/cpu/small_matrix.h>

#include <cblas.h>

#include <limits>
#include <optional>

namespace scangrad::SCANGRAD_CPU_NAMESPACE {
namespace {

/// A matrix as BLAS takes it: row-major with a leading dimension, perhaps transposed.
struct Layout {
  CBLAS_TRANSPOSE transpose;
  int leading;
};

/// How BLAS can read matrices, (batch, rows, columns), in place, if it can.
std::optional<Layout> blas_layout(const Tensor& t) {
  constexpr std::int64_t most = std::numeric_limits<int>::max();
  const std::int64_t rows = t.shape()[1], columns = t.shape()[2];
  const std::int64_t down = t.strides()[1], right = t.strides()[2];
  if (down > most || right > most) return {};
  if ((right == 1 || columns == 1) && (down >= columns || rows == 1)) {
    return Layout{CblasNoTrans, static_cast<int>(std::max({down, columns, std::int64_t{1}}))};
  }
  if ((down == 1 || rows == 1) && (right >= rows || columns == 1)) {
    return Layout{CblasTrans, static_cast<int>(std::max({right, rows, std::int64_t{1}}))};
  }
  return {};
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

/// A dense copy in T of a batch of matrices, (batch, rows, columns): transposed where `t` is, and
/// one for all where they are the same.
template <class T>
Tensor dense_copy(const Tensor& t) {
  const Strides& from = t.strides();
  const std::int64_t rows = t.shape()[1], columns = t.shape()[2];
  const Shape shape{from[0] == 0 ? 1 : t.shape()[0], rows, columns};
  const bool turned = 0 < from[1] && from[1] < from[2];
  const Strides strides{rows * columns, turned ? 1 : columns, turned ? rows : 1};
  const Tensor copy = empty(shape, {dtype_of<T>, t.device()}).as_strided(shape, strides, 0);
  raw_copy(copy, t.as_strided(shape, from, t.offset()));
  return copy.as_strided(t.shape(), {from[0] == 0 ? 0 : strides[0], strides[1], strides[2]}, 0);
}

constexpr std::int64_t small = 4096;  // multiply-adds below which a BLAS call is mostly overhead

/// A batch of products of at most `small` multiply-adds, in any strides.
template <class T>
void small_products(const Tensor& out, const Tensor& a, const Tensor& b) {
  const std::int64_t m = out.shape()[1], n = out.shape()[2], k = a.shape()[2];
  const Strides sa = a.strides(), sb = b.strides();
  const T* pa = a.data<T>();
  const T* pb = b.data<T>();
  T* po = out.data<T>();
  parallel_for(out.shape()[0], 65536 / (m * n * k), [&](std::int64_t begin, std::int64_t end) {
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
}

/// f32 or f64 products: by BLAS, which reads operands in place where their strides allow.
template <class T>
void float_products(const Tensor& out, const Tensor& a, const Tensor& b) {
  const std::int64_t batch = out.shape()[0], m = out.shape()[1], n = out.shape()[2];
  const std::int64_t k = a.shape()[2];
  if (batch > 1 && m * n * k <= small) return small_products<T>(out, a, b);
  const Tensor left = blas_layout(a) ? a : dense_copy<T>(a);
  const Tensor right = blas_layout(b) ? b : dense_copy<T>(b);
  const Layout la = *blas_layout(left), lb = *blas_layout(right);
  for (std::int64_t i = 0; i < batch; ++i) {
    gemm(la, lb, static_cast<int>(m), static_cast<int>(n), static_cast<int>(k),
         left.data<T>() + i * left.strides()[0], right.data<T>() + i * right.strides()[0],
         out.data<T>() + i * m * n);
  }
}

/// Products of integers, all rows of all matrices shared among the threads.
template <class T>
void integer_products(const Tensor& out, const Tensor& a, const Tensor& b) {
  const std::int64_t m = out.shape()[1], n = out.shape()[2], k = a.shape()[2];
  const Strides sa = a.strides(), sb = b.strides();
  const T* pa = a.data<T>();
  const T* pb = b.data<T>();
  T* po = out.data<T>();
  const std::int64_t grain = std::max<std::int64_t>(1, 65536 / (n * k));
  parallel_for(out.shape()[0] * m, grain, [=](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) {
      const T* left = pa + row / m * sa[0] + row % m * sa[1];
      const T* right = pb + row / m * sb[0];
      T* total = po + row * n;
      for (std::int64_t j = 0; j < n; ++j) total[j] = 0;
      for (std::int64_t l = 0; l < k; ++l) {
        const T factor = left[l * sa[2]];
        for (std::int64_t j = 0; j < n; ++j) total[j] += factor * right[l * sb[1] + j * sb[2]];
      }
    }
  });
}

void matmul(const Tensor& out, const Tensor& a, const Tensor& b, Float32Matmul float32,
            bool accumulate) {
  if (accumulate) {
    const Tensor product = empty(out.shape(), out.options());
    matmul(product, a, b, float32, false);
    return backend(out.device()).add_in_place(out, product);
  }
  switch (a.dtype()) {
    case DType::f32:
      return float_products<float>(out, a, b);
    case DType::f64:
      return float_products<double>(out, a, b);
    case DType::i32:
      return integer_products<std::int32_t>(out, a, b);
    case DType::i64:
      return integer_products<std::int64_t>(out, a, b);
    case DType::bf16: {  // in f32, rounded at most once
      const bool rounds = out.dtype() == DType::bf16;
      const Tensor wide = rounds ? empty(out.shape(), {DType::f32, out.device()}) : out;
      float_products<float>(wide, dense_copy<float>(a), dense_copy<float>(b));
      if (rounds) raw_copy(out, wide);
      return;
    }
    default:
      unexpected_dtype(a.dtype());
  }
}

}  // namespace

void fill_matmul(Kernels& table) { table.matmul = matmul; }

}  // namespace scangrad::SCANGRAD_CPU_NAMESPACE
