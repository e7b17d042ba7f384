#include <scangrad/core/backend.h>
#include <scangrad/cuda/families.h>
#include <scangrad/ops/matmul.h>
#include <scangrad/cuda/launch.cuh>

#include <optional>

namespace scangrad::cuda {
namespace {

/// A matrix as cuBLAS takes it, once rows and columns have changed roles.
struct Layout {
  cublasOperation_t operation;
  std::int64_t leading;
};

/// How cuBLAS can read matrices, (batch, rows, columns), in place, if it can.
std::optional<Layout> layout_of(const Tensor& t) {
  const std::int64_t rows = t.shape()[1], columns = t.shape()[2];
  const std::int64_t down = t.strides()[1], right = t.strides()[2];
  if ((right == 1 || columns == 1) && (down >= columns || rows == 1)) {
    return Layout{CUBLAS_OP_N, std::max({down, columns, std::int64_t{1}})};
  }
  if ((down == 1 || rows == 1) && (right >= rows || columns == 1)) {
    return Layout{CUBLAS_OP_T, std::max({right, rows, std::int64_t{1}})};
  }
  return {};
}

Tensor readable(const Tensor& t) {
  if (layout_of(t)) return t;
  const Tensor copy = empty(t.shape(), t.options());
  raw_copy(copy, t);
  return copy;
}

/// The row-major product a b is, to cuBLAS, the column-major bᵀ aᵀ of the same memory.
void float_product(const Tensor& out, const Tensor& a, const Tensor& b, cudaDataType type,
                   cublasComputeType_t compute) {
  const DeviceGuard guard(out.device().index);
  const Tensor left = readable(a), right = readable(b);
  const Layout la = *layout_of(left), lb = *layout_of(right);
  const std::int64_t m = out.shape()[1], n = out.shape()[2], k = a.shape()[2];
  const float one = 1, zero = 0;
  const double one_f64 = 1, zero_f64 = 0;
  const bool f64 = out.dtype() == DType::f64;
  check_call(cublasGemmStridedBatchedEx_64(
                 cublas(out.device().index), lb.operation, la.operation, n, m, k,
                 f64 ? static_cast<const void*>(&one_f64) : &one, right.raw_data(), type,
                 lb.leading, right.strides()[0], left.raw_data(), type, la.leading,
                 left.strides()[0], f64 ? static_cast<const void*>(&zero_f64) : &zero,
                 out.raw_data(), type, n, m * n, out.shape()[0], compute, CUBLAS_GEMM_DEFAULT),
             "a matrix product");
}

template <class T>
void integer_product(const Tensor& out, const Tensor& a, const Tensor& b) {
  const std::int64_t m = out.shape()[1], n = out.shape()[2], k = a.shape()[2];
  const std::int64_t a0 = a.strides()[0], a1 = a.strides()[1], a2 = a.strides()[2];
  const std::int64_t b0 = b.strides()[0], b1 = b.strides()[1], b2 = b.strides()[2];
  const T* const pa = a.data<T>();
  const T* const pb = b.data<T>();
  T* const to = out.data<T>();
  for_each(out.device(), out.numel(), [=] __device__(std::int64_t i) {
    const std::int64_t batch = i / (m * n), row = i / n % m, column = i % n;
    T total = 0;
    for (std::int64_t l = 0; l < k; ++l) {
      total += pa[batch * a0 + row * a1 + l * a2] * pb[batch * b0 + l * b1 + column * b2];
    }
    to[i] = total;
  });
}

/// `out` is contiguous.
void matmul(const Tensor& out, const Tensor& a, const Tensor& b, Float32Matmul float32) {
  switch (out.dtype()) {
    case DType::f32:
      return float_product(
          out, a, b, CUDA_R_32F,
          float32 == Float32Matmul::tf32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F);
    case DType::f64:
      return float_product(out, a, b, CUDA_R_64F, CUBLAS_COMPUTE_64F);
    case DType::bf16:
      return float_product(out, a, b, CUDA_R_16BF, CUBLAS_COMPUTE_32F);
    case DType::i32:
      return integer_product<std::int32_t>(out, a, b);
    case DType::i64:
      return integer_product<std::int64_t>(out, a, b);
    default:
      unexpected_dtype(out.dtype());
  }
}

}  // namespace

void fill_matmul(Kernels& table) { table.matmul = matmul; }

}  // namespace scangrad::cuda
