// h_t = h_{t-1} a_t + b_t, and its backward.
#include <scangrad/cuda/families.h>
#include <scangrad/cuda/scalar_scan.cuh>

namespace scangrad::cuda {
namespace {

void linear_scan(const Tensor& states, const Tensor& last, const Tensor& a, const Tensor& b,
                 const Tensor& initial, const Tensor& cuts, ScanPlan plan) {
  dispatch(FloatTypes{}, states.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    forward_scan<LinearMonoid<compute_type<T>>, T>(states, last, a, b, initial, cuts, plan);
  });
}

void linear_backward(const Tensor& da, const Tensor& db, const Tensor& d_initial, const Tensor& a,
                     const Tensor& states, const Tensor& initial, const Tensor& g,
                     const Tensor& g_last, const Tensor& cuts, ScanPlan plan) {
  dispatch(FloatTypes{}, states.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    const auto run = [&](auto exclusive) {
      run_scan(states.device(),
               LinearBackwardScan<T, exclusive>{{states, cuts, !plan.reverse},
                                                {a.data<T>(), g.data<T>(), states.data<T>()},
                                                {data_or_null<T>(db), data_or_null<T>(da)},
                                                data_or_null<T>(d_initial),
                                                g_last.data<T>(),
                                                data_or_null<T>(initial)});
    };
    if (plan.exclusive) {
      run(std::true_type{});
    } else {
      run(std::false_type{});
    }
  });
}

}  // namespace

void fill_linear_scan(Kernels& table) {
  table.linear_scan = linear_scan;
  table.linear_scan_backward = linear_backward;
}

}  // namespace scangrad::cuda
