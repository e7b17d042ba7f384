// The table of operations under test. One row gives an operation its value check against a float64
// reference in every dtype and layout, gradcheck, gradgradcheck, low-precision gradients and the
// comparison of thread counts (and, where there is one, of devices). See test_op_matrix.cpp.
#pragma once
#include <scangrad/autograd/gradcheck.h>
#include <scangrad/core/tensor.h>
#include <scangrad/tests/ops/reference.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

/// How one operand of a test is made: f64 (indices i64, masks bool), the same every time.
struct Operand {
  enum class Kind { values, distinct, indices, mask };
  Kind kind = Kind::values;
  scangrad::Shape shape = {};
  double low = -2, high = 2;       ///< range of values; indices lie in [0, high)
  std::vector<double> avoid = {};  ///< points of no derivative: values keep 0.1 away from them
  bool differentiable = true;      ///< values only
};

/// Uniform values in [low, high].
inline Operand values(const scangrad::Shape& shape, double low = -2, double high = 2,
                      const std::vector<double>& avoid = {}) {
  return {Operand::Kind::values, shape, low, high, avoid, true};
}
/// Values that all differ, also from those of the row's other distinct operands: no ties, no kinks
/// of max or sort.
inline Operand distinct(const scangrad::Shape& shape, double low = -2, double high = 2) {
  return {Operand::Kind::distinct, shape, low, high, {}, true};
}
/// i64 in [0, count).
inline Operand indices(const scangrad::Shape& shape, std::int64_t count) {
  return {Operand::Kind::indices, shape, 0, static_cast<double>(count), {}, false};
}
/// bool, about half of it true.
inline Operand mask(const scangrad::Shape& shape) {
  return {Operand::Kind::mask, shape, 0, 1, {}, false};
}

using Operands = std::vector<Operand>;

/// |computed − exact| ≤ atol + rtol |exact|. Without `terms`: torch.testing.assert_close's bounds
/// (f64 1e-7/1e-7, f32 1.3e-6/1e-5, bf16 1.6e-2/1e-5). A running sum of k terms rounds k times,
/// which adds up like √k: where they have one sign by √k eps of the result (rtol), where they
/// cancel by √k eps of a partial sum, some 4 times a term's `size` (atol). eps is that of the
/// accumulator (f32 for bf16), or of the dtype where intermediate results are stored in it. Write
/// the reason beside it.
struct Tolerance {
  std::function<double(const scangrad::Tensors& inputs)> terms = {};
  double size = 1;
  bool stores_intermediates = false;
};

struct OpCase {
  /// `op` or `op.variant`.
  std::string name;
  scangrad::TensorFunction op;
  /// In plain C++, on doubles.
  reference::Function reference;
  /// Operands for several calls: with sizes 0 and 1, broadcast operands, and one call large enough
  /// (≥ 20,000 elements) for two threads and for gradients by random directions.
  std::vector<Operands> inputs;

  /// Functions and kernel-table entries that the row tests besides the `op` in its name.
  std::vector<std::string> covers = {};
  /// Of the values operands.
  std::vector<scangrad::DType> dtypes = {scangrad::f64, scangrad::f32, scangrad::bf16};
  /// The dtype of output 0 for a dtype of the operands; left out: the same.
  std::function<scangrad::DType(scangrad::DType)> result_dtype = {};
  Tolerance tolerance = {};
  bool differentiable = true;
  bool twice_differentiable = true;
  /// There is no result for an empty operand: instead of such a call, one that throws is asked for.
  bool refuses_empty = false;
  /// Has products that BLAS shares out among threads, and its sums may then be others than with one
  /// (docs/architecture.md): OpenBLAS 0.3.21 without AVX-512, by 0.9 epsilon of the norm in f64.
  bool shared_by_blas = false;
};

/// The operand's tensor, contiguous, on the CPU; `seed` tells the operands of one call apart.
scangrad::Tensor make(const Operand& operand, std::uint64_t seed);
/// All operands of one call.
scangrad::Tensors make(const Operands& operands);

/// Calls for an operation with one operand of any shape, values in [low, high].
std::vector<Operands> unary_inputs(double low = -2, double high = 2,
                                   const std::vector<double>& avoid = {});
/// Calls for an operation with two operands that broadcast; `a` and `b` give them their values.
std::vector<Operands> binary_inputs(const Operand& a = values({}), const Operand& b = values({}));

// One list per family, each in cases_<family>.cpp; named in op_cases.cpp.
std::vector<OpCase> elementwise_cases();
std::vector<OpCase> shape_cases();
std::vector<OpCase> reduce_cases();
std::vector<OpCase> index_cases();
std::vector<OpCase> random_cases();
std::vector<OpCase> matmul_cases();
std::vector<OpCase> softmax_cases();
std::vector<OpCase> norm_cases();
std::vector<OpCase> loss_cases();
std::vector<OpCase> join_cases();
std::vector<OpCase> linalg_cases();
std::vector<OpCase> attention_cases();
std::vector<OpCase> scan_cases();
std::vector<OpCase> form_scan_cases();
/// Every row.
std::vector<OpCase> all_cases();
