#include <scangrad/cuda/matrix_scan.h>
#include <scangrad/cuda/matrix_scan.cuh>

namespace scangrad::cuda {

void scan_scaled_backward_in_tiles(const Tensor& dm, const Tensor& d_initial, const Tensor& m,
                                   const Tensor& states, const Tensor& exponents,
                                   const Tensor& last_exponent, const Tensor& initial,
                                   const Tensor& initial_exponent, const Tensor& g,
                                   const Tensor& g_last, const Tensor& cuts, ScanPlan plan) {
  dispatch(FloatTypes{}, states.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    auto scan =
        backward_scan<T>(dm, {}, d_initial, m, states, initial, g, g_last, cuts, plan, true);
    scan.exponents = exponents.data<std::int32_t>();
    scan.last_exponent = last_exponent.data<std::int32_t>();
    scan.initial_exponent = data_or_null<std::int32_t>(initial_exponent);
    start_for_order<MatrixPass::scaled_backward>(scan, states.device());
  });
}

}  // namespace scangrad::cuda
