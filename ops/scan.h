#pragma once
#include <scangrad/core/tensor.h>
#include <scangrad/ops/reduce.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

// Scans: running totals H_t = x_1 ∘ x_2 ∘ … ∘ x_t of an associative operation ∘ along a dimension.
// docs/scan.md derives the backward passes and gives the depth and work of every algorithm.
namespace scangrad {

/// How a scan is evaluated. All give the same values within rounding; each by itself is
/// deterministic, bitwise, whatever the number of threads.
enum class ScanAlgorithm : std::uint8_t {
  automatic,      ///< the fastest for the shape: many sequences sequential, few long ones chunked
  sequential,     ///< one state carried along: depth T, work T
  hillis_steele,  ///< Hillis and Steele 1986: depth log T, work T log T
  sklansky,       ///< Sklansky 1960: depth log T, work (T/2) log T
  brent_kung,     ///< Brent and Kung 1982: depth 2 log T, work 2T
  blelloch,       ///< Blelloch 1990 (exclusive up- and down-sweep): depth 2 log T, work 2T
  chunked,        ///< reduce chunks, carry, rescan each: depth T/chunks + chunks, work 2T
};

/// `sequential`, `hillis_steele` …
const char* name(ScanAlgorithm algorithm);
/// The algorithm of that name. Throws ValueError that lists the names.
ScanAlgorithm scan_algorithm(const std::string& name);

/// What every scan understands. The order of members is frozen.
struct ScanOptions {
  /// The dimension scanned; negative counts from the end, of the full shape (matrices included).
  std::int64_t dim = 0;
  /// From the end to the start, as flip, scan, flip: H_t = H_{t+1} ∘ x_t.
  bool reverse = false;
  /// states[t] is the state before element t, H_{t-1}; `last` is H_T all the same.
  bool exclusive = false;
  /// H_0, of a state's shape (the input's without `dim`); the identity where left out or undefined.
  std::optional<Tensor> initial = {};
  /// Where segments start: bool, true at a segment's first position, whatever the direction. The
  /// state that enters a segment is the identity, so that nothing, NaN included, passes from one to
  /// another. Shape: [..., T] for the dimensions up to `dim` (those before T broadcast, so that [T]
  /// will do; dimensions after `dim` share), or as many dimensions as a state and T have together
  /// without the matrix, each of that size or, but for T, 1. Read forwards, a reset at position 0
  /// drops `initial`, as it would the state of an earlier call.
  std::optional<Tensor> resets = {};
  ScanAlgorithm algorithm = ScanAlgorithm::automatic;
};

/// Every state, and the one after the last element scanned. Feeding `last` to the next call as
/// `initial` continues the scan, gradients included. With T = 0, `last` is `initial`, or the
/// identity.
struct ScanResult {
  Tensor states;
  Tensor last;
};

// All scans below: differentiable to any order in the operands and in `initial`; f32, f64 and bf16
// (whose states are carried in f32). Throw ShapeError, DTypeError, DeviceError, and IndexError
// (dim).

/// h_t = h_{t-1} a_t + b_t, elementwise; h_0 = 0 unless given. a and b (…, T, …) broadcast.
/// Backward: Martin and Cundy 2018, "Parallelizing linear recurrent neural nets".
ScanResult linear_scan(const Tensor& a, const Tensor& b, const ScanOptions& options = {});

/// H_t = H_{t-1} M_t, matrix products; H_0 = I unless given. m (…, T, …, n, n): `dim` is one of the
/// dimensions before the last two. `initial` and `last` have m's shape without `dim`.
/// Backward, without an inverse: B_T = G_T, B_t = G_t + B_{t+1} M_{t+1}ᵀ, dM_t = H_{t-1}ᵀ B_t.
ScanResult matmul_scan(const Tensor& m, const ScanOptions& options = {});

/// Every state as 2^exponent times a mantissa, and the one after the last element scanned.
struct ScaledScanResult {
  Tensor states;         ///< mantissas
  Tensor exponents;      ///< i32, without the last two dimensions
  Tensor last;           ///< mantissa
  Tensor last_exponent;  ///< i32
};

/// matmul_scan whose states can neither overflow nor underflow: H_t = 2^{e_t} S_t, with the largest
/// |S_t| kept in [1, 2) by powers of two, which is exact; the exponent of 0, ∞ or NaN says nothing.
/// The initial state is 2^initial_exponent (i32, of the shape of `last_exponent`; 0 if undefined)
/// times `options.initial`; results feed the next call so. Gradients are those of the mantissas
/// with the exponents held constant, P_t = G_t + 2^{e_t − e_{t+1}} P_{t+1} M_{t+1}ᵀ and
/// dM_t = 2^{e_{t−1} − e_t} S_{t−1}ᵀ P_t. A mantissa jumps where its exponent ticks: read a
/// function of its direction, such as √n S_t/‖S_t‖, whose gradient is then the true one.
ScaledScanResult matmul_scan_scaled(const Tensor& m, const ScanOptions& options = {},
                                    const Tensor& initial_exponent = {});

/// H_t = H_{t-1} A_t + B_t; H_0 = 0 unless given. a (…, T, …, n, n), b (…, T, …, p, n): states are
/// p×n matrices; the dimensions before the last two broadcast.
ScanResult affine_scan(const Tensor& a, const Tensor& b, const ScanOptions& options = {});

// Scalar scans along `dim`, each in a short form and in one that takes every option. Integers and
// bools are summed and multiplied as i64.

/// x_1 + … + x_t.
Tensor cumsum(const Tensor& x, std::int64_t dim);
ScanResult cumsum(const Tensor& x, const ScanOptions& options);
/// x_1 x_2 … x_t. The gradient divides by nothing and is exact where x has zeros.
Tensor cumprod(const Tensor& x, std::int64_t dim);
ScanResult cumprod(const Tensor& x, const ScanOptions& options);
/// log(e^{x_1} + … + e^{x_t}) without overflow; −∞ counts for nothing and has the gradient 0.
Tensor logcumsumexp(const Tensor& x, std::int64_t dim);
ScanResult logcumsumexp(const Tensor& x, const ScanOptions& options);
/// The largest so far, and where it stands (i64); of equal ones the last, which gets the gradient.
/// NaN is larger than everything. With `initial`, ties go to x.
ValuesIndices cummax(const Tensor& x, std::int64_t dim);
ScanResult cummax(const Tensor& x, const ScanOptions& options);
/// The smallest so far, likewise; NaN is smaller than everything.
ValuesIndices cummin(const Tensor& x, std::int64_t dim);
ScanResult cummin(const Tensor& x, const ScanOptions& options);

/// combine(l, r): l ∘ r of two tuples of tensors, first l, then r, elementwise along the scanned
/// dimension, of whatever size that is. Must be associative.
using ScanCombine = std::function<Tensors(const Tensors& left, const Tensors& right)>;

/// What `associative_scan` understands: as ScanOptions, but no resets, since the identity of a
/// given `combine` is not known (docs/scan.md builds them into `combine`). The order of members is
/// frozen.
struct AssociativeScanOptions {
  std::int64_t dim = 0;
  bool reverse = false;
  bool exclusive = false;  ///< needs `initial`: the identity of a given `combine` is not known
  Tensors initial = {};    ///< one per element, without `dim`; none where left out
};

/// One tensor per element of the tuple each; `last` is undefined where T = 0 and there is no
/// initial.
struct AssociativeScanResult {
  Tensors states;
  Tensors last;
};

/// The scan of any associative operation over tuples of tensors that agree in size along `dim`, as
/// jax.lax.associative_scan: recursion on every other pair, depth 2 log T, work 2T, in recorded
/// operations, so that gradients of any order follow from those of `combine`.
AssociativeScanResult associative_scan(const ScanCombine& combine, const Tensors& elements,
                                       const AssociativeScanOptions& options = {});

}  // namespace scangrad
