#include <scangrad/cuda/matrix_scan.h>
#include <scangrad/cuda/matrix_scan.cuh>

namespace scangrad::cuda {

void scan_scaled_in_tiles(const Tensor& states, const Tensor& exponents, const Tensor& last,
                          const Tensor& last_exponent, const Tensor& m, const Tensor& initial,
                          const Tensor& initial_exponent, const Tensor& cuts, ScanPlan plan) {
  dispatch(FloatTypes{}, states.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    auto scan = matrix_scan_of<T>(states, m, initial, cuts, plan, true);
    scan.states = states.data<T>();
    scan.last = last.data<T>();
    scan.exponents = exponents.data<std::int32_t>();
    scan.last_exponent = last_exponent.data<std::int32_t>();
    if (initial.defined()) scan.initial_exponent = data_or_null<std::int32_t>(initial_exponent);
    scan.packs = scan.packs && all_aligned<T>({scan.a, scan.states, scan.last});
    start_for_order<MatrixPass::scaled>(scan, states.device());
  });
}

}  // namespace scangrad::cuda
