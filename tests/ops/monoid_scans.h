// The examples' monoids as plain functions. Their kernels are compiled in monoid_scans.cpp alone:
// by nvcc where there is CUDA, so that the tests of every device can call them.
#pragma once
#include <scangrad/ops/scan.h>

namespace monoid_scans {

using scangrad::ScanOptions, scangrad::ScanResult, scangrad::Tensor;

/// monoid_scan<Rotation>.
ScanResult rotation(const Tensor& x, const ScanOptions& options = {});
/// monoid_scan<LogSumExpProduct<3>> and <1>.
ScanResult log_sum_exp(const Tensor& x, const ScanOptions& options = {});
ScanResult log_sum_exp_1(const Tensor& x, const ScanOptions& options = {});
/// monoid_scan<MaxPlusProduct<3>>.
ScanResult max_plus(const Tensor& x, const ScanOptions& options = {});

}  // namespace monoid_scans
