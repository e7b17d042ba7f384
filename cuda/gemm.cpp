#include <scangrad/core/backend.h>
#include <scangrad/core/error.h>
#include <scangrad/cuda/gemm.h>
#include <scangrad/cuda/runtime.h>

#include <cublasLt.h>

#include <algorithm>
#include <array>
#include <map>
#include <mutex>
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

cudaDataType type_of(DType dtype) {
  return dtype == DType::f64 ? CUDA_R_64F : dtype == DType::bf16 ? CUDA_R_16BF : CUDA_R_32F;
}

/// One operand or result, as cuBLAS sees it: `rows` and `columns` of what is stored, column by
/// column.
struct Matrices {
  void* data;
  cudaDataType type;
  std::int64_t rows, columns, leading, stride;  // stride: from one matrix of the batch to the next

  /// A power of two that divides the address; beyond 256 nothing gains by it.
  std::int64_t alignment() const {
    const auto address = static_cast<std::int64_t>(reinterpret_cast<std::uintptr_t>(data));
    return std::min<std::int64_t>(address & -address, 256);
  }
};

Matrices operand(const Tensor& t, const Layout& layout) {
  std::int64_t rows = t.shape()[2], columns = t.shape()[1];
  if (layout.operation == CUBLAS_OP_T) std::swap(rows, columns);
  const std::int64_t stride = t.shape()[0] == 1 ? 0 : t.strides()[0];
  return {t.raw_data(), type_of(t.dtype()), rows, columns, layout.leading, stride};
}

/// The row-major product a b is, to cuBLAS, the column-major bᵀ aᵀ of the same memory.
struct Product {
  Matrices out, left, right;  // left is b
  cublasOperation_t left_operation, right_operation;
  std::int64_t batch;
  cublasComputeType_t compute;
  bool accumulate;
  cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_DEFAULT;
  void* bias = nullptr;
  void* gelu_input = nullptr;  // laid out as `out`
  double one_f64 = 1, zero_f64 = 0;
  float one = 1, zero = 0;

  bool f64() const { return compute == CUBLAS_COMPUTE_64F; }
  cudaDataType scale() const { return f64() ? CUDA_R_64F : CUDA_R_32F; }
  const void* alpha() const { return f64() ? static_cast<const void*>(&one_f64) : &one; }
  const void* beta() const {
    if (accumulate) return alpha();
    return f64() ? static_cast<const void*>(&zero_f64) : &zero;
  }
  std::int64_t depth() const { return left_operation == CUBLAS_OP_N ? left.columns : left.rows; }
  /// All that the heuristic's choice depends on.
  auto key(int device) const {
    return std::array<std::int64_t, 21>{device,           batch,
                                        out.rows,         out.columns,
                                        depth(),          left.leading,
                                        right.leading,    out.leading,
                                        left.stride,      right.stride,
                                        out.stride,       left_operation,
                                        right_operation,  left.type,
                                        out.type,         compute,
                                        left.alignment(), right.alignment(),
                                        out.alignment(),  accumulate,
                                        epilogue};
  }
};

Product product_of(const Tensor& out, const Tensor& a, const Tensor& b,
                   const GemmOptions& options) {
  const std::int64_t m = out.shape()[1], n = out.shape()[2];
  const Layout la = *layout_of(a), lb = *layout_of(b);
  const cublasComputeType_t f32 = a.dtype() == DType::f32 && options.float32 == Float32Matmul::tf32
                                      ? CUBLAS_COMPUTE_32F_FAST_TF32
                                      : CUBLAS_COMPUTE_32F;
  const std::int64_t batch = out.shape()[0];
  return {.out = {out.raw_data(), type_of(out.dtype()), n, m, n, batch == 1 ? 0 : m * n},
          .left = operand(b, lb),
          .right = operand(a, la),
          .left_operation = lb.operation,
          .right_operation = la.operation,
          .batch = batch,
          .compute = a.dtype() == DType::f64 ? CUBLAS_COMPUTE_64F : f32,
          .accumulate = options.accumulate};
}

/// cuBLASLt's descriptions of a product; they live on the stack.
class Description {
 public:
  explicit Description(const Product& p) {
    check_call(cublasLtMatmulDescInit(&operation, p.compute, p.scale()), "a matrix product");
    set(CUBLASLT_MATMUL_DESC_TRANSA, p.left_operation);
    set(CUBLASLT_MATMUL_DESC_TRANSB, p.right_operation);
    describe(left, p.left, p.batch);
    describe(right, p.right, p.batch);
    describe(out, p.out, p.batch);
    set(CUBLASLT_MATMUL_DESC_EPILOGUE, p.epilogue);
    if (p.bias != nullptr) set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, p.bias);
    if (p.gelu_input == nullptr) return;
    set(CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, p.gelu_input);
    set(CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, p.out.leading);
  }
  Description(const Description&) = delete;
  Description& operator=(const Description&) = delete;

  cublasLtMatmulDescOpaque_t operation;
  cublasLtMatrixLayoutOpaque_t left, right, out;

 private:
  template <class Value>
  void set(cublasLtMatmulDescAttributes_t attribute, const Value& value) {
    check_call(cublasLtMatmulDescSetAttribute(&operation, attribute, &value, sizeof value),
               "a matrix product");
  }
  static void describe(cublasLtMatrixLayoutOpaque_t& layout, const Matrices& m,
                       std::int64_t batch) {
    const auto count = static_cast<std::int32_t>(batch);
    check_call(cublasLtMatrixLayoutInit(&layout, m.type, static_cast<std::uint64_t>(m.rows),
                                        static_cast<std::uint64_t>(m.columns), m.leading),
               "a matrix product");
    check_call(cublasLtMatrixLayoutSetAttribute(&layout, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &count,
                                                sizeof count),
               "a matrix product");
    check_call(
        cublasLtMatrixLayoutSetAttribute(&layout, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET,
                                         &m.stride, sizeof m.stride),
        "a matrix product");
  }
};

