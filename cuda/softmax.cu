#include <scangrad/cuda/families.h>
#include <scangrad/ops/vector_math.h>
#include <scangrad/cuda/launch.cuh>

// A block a row.
namespace scangrad::cuda {
namespace {

namespace math = functors::math;

/// out_j = e^{value(j) − shift} / Σ of these for j < n.
template <class T, class C, class Value>
__device__ void softmax_row(T* out, std::int64_t n, C shift, const Value& value) {
  const C scale = C(1) / sum_over<C>(n, [&](auto j) { return math::exp(value(j) - shift); });
  for_each_in_row(n, [&](auto j) { out[j] = T(math::exp(value(j) - shift) * scale); });
}

template <class T>
void softmax_typed(const Tensor& out, const Tensor& x) {
  using C = compute_type<T>;
  const std::int64_t n = x.shape().back();
  const T* const from = x.data<T>();
  T* const to = out.data<T>();
  for_each_row(x.device(), x.numel() / n, [=] __device__(std::int64_t r) {
    const T* i = from + r * n;
    const auto value = [=](auto j) { return C(i[j]); };
    softmax_row(to + r * n, n, max_over<C>(n, value), value);
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
  for_each_row(x.device(), x.numel() / n, [=] __device__(std::int64_t r) {
    const T* i = from + r * n;
    T* o = to + r * n;
    const std::int64_t count = causal ? min(n, r % queries + 1) : n;
    const std::int64_t row = m.row(r), step = m.steps[m.rank - 1];
    const auto value = [=](std::int64_t j) {
      if (m.seen != nullptr) return m.seen[row + j * step] ? C(i[j]) : nothing;
      if (m.added != nullptr) return C(i[j]) + C(m.added[row + j * step]);
      return C(i[j]);
    };
    const C shift = max_over<C>(count, value);
    if (shift != nothing) {
      softmax_row(o, count, shift, value);
    } else {  // all of it masked, or NaN, which must not turn into 0
      for_each_in_row(count, [&](auto j) { o[j] = T(value(j) == nothing ? C(0) : C(value(j))); });
    }
    for_each_in_row(n - count, [&](auto j) { o[count + j] = T(C(0)); });
  });
}

template <class T>
void softmax_backward_typed(const Tensor& out, const Tensor& g, const Tensor& y) {
  using C = compute_type<T>;
  const std::int64_t n = y.shape().back();
  const T* const grads = g.data<T>();
  const T* const probabilities = y.data<T>();
  T* const to = out.data<T>();
  for_each_row(y.device(), y.numel() / n, [=] __device__(std::int64_t r) {
    const T* d = grads + r * n;
    const T* p = probabilities + r * n;
    const C mean = sum_over<C>(n, [=](auto j) { return C(d[j]) * C(p[j]); });
    for_each_in_row(n, [=](auto j) { to[r * n + j] = T(C(p[j]) * (C(d[j]) - mean)); });
  });
}

template <class T>
void log_softmax_typed(const Tensor& out, const Tensor& x) {
  using C = compute_type<T>;
  const std::int64_t n = x.shape().back();
  const T* const from = x.data<T>();
  T* const to = out.data<T>();
  for_each_row(x.device(), x.numel() / n, [=] __device__(std::int64_t r) {
    const T* i = from + r * n;
    const C shift = max_over<C>(n, [=](auto j) { return C(i[j]); });
    const C log_total = log(sum_over<C>(n, [=](auto j) { return math::exp(C(i[j]) - shift); }));
    for_each_in_row(n, [=](auto j) { to[r * n + j] = T((C(i[j]) - shift) - log_total); });
  });
}

template <class T>
void log_softmax_backward_typed(const Tensor& out, const Tensor& g, const Tensor& y) {
  using C = compute_type<T>;
  const std::int64_t n = y.shape().back();
  const T* const grads = g.data<T>();
  const T* const logs = y.data<T>();
  T* const to = out.data<T>();
  for_each_row(y.device(), y.numel() / n, [=] __device__(std::int64_t r) {
    const T* d = grads + r * n;
    const T* l = logs + r * n;
    const C total = sum_over<C>(n, [=](auto j) { return C(d[j]); });
    for_each_in_row(n, [=](auto j) { to[r * n + j] = T(C(d[j]) - math::exp(C(l[j])) * total); });
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
