#pragma once
#include <scangrad/core/tensor.h>

namespace scangrad::cuda {

/// dst ← src of one dtype and shape, through tiles, where neighbours in the memory of one lie apart
/// in the other's. False, with nothing done, where they do not, or are too few.
bool copy_transposed(const Tensor& dst, const Tensor& src);

}  // namespace scangrad::cuda
