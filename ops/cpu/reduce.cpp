#include <scangrad/ops/cpu/level.h>

namespace scangrad::SCANGRAD_CPU_NAMESPACE {
namespace {

/// One reduction: the kept dimensions as the outer loop, the reduced ones as the inner.
struct ReducePlan {
  StridedLoop<2> kept;     // over out and x
  StridedLoop<1> reduced;  // over x
};

/// x split by where `out` has stride 0.
ReducePlan plan(const Tensor& out, const Tensor& x) {
  Shape kept_sizes, reduced_sizes;
  Strides kept_out, kept_x, reduced_x;
  for (int dim = 0; dim < x.rank(); ++dim) {
    if (out.strides()[dim] == 0) {
      reduced_sizes.push_back(x.shape()[dim]);
      reduced_x.push_back(x.strides()[dim]);
    } else {
      kept_sizes.push_back(x.shape()[dim]);
      kept_out.push_back(out.strides()[dim]);
      kept_x.push_back(x.strides()[dim]);
    }
  }
  return {strided_loop(out.as_strided(kept_sizes, kept_out, out.offset()),
                       x.as_strided(kept_sizes, kept_x, x.offset())),
          strided_loop(x.as_strided(reduced_sizes, reduced_x, x.offset()))};
}

/// Sum of n values: pairwise over blocks (a running sum of many equal values drifts by n eps), each
/// in eight interleaved parts, which vectorises.
template <class A, class T>
A sum_row(const T* x, std::int64_t n, std::int64_t step) {
  using C = compute_type<T>;
  constexpr std::int64_t block = 1024;
  if (n > block) {
    const std::int64_t half = (n / 2 + block - 1) / block * block;
    return sum_row<A>(x, half, step) + sum_row<A>(x + half * step, n - half, step);
  }
  A parts[8] = {};
  std::int64_t i = 0;
  if (step == 1) {
    for (; i + 8 <= n; i += 8) {
      for (int j = 0; j < 8; ++j) parts[j] += A(C(x[i + j]));
    }
  }
  for (; i < n; ++i) parts[i % 8] += A(C(x[i * step]));
  return ((parts[0] + parts[1]) + (parts[2] + parts[3])) +
         ((parts[4] + parts[5]) + (parts[6] + parts[7]));
}

void sum(const Tensor& out, const Tensor& x) {
  dispatch(NumberTypes{}, x.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    using A = compute_type<T>;
    const ReducePlan p = plan(out, x);
    T* const to = out.data<T>();
    const T* const from = x.data<T>();
    const std::int64_t grain = std::max<std::int64_t>(1, 16384 / p.reduced.numel);
    parallel_for(p.kept.numel, grain, [&](std::int64_t begin, std::int64_t end) {
      for_each_row(p.kept, begin, end, [&](std::int64_t n, const std::int64_t* at) {
        for (std::int64_t j = 0; j < n; ++j) {
          const T* first = from + at[1] + j * p.kept.step(1);
          A total = 0;
          for_each_row(p.reduced, 0, p.reduced.numel,
                       [&](std::int64_t count, const std::int64_t* offset) {
                         total += sum_row<A>(first + offset[0], count, p.reduced.step(0));
                       });
          to[at[0] + j * p.kept.step(0)] = static_cast<T>(total);
        }
      });
    });
  });
}

}  // namespace

void fill_reduce(Kernels& table) { table.sum = sum; }

}  // namespace scangrad::SCANGRAD_CPU_NAMESPACE
