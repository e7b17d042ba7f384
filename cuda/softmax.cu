#include <scangrad/cuda/families.h>
#include <scangrad/cuda/rows.cuh>

namespace scangrad::cuda {
namespace {

template <class T>
void softmax_typed(const Tensor& out, const Tensor& x) {
  using C = compute_type<T>;
  const std::int64_t n = x.shape().back();
  const T* const from = x.data<T>();
  T* const to = out.data<T>();
  for_each_row_in_registers(
      x.device(), x.numel() / n, n, rows_in_packs<T>(n, from, to), Operands<T, 1>{{from}},
      [=] __device__(auto& row, std::int64_t r) {
        const auto sums = softmax_sums(row, [](auto, C v) { return v; });
        const C scale = C(1) / sums.total;
        row.store(to + r * n, [=](auto, C v) { return exp_for<T>(v - sums.largest) * scale; });
      });
}

/// The mask of a softmax, wherever it lies.
template <class T>
struct Mask {
  const bool* seen;
  const T* added;
  std::int64_t sizes[max_rank], steps[max_rank];
  int rank;

  __device__ std::int64_t row(std::int64_t r) const {
    std::int64_t offset = 0;
    for (int dim = rank - 2; dim >= 0; --dim) {
      offset += r % sizes[dim] * steps[dim];
      r /= sizes[dim];
    }
    return offset;
  }
};

template <class T>
void masked_softmax_typed(const Tensor& out, const Tensor& x, const Tensor& mask, bool causal) {
  using C = compute_type<T>;
  constexpr C nothing = -std::numeric_limits<C>::infinity();
  const int rank = x.rank();
  const std::int64_t n = x.shape().back();
  const std::int64_t queries = causal ? x.shape()[rank - 2] : 1;
  const bool boolean = mask.defined() && mask.dtype() == DType::bool_;
  Mask<T> m{boolean ? mask.data<bool>() : nullptr,
            mask.defined() && !boolean ? mask.data<T>() : nullptr,
            {},
            {},
            rank};
  for (int dim = 0; dim < rank; ++dim) {
    m.sizes[dim] = x.shape()[dim];
    m.steps[dim] = mask.defined() ? mask.strides()[dim] : 0;
  }
  const T* const from = x.data<T>();
  T* const to = out.data<T>();
  const auto seen = [=] __device__(std::int64_t r) { return causal ? min(n, r % queries + 1) : n; };
  for_each_row_in_registers(
      x.device(), x.numel() / n, n, rows_in_packs<T>(n, from, to), Operands<T, 1>{{from}},
      [=] __device__(auto& row, std::int64_t r) {
        const auto count = row.read;
        const std::int64_t step = m.steps[m.rank - 1];
        const std::int64_t begin = m.seen != nullptr || m.added != nullptr ? m.row(r) : 0;
        const auto value = [=](auto j, C v) {
          if (j >= count) return nothing;
          if (m.seen != nullptr) return m.seen[begin + j * step] ? v : nothing;
          return m.added != nullptr ? v + C(m.added[begin + j * step]) : v;
        };
        const auto sums = softmax_sums(row, value);
        const C scale = C(1) / sums.total;
        row.store(to + r * n, [=](auto j, C element) {
          const C v = value(j, element);
          if (j >= count) return C(0);
          // All of it masked, or NaN, which must not turn into 0.
          if (sums.largest == nothing) return v == nothing ? C(0) : v;
          return exp_for<T>(v - sums.largest) * scale;
        });
      },
      seen);
}

template <class T>
void softmax_backward_typed(const Tensor& out, const Tensor& g, const Tensor& y) {
  using C = compute_type<T>;
  const std::int64_t n = y.shape().back();
  const Operands<T, 2> inputs{{g.data<T>(), y.data<T>()}};
  T* const to = out.data<T>();
  for_each_row_in_registers(y.device(), y.numel() / n, n,
                            rows_in_packs<T>(n, inputs.data[0], inputs.data[1], to), inputs,
                            [=] __device__(auto& row, std::int64_t r) {
                              const C mean = row.sum([](auto, C d, C p) { return d * p; });
                              row.store(to + r * n, [=](auto, C d, C p) { return p * (d - mean); });
                            });
}

template <class T>
void log_softmax_typed(const Tensor& out, const Tensor& x) {
  using C = compute_type<T>;
  const std::int64_t n = x.shape().back();
  const T* const from = x.data<T>();
  T* const to = out.data<T>();
  for_each_row_in_registers(x.device(), x.numel() / n, n, rows_in_packs<T>(n, from, to),
                            Operands<T, 1>{{from}}, [=] __device__(auto& row, std::int64_t r) {
                              const auto sums = softmax_sums(row, [](auto, C v) { return v; });
                              const C log_total = log(sums.total);
                              row.store(to + r * n,
                                        [=](auto, C v) { return (v - sums.largest) - log_total; });
                            });
}

template <class T>
void log_softmax_backward_typed(const Tensor& out, const Tensor& g, const Tensor& y) {
  using C = compute_type<T>;
  const std::int64_t n = y.shape().back();
  const Operands<T, 2> inputs{{g.data<T>(), y.data<T>()}};
  T* const to = out.data<T>();
  for_each_row_in_registers(
      y.device(), y.numel() / n, n, rows_in_packs<T>(n, inputs.data[0], inputs.data[1], to), inputs,
      [=] __device__(auto& row, std::int64_t r) {
        const C total = row.sum([](auto, C d, C) { return d; });
        row.store(to + r * n, [=](auto, C d, C l) { return d - exp_for<T>(l) * total; });
      });
}

void softmax(const Tensor& out, const Tensor& x) {
  dispatch(FloatTypes{}, x.dtype(),
           [&](auto tag) { softmax_typed<typename decltype(tag)::type>(out, x); });
}
void masked_softmax(const Tensor& out, const Tensor& x, const Tensor& mask, bool causal) {
  dispatch(FloatTypes{}, x.dtype(), [&](auto tag) {
    masked_softmax_typed<typename decltype(tag)::type>(out, x, mask, causal);
  });
}
void softmax_backward(const Tensor& out, const Tensor& g, const Tensor& y) {
  dispatch(FloatTypes{}, y.dtype(),
           [&](auto tag) { softmax_backward_typed<typename decltype(tag)::type>(out, g, y); });
}
void log_softmax(const Tensor& out, const Tensor& x) {
  dispatch(FloatTypes{}, x.dtype(),
           [&](auto tag) { log_softmax_typed<typename decltype(tag)::type>(out, x); });
}
void log_softmax_backward(const Tensor& out, const Tensor& g, const Tensor& y) {
  dispatch(FloatTypes{}, y.dtype(),
           [&](auto tag) { log_softmax_backward_typed<typename decltype(tag)::type>(out, g, y); });
}

}  // namespace

void fill_softmax(Kernels& table) {
  table.softmax = softmax;
  table.masked_softmax = masked_softmax;
  table.softmax_backward = softmax_backward;
  table.log_softmax = log_softmax;
  table.log_softmax_backward = log_softmax_backward;
}

}  // namespace scangrad::cuda
