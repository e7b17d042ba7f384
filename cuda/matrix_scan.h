#pragma once
#include <scangrad/ops/kernels.h>

namespace scangrad::cuda {

// The scans of matrices at the speed of memory (matrix_scan.cuh), as the kernels of the table.

/// Whether they are for such states: not of large matrices, nor of very short sequences, nor of
/// more sequences than they count.
inline bool fit_in_tiles(const Tensor& states) {
  const Shape& shape = states.shape();  // (outer, T, inner, rows, n)
  const std::int64_t n = shape.back(), rows = shape[states.rank() - 2];
  const std::int64_t tile = n <= 8 ? 8 : n <= 16 ? 16 : 32;
  const bool can_be_counted = shape[0] * shape[2] < std::int64_t{1} << 30;
  return shape[1] >= 4 && n <= 32 && rows <= tile && can_be_counted;
}
void scan_in_tiles(const Tensor& states, const Tensor& last, const Tensor& a, const Tensor& b,
                   const Tensor& initial, const Tensor& cuts, ScanPlan plan);
void scan_scaled_in_tiles(const Tensor& states, const Tensor& exponents, const Tensor& last,
                          const Tensor& last_exponent, const Tensor& m, const Tensor& initial,
                          const Tensor& initial_exponent, const Tensor& cuts, ScanPlan plan);
/// `starts_at_one`: of products, else of affine scans.
void scan_backward_in_tiles(const Tensor& da, const Tensor& db, const Tensor& d_initial,
                            const Tensor& a, const Tensor& states, const Tensor& initial,
                            const Tensor& g, const Tensor& g_last, const Tensor& cuts,
                            ScanPlan plan, bool starts_at_one);
/// ScaledScanBackwardKernel.
void scan_scaled_backward_in_tiles(const Tensor& dm, const Tensor& d_initial, const Tensor& m,
                                   const Tensor& states, const Tensor& exponents,
                                   const Tensor& last_exponent, const Tensor& initial,
                                   const Tensor& initial_exponent, const Tensor& g,
                                   const Tensor& g_last, const Tensor& cuts, ScanPlan plan);

}  // namespace scangrad::cuda
