// Sums, products, extremes and log-sums so far.
#include <scangrad/cuda/families.h>
#include <scangrad/cuda/scalar_scan.cuh>

namespace scangrad::cuda {
namespace {

template <template <class> class Monoid, class Types>
void monoid_scan(const Tensor& states, const Tensor& last, const Tensor& a, const Tensor& b,
                 const Tensor& initial, const Tensor& cuts, ScanPlan plan) {
  dispatch(Types{}, states.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    forward_scan<Monoid<compute_type<T>>, T>(states, last, a, b, initial, cuts, plan);
  });
}

template <class C>
using SumMonoid = PlainMonoid<scan_functors::Sum, C>;
template <class C>
using ProductMonoid = PlainMonoid<scan_functors::Product, C>;
template <class C>
using LargestMonoid = PlainMonoid<Largest, C>;
template <class C>
using SmallestMonoid = PlainMonoid<Smallest, C>;
using SumTypes = TypeList<float, double, bfloat16, std::int64_t>;  // narrower integers are widened

}  // namespace

void fill_scalar_scan(Kernels& table) {
  table.cumsum = monoid_scan<SumMonoid, SumTypes>;
  table.cumprod = monoid_scan<ProductMonoid, SumTypes>;
  table.cummax = monoid_scan<LargestMonoid, NumberTypes>;
  table.cummin = monoid_scan<SmallestMonoid, NumberTypes>;
  table.logcumsumexp = monoid_scan<LogSumExpMonoid, FloatTypes>;
}

}  // namespace scangrad::cuda
