#include <scangrad/cuda/matrix_scan.h>
#include <scangrad/cuda/matrix_scan.cuh>

namespace scangrad::cuda {

void scan_in_tiles(const Tensor& states, const Tensor& last, const Tensor& a, const Tensor& b,
                   const Tensor& initial, const Tensor& cuts, ScanPlan plan) {
  dispatch(FloatTypes{}, states.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    const MatrixScan<T> scan = forward_scan<T>(states, last, a, b, initial, cuts, plan);
    if (b.defined()) return start_for_order<MatrixPass::affine>(scan, states.device());
    start_for_order<MatrixPass::product>(scan, states.device());
  });
}

}  // namespace scangrad::cuda
