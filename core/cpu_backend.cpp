// The CPU's side of core/backend.h.
#include <scangrad/core/backend.h>
#include <scangrad/core/cpu_allocator.h>
#include <scangrad/core/format.h>
#include <scangrad/core/strided.h>

#include <cstring>
#include <type_traits>

namespace scangrad {
namespace {

void cpu_copy(const Tensor& dst, const Tensor& src) {
  const auto loop = strided_loop(dst, src);
  dispatch(AllTypes{}, dst.dtype(), [&](auto to) {
    dispatch(AllTypes{}, src.dtype(), [&](auto from) {
      using To = typename decltype(to)::type;
      using From = typename decltype(from)::type;
      To* out = dst.data<To>();
      const From* in = src.data<From>();
      const std::int64_t out_step = loop.step(0), in_step = loop.step(1);
      parallel_rows(loop, [&](std::int64_t n, const std::int64_t* at) {
        To* o = out + at[0];
        const From* i = in + at[1];
        if (std::is_same_v<To, From> && out_step == 1 && in_step == 1) {
          std::memcpy(o, i, static_cast<std::size_t>(n) * sizeof(To));
        } else {
          for (std::int64_t j = 0; j < n; ++j) {
            o[j * out_step] = static_cast<To>(static_cast<compute_type<From>>(i[j * in_step]));
          }
        }
      });
    });
  });
}

void cpu_fill(const Tensor& dst, double value) {
  const auto loop = strided_loop(dst);
  dispatch(AllTypes{}, dst.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    T* out = dst.data<T>();
    const T converted = static_cast<T>(value);
    parallel_rows(loop, [&](std::int64_t n, const std::int64_t* at) {
      for (std::int64_t j = 0; j < n; ++j) out[at[0] + j * loop.step(0)] = converted;
    });
  });
}

void cpu_add_in_place(const Tensor& dst, const Tensor& src) {
  const auto loop = strided_loop(dst, src);
  dispatch(NumberTypes{}, dst.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    using C = compute_type<T>;
    T* out = dst.data<T>();
    const T* in = src.data<T>();
    parallel_rows(loop, [&](std::int64_t n, const std::int64_t* at) {
      T* o = out + at[0];
      const T* i = in + at[1];
      if (loop.step(0) == 1 && loop.step(1) == 1) {
        for (std::int64_t j = 0; j < n; ++j) o[j] = static_cast<T>(C(o[j]) + C(i[j]));
      } else {
        for (std::int64_t j = 0; j < n; ++j) {
          T& target = o[j * loop.step(0)];
          target = static_cast<T>(C(target) + C(i[j * loop.step(1)]));
        }
      }
    });
  });
}

}  // namespace

void register_cpu_backend(Backend& table) {
  table.allocate = [](int, std::size_t bytes) { return cpu_allocate(bytes); };
  table.deallocate = [](int, void* data, std::size_t bytes) { cpu_deallocate(data, bytes); };
  table.copy = cpu_copy;
  table.fill = cpu_fill;
  table.add_in_place = cpu_add_in_place;
  table.synchronize = [](int) {};
  table.memory_stats = [](int) { return cpu_memory_stats(); };
}

}  // namespace scangrad
