#include <scangrad/ops/cpu/level.h>

#include <cmath>

namespace scangrad::SCANGRAD_CPU_NAMESPACE {
namespace {

void arange(const Tensor& out, double start, double step) {
  dispatch(NumberTypes{}, out.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    T* const to = out.data<T>();
    parallel_for(out.numel(), 16384, [&](std::int64_t begin, std::int64_t end) {
      // fma: the same rounding on every instruction set and device.
      for (std::int64_t i = begin; i < end; ++i) {
        to[i] = convert<T>(std::fma(static_cast<double>(i), step, start));
      }
    });
  });
}

}  // namespace

void fill_creation(Kernels& table) { table.arange = arange; }

}  // namespace scangrad::SCANGRAD_CPU_NAMESPACE
