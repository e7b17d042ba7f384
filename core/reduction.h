#pragma once
#include <scangrad/core/strided.h>

#include <cstdlib>
#include <limits>

namespace scangrad {

/// How to walk a reduction: the kept elements, and the reduced ones of each.
struct ReductionPlan {
  StridedLoop<2> kept;     // over the result and x
  StridedLoop<1> reduced;  // over x
};

/// x into `out`, which has stride 0 along the reduced dimensions. Both loops go through x by
/// falling stride, so that the innermost runs over adjacent elements; expanded dimensions are
/// outermost.
static inline ReductionPlan reduction(const Tensor& out, const Tensor& x) {
  const auto key = [&](int dim) {
    const std::int64_t stride = x.strides()[dim];
    return stride == 0 ? std::numeric_limits<std::int64_t>::max() : std::abs(stride);
  };
  int dims[max_rank];
  for (int i = 0; i < x.rank(); ++i) {
    int at = i;
    for (; at > 0 && key(dims[at - 1]) < key(i); --at) dims[at] = dims[at - 1];
    dims[at] = i;
  }
  Shape kept_sizes, reduced_sizes;
  Strides kept_out, kept_x, reduced_x;
  for (int i = 0; i < x.rank(); ++i) {
    const int dim = dims[i];
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

/// The same in two passes: parts of the reduced range to a scratch (chunks, kept), then the parts
/// from there to the result.
struct SplitReduction {
  ReductionPlan to_scratch, from_scratch;
};
static inline SplitReduction split(const ReductionPlan& whole, std::int64_t chunks) {
  SplitReduction passes{whole, whole};
  std::int64_t step = 1;
  for (int dim = whole.kept.rank - 1; dim >= 0; --dim) {
    passes.to_scratch.kept.strides[0][dim] = passes.from_scratch.kept.strides[1][dim] = step;
    step *= whole.kept.sizes[dim];
  }
  StridedLoop<1>& parts = passes.from_scratch.reduced;
  parts = {};
  parts.numel = parts.sizes[0] = chunks;
  parts.strides[0][0] = whole.kept.numel;
  return passes;
}

}  // namespace scangrad
