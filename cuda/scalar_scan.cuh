#pragma once
// Scans of scalars along any dimension, in one pass over memory.
#include <scangrad/cuda/scan_columns.cuh>
#include <scangrad/cuda/scan_rows.cuh>

namespace scangrad::cuda {

/// ForwardScan or LinearBackwardScan.
template <class P>
void run_scan(Device device, const P& scan) {
  return scan.sequences.inner == 1 ? scan_rows(device, scan) : scan_columns(device, scan);
}

/// A ScanKernel of one or two operands.
template <class M, class T>
void forward_scan(const Tensor& states, const Tensor& last, const Tensor& a, const Tensor& b,
                  const Tensor& initial, const Tensor& cuts, ScanPlan plan) {
  ForwardScan<M, T> scan{{states, cuts, plan.reverse}, {},
                         {states.data<T>()},           last.data<T>(),
                         data_or_null<T>(initial),     plan.exclusive};
  scan.in[0] = a.data<T>();
  if constexpr (M::inputs > 1) scan.in[1] = b.data<T>();
  run_scan(states.device(), scan);
}

}  // namespace scangrad::cuda
