#include <scangrad/cuda/matrix_scan.h>
#include <scangrad/cuda/matrix_scan.cuh>

namespace scangrad::cuda {

void scan_backward_in_tiles(const Tensor& da, const Tensor& db, const Tensor& d_initial,
                            const Tensor& a, const Tensor& states, const Tensor& initial,
                            const Tensor& g, const Tensor& g_last, const Tensor& cuts,
                            ScanPlan plan, bool starts_at_one) {
  dispatch(FloatTypes{}, states.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    start_for_order<MatrixPass::backward>(backward_scan<T>(da, db, d_initial, a, states, initial, g,
                                                           g_last, cuts, plan, starts_at_one),
                                          states.device());
  });
}

}  // namespace scangrad::cuda
