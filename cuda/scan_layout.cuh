#pragma once
#include <scangrad/cuda/launch.cuh>

namespace scangrad::cuda {

/// Where sequence s has its step k, for elements and states (outer, T, inner, size).
struct Layout {
  std::int64_t outer, count, inner, groups;
  const bool* cuts;  // (outer, T, groups); null for none
  bool reverse;

  Layout(const Tensor& states, const Tensor& cuts_, ScanPlan plan)
      : outer(states.shape()[0]),
        count(states.shape()[1]),
        inner(states.shape()[2]),
        groups(cuts_.defined() ? cuts_.shape()[2] : 1),
        cuts(data_or_null<bool>(cuts_)),
        reverse(plan.reverse) {}
  __host__ __device__ std::int64_t sequences() const { return outer * inner; }
  /// Number of the block of values that belongs to step k.
  __device__ std::int64_t at(std::int64_t s, std::int64_t k) const {
    const std::int64_t t = reverse ? count - 1 - k : k;
    return (s / inner * count + t) * inner + s % inner;
  }
  /// Is the state that enters step k of sequence s the identity, as a segment begins there?
  __device__ bool cut(std::int64_t s, std::int64_t k) const {
    if (cuts == nullptr) return false;
    const std::int64_t t = reverse ? count - 1 - k : k;
    return cuts[(s / inner * count + t) * groups + s % inner / (inner / groups)];
  }
};

}  // namespace scangrad::cuda
