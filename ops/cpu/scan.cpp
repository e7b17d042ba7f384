#include <scangrad/ops/cpu/scan_monoids.h>
#include <scangrad/ops/scan.h>
#include <scangrad/ops/scan_functors.h>

namespace scangrad::SCANGRAD_CPU_NAMESPACE {
namespace {

using namespace scan_functors;

// A ScanKernel each; the last argument calls back with the monoid.
#define SCANGRAD_SCAN_KERNEL(kernel, ...)                                                     \
  void kernel(const Tensor& states, const Tensor& last, const Tensor& a, const Tensor& b,     \
              const Tensor& initial, const Tensor& cuts, ScanPlan plan) {                     \
    __VA_ARGS__(states, a, [&](auto type, auto monoid) {                                      \
      using T = typename decltype(type)::type;                                                \
      run(ScanTensors<decltype(monoid), T>(monoid, states, last, a, b, initial, cuts, plan)); \
    });                                                                                       \
  }
SCANGRAD_SCAN_KERNEL(linear_scan, with_linear)
SCANGRAD_SCAN_KERNEL(matmul_scan, with_product)
SCANGRAD_SCAN_KERNEL(affine_scan, with_affine)
SCANGRAD_SCAN_KERNEL(cumsum, with_lanes<Sum, NumberTypes>)
SCANGRAD_SCAN_KERNEL(cumprod, with_lanes<Product, NumberTypes>)
SCANGRAD_SCAN_KERNEL(cummax, with_lanes<Largest, NumberTypes>)
SCANGRAD_SCAN_KERNEL(cummin, with_lanes<Smallest, NumberTypes>)
SCANGRAD_SCAN_KERNEL(logcumsumexp, with_lanes<LogSumExp, FloatTypes>)
#undef SCANGRAD_SCAN_KERNEL

/// A ScaledScanKernel.
void matmul_scan_scaled(const Tensor& states, const Tensor& exponents, const Tensor& last,
                        const Tensor& last_exponent, const Tensor& m, const Tensor& initial,
                        const Tensor& initial_exponent, const Tensor& cuts, ScanPlan plan) {
  with_scaled_product(states, m, [&](auto type, auto monoid) {
    using T = typename decltype(type)::type;
    ScanTensors<decltype(monoid), T> scan(monoid, states, last, m, {}, initial, cuts, plan);
    scan.exponents = exponents.data<std::int32_t>();
    scan.last_exponent = last_exponent.data<std::int32_t>();
    if (initial_exponent.defined()) scan.initial_exponent = initial_exponent.data<std::int32_t>();
    run(scan);
  });
}

}  // namespace

void fill_scan(Kernels& table) {
  table.cumsum = cumsum;
  table.cumprod = cumprod;
  table.cummax = cummax;
  table.cummin = cummin;
  table.logcumsumexp = logcumsumexp;
  table.linear_scan = linear_scan;
  table.matmul_scan = matmul_scan;
  table.affine_scan = affine_scan;
  table.matmul_scan_scaled = matmul_scan_scaled;
}

}  // namespace scangrad::SCANGRAD_CPU_NAMESPACE
