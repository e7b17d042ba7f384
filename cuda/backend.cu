// The CUDA side of core/backend.h.
#include <scangrad/core/backend.h>
#include <scangrad/cuda/allocator.h>
#include <scangrad/cuda/graph.h>
#include <scangrad/cuda/transpose.h>
#include <scangrad/cuda/upload.h>
#include <scangrad/cuda/map.cuh>

namespace scangrad::cuda {
namespace {

template <class To>
struct Convert {
  template <class C>
  __device__ To operator()(C x) const {
    return scangrad::convert<To>(x);
  }
};
struct Plus {
  template <class C>
  __device__ C operator()(C a, C b) const {
    return a + b;
  }
};

template <class To, class From>
void copy_typed(const Tensor& dst, const Tensor& src) {
  map<To, From>(dst, src, Convert<To>{});
}

void copy_on_device(const Tensor& dst, const Tensor& src) {
  if (dst.dtype() == src.dtype() && copy_transposed(dst, src)) return;
  dispatch(AllTypes{}, dst.dtype(), [&](auto to) {
    dispatch(AllTypes{}, src.dtype(), [&](auto from) {
      copy_typed<typename decltype(to)::type, typename decltype(from)::type>(dst, src);
    });
  });
}

Tensor dense(const Tensor& x, DType dtype) {
  if (x.is_contiguous() && x.dtype() == dtype) return x;
  const Tensor copied = empty(x.shape(), {dtype, x.device()});
  raw_copy(copied, x);
  return copied;
}

/// Between devices only dense bytes travel: what is strided or of another dtype is made so first,
/// and spread out after.
void copy(const Tensor& dst, const Tensor& src) {
  if (dst.device() == src.device()) return copy_on_device(dst, src);
  const int device = dst.device().is_cuda() ? dst.device().index : src.device().index;
  const DeviceGuard guard(device);
  const Tensor from = dense(src, dst.dtype());
  const Tensor to = dst.is_contiguous() ? dst : empty(dst.shape(), dst.options());
  const std::size_t bytes = static_cast<std::size_t>(to.numel()) * size_of(to.dtype());
  refuse_in_capture(device, "a copy from or to another device");
  if (src.device().is_cpu()) {
    upload(device, to.raw_data(), from.raw_data(), bytes);
  } else {
    if (src.device().index != device) synchronize(src.device().index);
    check_call(
        cudaMemcpyAsync(to.raw_data(), from.raw_data(), bytes, cudaMemcpyDefault, stream(device)),
        "a copy");
  }
  if (dst.is_contiguous()) return;
  if (dst.device().is_cpu()) synchronize(device);
  raw_copy(dst, to);
}

template <class T>
void fill_typed(const Tensor& dst, double value) {
  const auto loop = strided_loop(dst);
  T* const to = dst.data<T>();
  const T converted = scangrad::convert<T>(value);
  for_each(dst.device(), loop.numel, [=] __device__(std::int64_t i) {
    std::int64_t at[1];
    offsets_of(loop, i, at);
    to[at[0]] = converted;
  });
}

void fill(const Tensor& dst, double value) {
  if (dst.numel() == 0) return;
  dispatch(AllTypes{}, dst.dtype(),
           [&](auto tag) { fill_typed<typename decltype(tag)::type>(dst, value); });
}

template <class T>
void add_typed(const Tensor& dst, const Tensor& src) {
  map<T, T>(dst, dst, src, Plus{});
}

void add_in_place(const Tensor& dst, const Tensor& src) {
  if (dst.numel() == 0) return;
  dispatch(NumberTypes{}, dst.dtype(),
           [&](auto tag) { add_typed<typename decltype(tag)::type>(dst, src); });
}

}  // namespace

void register_backend(Backend& table) {
  table.allocate = allocate;
  table.deallocate = deallocate;
  table.copy = copy;
  table.fill = fill;
  table.add_in_place = add_in_place;
  table.stream = [](int device) -> void* { return stream(device); };
  table.synchronize = synchronize;
  table.memory_stats = memory_stats;
  if (launches_wait()) return;  // what is captured cannot wait
  table.begin_capture = begin_capture;
  table.end_capture = end_capture;
  table.launch_capture = launch_capture;
  table.destroy_capture = destroy_capture;
}

}  // namespace scangrad::cuda
