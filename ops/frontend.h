#pragma once
// Internal: what the front-end of every operation needs (check → promote → allocate → kernel →
// record). Included by ops/*.cpp only, never installed.
#include <scangrad/autograd/node.h>
#include <scangrad/core/backend.h>
#include <scangrad/core/format.h>
#include <scangrad/ops/kernels.h>

namespace scangrad {

/// Throws DTypeError unless x has one of the list's dtypes.
template <class... Ts>
void check_dtype(const char* op, const Tensor& x, TypeList<Ts...>) {
  const bool found = ((x.dtype() == dtype_of<Ts>) || ...);
  std::string names;
  ((names += names.empty() ? "" : ", ", names += name(dtype_of<Ts>)), ...);
  check<DTypeError>(found, "{}: {} tensors are not supported, only {}; use cast", op, x.dtype(),
                    names);
}

/// Throws DeviceError unless both tensors are on one device.
inline void check_same_device(const char* op, const Tensor& a, const Tensor& b) {
  check<DeviceError>(a.device() == b.device(), "{}: tensors are on two devices, {} and {}", op,
                     a.device(), b.device());
}

/// Throws DTypeError unless both tensors have one dtype.
inline void check_same_dtype(const char* op, const Tensor& a, const Tensor& b) {
  check<DTypeError>(a.dtype() == b.dtype(), "{}: tensors have two dtypes, {} and {}; use cast", op,
                    a.dtype(), b.dtype());
}

/// The device's kernel. Throws UnsupportedError naming the operation where it has none.
template <class Kernel>
Kernel* kernel_for(const char* op, Device device, Kernel* Kernels::*entry) {
  Kernel* kernel = kernels(device).*entry;
  check<UnsupportedError>(kernel != nullptr, "{}: not implemented on {}", op, device);
  return kernel;
}

/// Dimension `dim` and those before and after it, each as one: (outer, n, inner).
inline Shape around(const Shape& shape, int dim) {
  return {shape.slice(0, dim).numel(), shape[dim], shape.slice(dim + 1, shape.rank()).numel()};
}

/// A batch of matrices: (batch…, rows, columns).
inline Shape with_matrix(Shape batch, std::int64_t rows, std::int64_t columns) {
  batch.push_back(rows);
  batch.push_back(columns);
  return batch;
}

/// `t` viewed with a larger shape: new and size-1 dimensions get stride 0. Not recorded.
Tensor expand_view(const Tensor& t, const Shape& shape);

}  // namespace scangrad
