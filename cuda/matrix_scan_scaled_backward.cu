#include <scangrad/cuda/matrix_scan.h>
#include <scangrad/cuda/matrix_scan.cuh>

namespace scangrad::cuda {

void scan_scaled_backward_in_tiles(const Tensor& dm, const Tensor& d_initial, const Tensor& m,
                                   const Tensor& scales, const Tensor& states,
                                   const Tensor& initial, const Tensor& g, const Tensor& g_last,
                                   const Tensor& cuts, ScanPlan plan) {
  dispatch(FloatTypes{}, states.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    auto scan =
        backward_scan<T>(dm, {}, d_initial, m, states, initial, g, g_last, cuts, plan, true);
    scan.scales = scales.data<T>();
    start_for_order<MatrixPass::scaled_backward>(scan, states.device());
  });
}

}  // namespace scangrad::cuda
