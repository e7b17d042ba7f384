#pragma once
#include <scangrad/core/philox.h>
#include <scangrad/core/tensor.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace scangrad {

enum class Float32Matmul : std::uint8_t;
enum class ScanAlgorithm : std::uint8_t;
enum class MatrixForm : std::uint8_t;
struct AdamWConstants;
struct SgdConstants;

// The types of kernels. Conventions, for every backend: outputs come first and are allocated by the
// front-end; operands have the dtypes that the front-end checked and may have any strides (expanded
// dimensions have stride 0) unless the comment says `contiguous`; no operand is empty; a kernel
// allocates only scratch, records nothing and knows nothing of gradients.

/// Up to two parameters of an elementwise function.
struct Scalars {
  double a = 0;
  double b = 0;
};

/// out[i] = f(x[i]); all of one shape.
using UnaryKernel = void(const Tensor& out, const Tensor& x, Scalars scalars);
/// out[i] = f(a[i], b[i]); all of one shape; a comparison's `out` is bool.
using BinaryKernel = void(const Tensor& out, const Tensor& a, const Tensor& b);
/// out[i] = condition[i] ? a[i] : b[i].
using WhereKernel = void(const Tensor& out, const Tensor& condition, const Tensor& a,
                         const Tensor& b);
/// `out` has x's shape but for stride 0 (and the same address) along the reduced dimensions.
using ReduceKernel = void(const Tensor& out, const Tensor& x);
/// Largest or smallest along the middle dimension and its first place, i64: (outer, inner) each ←
/// (outer, n, inner); all contiguous. A NaN wins.
using ReduceAlongKernel = void(const Tensor& values, const Tensor& indices, const Tensor& x);
/// (batch, m, n) ← (batch, m, k) × (batch, k, n), added to what `out` holds where `accumulate`;
/// batch strides may be 0. `out` is contiguous and of the operands' dtype, or f32 where that is
/// bf16: then nothing is rounded.
using MatmulKernel = void(const Tensor& out, const Tensor& a, const Tensor& b,
                          Float32Matmul float32, bool accumulate);
/// A product with what follows it in the same pass, by devices that can; may be null. `false`, and
/// nothing done, where there is none for these operands. All contiguous and of one dtype.
/// out (rows, out) ← x (rows, in) weightᵀ + bias; where `gelu_input` (rows, out) is defined the sum
/// goes there, and its GELU (tanh) to `out`. weight (out, in), bias (out) or undefined.
using LinearKernel = bool(const Tensor& out, const Tensor& gelu_input, const Tensor& x,
                          const Tensor& weight, const Tensor& bias, Float32Matmul float32);
/// out (rows, in) ← g (rows, out) weight · GELU'(gelu_input), of the tanh form, and its sum over
/// rows, (in), to dbias, which may be undefined.
using GeluLinearBackwardKernel = bool(const Tensor& out, const Tensor& dbias, const Tensor& g,
                                      const Tensor& weight, const Tensor& gelu_input,
                                      Float32Matmul float32);
/// Each row of contiguous x and out, (rows, n) whatever the rank, by itself.
using RowKernel = void(const Tensor& out, const Tensor& x);
/// Its gradient from the output's, g, and the output, y; all contiguous and of one shape.
using RowBackwardKernel = void(const Tensor& out, const Tensor& g, const Tensor& y);
/// out ← softmax over the last dimension of x + mask, (…, T, S), 0 where that is −∞ throughout; row
/// i of T has the columns 0 … i only where `causal`. mask: bool (false is −∞), of x's dtype, of x's
/// shape with any strides, or undefined; x and out contiguous.
using MaskedSoftmaxKernel = void(const Tensor& out, const Tensor& x, const Tensor& mask,
                                 bool causal);
/// out ← x (rows, n) normalised, and for backward each row's mean (undefined for rms_norm) and
/// 1/√(var + eps), (rows), in f32 or f64. weight, bias: (n) or undefined. All contiguous.
using NormKernel = void(const Tensor& out, const Tensor& mean, const Tensor& rstd, const Tensor& x,
                        const Tensor& weight, const Tensor& bias, double eps);
/// Gradients of x, weight and bias; undefined ones are not wanted. All contiguous.
using NormBackwardKernel = void(const Tensor& dx, const Tensor& dweight, const Tensor& dbias,
                                const Tensor& g, const Tensor& x, const Tensor& weight,
                                const Tensor& mean, const Tensor& rstd);

/// out[i] = start + i step; contiguous.
using ArangeKernel = void(const Tensor& out, double start, double step);
/// Fills a contiguous `out`; element i takes the word that core/philox.h gives it. The uniform
/// distribution on [scalars.a, scalars.b), or the normal one of mean a and deviation b.
using RandomKernel = void(const Tensor& out, Scalars scalars, PhiloxState state);
/// low + one of `range` ≤ 2^32 values; contiguous.
using RandintKernel = void(const Tensor& out, std::int64_t low, std::uint64_t range,
                           PhiloxState state);
