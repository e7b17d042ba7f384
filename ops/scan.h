#pragma once
#include <scangrad/core/tensor.h>

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
  /// Where segments start; not supported yet, and refused.
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
// (whose states are carried in f32). Throw ShapeError, DTypeError, IndexError (dim), and ValueError
// where `resets` is given.

/// h_t = h_{t-1} a_t + b_t, elementwise; h_0 = 0 unless given. a and b (…, T, …) broadcast.
/// Backward: Martin and Cundy 2018, "Parallelizing linear recurrent neural nets".
ScanResult linear_scan(const Tensor& a, const Tensor& b, const ScanOptions& options = {});

/// H_t = H_{t-1} M_t, matrix products; H_0 = I unless given. m (…, T, …, n, n): `dim` is one of the
/// dimensions before the last two. `initial` and `last` have m's shape without `dim`.
/// Backward, without an inverse: B_T = G_T, B_t = G_t + B_{t+1} M_{t+1}ᵀ, dM_t = H_{t-1}ᵀ B_t.
ScanResult matmul_scan(const Tensor& m, const ScanOptions& options = {});

/// H_t = H_{t-1} A_t + B_t; H_0 = 0 unless given. a (…, T, …, n, n), b (…, T, …, p, n): states are
/// p×n matrices; the dimensions before the last two broadcast.
ScanResult affine_scan(const Tensor& a, const Tensor& b, const ScanOptions& options = {});

}  // namespace scangrad
