#include <scangrad/cuda/families.h>
#include <scangrad/cuda/launch.cuh>

namespace scangrad::cuda {
namespace {

template <class T>
void arange_typed(const Tensor& out, double start, double step) {
  T* const to = out.data<T>();
  for_each(out.device(), out.numel(), [=] __device__(std::int64_t i) {
    to[i] = convert<T>(fma(static_cast<double>(i), step, start));
  });
}

void arange(const Tensor& out, double start, double step) {
  dispatch(NumberTypes{}, out.dtype(),
           [&](auto tag) { arange_typed<typename decltype(tag)::type>(out, start, step); });
}

}  // namespace

void fill_creation(Kernels& table) { table.arange = arange; }

}  // namespace scangrad::cuda