/// The heuristic's first choice, if it has any.
std::optional<cublasLtMatmulAlgo_t> ask_heuristic(int device, const Product& p,
                                                  Description& description) {
  cublasLtMatmulPreferenceOpaque_t preference;
  check_call(cublasLtMatmulPreferenceInit(&preference), "a matrix product");
  const auto prefer = [&](cublasLtMatmulPreferenceAttributes_t attribute, auto value) {
    check_call(cublasLtMatmulPreferenceSetAttribute(&preference, attribute, &value, sizeof value),
               "a matrix product");
  };
  const auto alignment = [](const Matrices& m) {
    return static_cast<std::uint32_t>(m.alignment());
  };
  prefer(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, std::uint64_t{cublas_workspace(device).bytes});
  // Parts of a product go through the workspace in full precision, and are added in one order.
  prefer(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
         std::uint32_t{CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE});
  prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, alignment(p.left));
  prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, alignment(p.right));
  prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, alignment(p.out));
  prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, alignment(p.out));
  cublasLtMatmulHeuristicResult_t result = {};
  int found = 0;
  const cublasStatus_t status = cublasLtMatmulAlgoGetHeuristic(
      cublas_lt(device), &description.operation, &description.left, &description.right,
      &description.out, &description.out, &preference, 1, &result, &found);
  if (status != CUBLAS_STATUS_SUCCESS || found == 0) return {};
  return result.algo;
}

/// The same, asked once for each shape.
std::optional<cublasLtMatmulAlgo_t> algorithm_for(int device, const Product& p,
                                                  Description& description) {
  using Key = decltype(p.key(device));
  static std::mutex mutex;
  static auto& known = *new std::map<Key, std::optional<cublasLtMatmulAlgo_t>>;
  const std::lock_guard lock(mutex);
  const auto [entry, missing] = known.try_emplace(p.key(device));
  if (missing) entry->second = ask_heuristic(device, p, description);
  return entry->second;
}

/// False where cuBLASLt has no kernel for it.
bool run_by_cublas_lt(int device, const Product& p) {
  constexpr std::int64_t most = 65535;  // matrices that one launch takes
  if (p.batch > most) return false;
  Description description(p);
  const auto algorithm = algorithm_for(device, p, description);
  if (!algorithm) return false;
  const Workspace workspace = cublas_workspace(device);
  check_call(cublasLtMatmul(cublas_lt(device), &description.operation, p.alpha(), p.left.data,
                            &description.left, p.right.data, &description.right, p.beta(),
                            p.out.data, &description.out, p.out.data, &description.out, &*algorithm,
                            workspace.data, workspace.bytes, stream(device)),
             "a matrix product");
  return true;
}

/// Any plain product.
void run_by_cublas(int device, const Product& p) {
  check_call(cublasGemmStridedBatchedEx_64(
                 cublas(device), p.left_operation, p.right_operation, p.out.rows, p.out.columns,
                 p.depth(), p.alpha(), p.left.data, p.left.type, p.left.leading, p.left.stride,
                 p.right.data, p.right.type, p.right.leading, p.right.stride, p.beta(), p.out.data,
                 p.out.type, p.out.leading, p.out.stride, p.batch, p.compute, CUBLAS_GEMM_DEFAULT),
             "a matrix product");
}

}  // namespace

Tensor readable(const Tensor& t) {
  if (layout_of(t)) return t;
  const Tensor copy = empty(t.shape(), t.options());
  raw_copy(copy, t);
  return copy;
}

void gemm(const Tensor& out, const Tensor& a, const Tensor& b, const GemmOptions& options) {
  const int device = out.device().index;
  const DeviceGuard guard(device);
  const Product p = product_of(out, a, b, options);
  if (!run_by_cublas_lt(device, p)) run_by_cublas(device, p);
}

bool gemm_with_epilogue(const Tensor& out, const Tensor& a, const Tensor& b, Float32Matmul float32,
                        const Epilogue& epilogue) {
  const bool biased = epilogue.bias.defined();
  const bool has_gelu = epilogue.kind != Epilogue::Kind::bias;
  // In f32 cuBLAS's GELU is less exact than ours.
  if (has_gelu && (out.dtype() != DType::bf16 || out.shape()[2] % 8 != 0)) return false;
  if (biased && reinterpret_cast<std::uintptr_t>(epilogue.bias.raw_data()) % 16 != 0) return false;
  const int device = out.device().index;
  const DeviceGuard guard(device);
  Product p = product_of(out, a, b, {float32});
  switch (epilogue.kind) {
    case Epilogue::Kind::bias:
      p.epilogue = CUBLASLT_EPILOGUE_BIAS;
      break;
    case Epilogue::Kind::gelu:
      p.epilogue = biased ? CUBLASLT_EPILOGUE_GELU_AUX_BIAS : CUBLASLT_EPILOGUE_GELU_AUX;
      break;
    case Epilogue::Kind::gelu_backward:
      p.epilogue = biased ? CUBLASLT_EPILOGUE_DGELU_BGRAD : CUBLASLT_EPILOGUE_DGELU;
      break;
  }
  if (biased) p.bias = epilogue.bias.raw_data();
  if (has_gelu) p.gelu_input = epilogue.gelu_input.raw_data();
  return run_by_cublas_lt(device, p);
}

}  // namespace scangrad::cuda