/// Element i (i64, contiguous) is words 2i (low half) and 2i + 1 (high half).
using RandomBitsKernel = void(const Tensor& out, PhiloxState state);
/// out[i] = 0 with probability p, else x[i] / (1 − p); both contiguous, of one shape.
using DropoutKernel = void(const Tensor& out, const Tensor& x, double p, PhiloxState state);

/// What an operation on indices says of a bad one: `embedding: index 70 is out of range for 65
/// rows`. On the CPU the kernel throws before it writes anything; on CUDA it notes the first bad
/// index for the next synchronisation.
struct IndexCheck {
  const char* op;
  const char* unit;  // what the index counts: "rows"
};
/// Throws that IndexError.
[[noreturn]] void bad_index(IndexCheck check, std::int64_t index, std::int64_t limit);

/// out[o][i] = x[o][index[i]]: (outer, k, inner) ← (outer, n, inner), (k) i64; all contiguous.
using IndexSelectKernel = void(const Tensor& out, const Tensor& x, const Tensor& index,
                               IndexCheck check);
/// out[o][index[i]] += x[o][i]: (outer, n, inner) ← (k) i64, (outer, k, inner); all contiguous. The
/// terms of one place are added with i ascending on the CPU, and on CUDA in an order that the
/// indices alone determine.
using IndexAddKernel = void(const Tensor& out, const Tensor& index, const Tensor& x,
                            IndexCheck check);
/// out[…i…] = x[…index[…i…]…], the index being along `dim`: `out` and `index` of one shape,
/// contiguous; x at least as large along the other dimensions.
using GatherKernel = void(const Tensor& out, const Tensor& x, int dim, const Tensor& index,
                          IndexCheck check);
/// out[…index[…i…]…] += x[…i…], in the same order: x and `index` of one shape, all contiguous;
/// `out` at least as large along the other dimensions.
using ScatterAddKernel = void(const Tensor& out, int dim, const Tensor& index, const Tensor& x,
                              IndexCheck check);
/// The first k of each sorted row and where they were: (rows, k) each ← (rows, n); all contiguous.
/// Stable; NaN counts as the largest.
using SortKernel = void(const Tensor& values, const Tensor& indices, const Tensor& x,
                        bool descending);
/// losses (N), and for backward each row's largest logit and the log Σ exp of what is left without
/// it (N, 2), from logits (N, C) and targets (N) i64. Where they are defined, `mean` [] and `count`
/// [] are of the rows that are not ignored, and the losses are theirs to use. All contiguous;
/// results f32 or f64.
using CrossEntropyKernel = void(const Tensor& losses, const Tensor& statistics, const Tensor& mean,
                                const Tensor& count, const Tensor& logits, const Tensor& targets,
                                std::int64_t ignore_index, double label_smoothing);
/// dlogits (N, C) from the gradient g of the losses (N), with any stride, or of their mean [] over
/// `count`, which is undefined for the former; otherwise contiguous.
using CrossEntropyBackwardKernel = void(const Tensor& dlogits, const Tensor& g, const Tensor& count,
                                        const Tensor& logits, const Tensor& targets,
                                        const Tensor& statistics, std::int64_t ignore_index,
                                        double label_smoothing);

/// One step of every parameter, in place. All lists are equally long and all tensors `contiguous`;
/// moments have the dtype in which the parameters' arithmetic is done (f32 for bf16). `control` is
/// on the device, so that a captured graph reads new values: f64 (3), the learning rate, the number
/// of this step, from 1, and the factor on gradients. Formulas in ops/optimizer.h.
using AdamWKernel = void(const Tensors& parameters, const Tensors& gradients,
                         const Tensors& exp_avg, const Tensors& exp_avg_sq, const Tensor& control,
                         const AdamWConstants& constants);
/// The same for SGD; `momentum_buffer` is empty where momentum is 0.
using SgdKernel = void(const Tensors& parameters, const Tensors& gradients,
                       const Tensors& momentum_buffer, const Tensor& control,
                       const SgdConstants& constants);
/// out, f64 [], ← √Σ x², summed in f64; x `contiguous`.
using L2NormKernel = void(const Tensor& out, const Tensor& x);

/// How a scan runs; see ScanOptions in ops/scan.h.
struct ScanPlan {
  bool reverse = false;
  bool exclusive = false;
  ScanAlgorithm algorithm = {};
};
// Scans: all operands contiguous. Elements a, b and states are (outer, T, inner, …), `initial` and
// `last` (outer, inner, …), where … is nothing, or a matrix; T > 0. There are outer × inner
// sequences. An undefined `initial` is the identity; one-operand scans have no b. `cuts`, bool
// (outer, T, groups), is true where the state that enters the step is replaced by the identity;
// inner/groups neighbouring sequences share theirs; undefined for none.
/// states, last ← the scan of the elements (a_t, b_t).
using ScanKernel = void(const Tensor& states, const Tensor& last, const Tensor& a, const Tensor& b,
                        const Tensor& initial, const Tensor& cuts, ScanPlan plan);
/// The same of H_t = H_{t-1} M_t with H_t = 2^{e_t} S_t, S in states, last and initial, e (i32, no
/// matrix) in exponents, last_exponent and initial_exponent, which may be undefined for 0.
using ScaledScanKernel = void(const Tensor& states, const Tensor& exponents, const Tensor& last,
                              const Tensor& last_exponent, const Tensor& m, const Tensor& initial,
                              const Tensor& initial_exponent, const Tensor& cuts, ScanPlan plan);
/// da, db, d_initial (undefined where not wanted) ← from the forward's a, states and initial, and
/// the gradients g of states and g_last of last; `cuts` and `plan` are the forward's.
using ScanBackwardKernel = void(const Tensor& da, const Tensor& db, const Tensor& d_initial,
                                const Tensor& a, const Tensor& states, const Tensor& initial,
                                const Tensor& g, const Tensor& g_last, const Tensor& cuts,
                                ScanPlan plan);
/// The gradients of a ScaledScanKernel's mantissas, whose steps are of m_t 2^k, k what a step took
/// out of the exponent; in one pass, by devices that can; may be null. `false`, and nothing done,
/// where it is not for these operands, which are as above.
using ScaledScanBackwardKernel = bool(const Tensor& dm, const Tensor& d_initial, const Tensor& m,
                                      const Tensor& states, const Tensor& exponents,
                                      const Tensor& last_exponent, const Tensor& initial,
                                      const Tensor& initial_exponent, const Tensor& g,
                                      const Tensor& g_last, const Tensor& cuts, ScanPlan plan);
/// states, last ← the matmul_scan of the matrices that `form` (ops/matrix_form.h) makes of x,
/// (outer, T, inner, n, n), which are never in memory; by devices that can, as above.
using FormScanKernel = bool(const Tensor& states, const Tensor& last, const Tensor& x,
                            MatrixForm form, const Tensor& initial, const Tensor& cuts,
                            ScanPlan plan);
using FormScanBackwardKernel = bool(const Tensor& dx, const Tensor& d_initial, const Tensor& x,
                                    MatrixForm form, const Tensor& states, const Tensor& initial,
                                    const Tensor& g, const Tensor& g_last, const Tensor& cuts,
                                    ScanPlan plan);
/// x without what lies above (tril) or below (triu) diagonal `diagonal`, (…, m, n); contiguous.
using TriangleKernel = void(const Tensor& out, const Tensor& x, std::int64_t diagonal);
/// out = a⁻¹ b: (batch, n, m) ← (batch, n, n), (batch, n, m); contiguous, but for batch strides of
/// a and b, which may be 0. A singular matrix is an error, raised as a bad index is.
using SolveKernel = void(const Tensor& out, const Tensor& a, const Tensor& b);
/// Sign and log |det| of each matrix, (batch) each ← (…, n, n); contiguous. 0 and −∞ where a pivot
/// is 0.
using SlogdetKernel = void(const Tensor& sign, const Tensor& logabsdet, const Tensor& a);
/// da = g a⁻ᵀ, or 0 where g is 0: (…, n, n) ← (…, n, n), (…); contiguous. A singular matrix is an
/// error of `solve`. By devices that can; may be null. `false`, and nothing done, where it is not
/// for these operands.
using SlogdetBackwardKernel = bool(const Tensor& da, const Tensor& a, const Tensor& g);
/// out = exp(a): (…, n, n) each; contiguous. NaN where a has an element that is not finite.
using MatrixExpKernel = void(const Tensor& out, const Tensor& a);
/// da ← the gradient of a for that of exp(a), g: (…, n, n) each; contiguous; may be null or refuse,
/// as above.
using MatrixExpBackwardKernel = bool(const Tensor& da, const Tensor& a, const Tensor& g);
/// Throws that ValueError, naming the matrix of the batch.
[[noreturn]] void singular_matrix(const char* op, std::int64_t index);

/// What a device offers to the operations; a null entry means that the device has no such kernel.
/// The entries are listed in kernels.def and, for elementwise functions, elementwise.def.
struct Kernels {
#define SCANGRAD_KERNEL(type, name) type* name = nullptr;
#include <scangrad/ops/kernels.def>
#undef SCANGRAD_KERNEL
};

/// The table of a device, filled on first use. Throws DeviceError where there is no such device.
const Kernels& kernels(Device device);

/// Name of every entry, in table order.
std::vector<std::string> kernel_names();
/// Which of them the device fills, in the same order.
std::vector<bool> filled_kernels(const Kernels& table);
/// The instruction set whose CPU kernels were chosen: `v4`, `v3`, `v2` or `generic`.
std::string_view cpu_level();

}  // namespace scangrad
