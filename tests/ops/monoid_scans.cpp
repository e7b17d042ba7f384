// Compiled as CUDA where that is built (tests/CMakeLists.txt).
#include <scangrad/examples/log_semiring.h>
#include <scangrad/examples/rotation.h>
#include <scangrad/tests/ops/monoid_scans.h>

namespace monoid_scans {

ScanResult rotation(const Tensor& x, const ScanOptions& options) {
  return scangrad::monoid_scan<Rotation>(x, options);
}
ScanResult log_sum_exp(const Tensor& x, const ScanOptions& options) {
  return scangrad::monoid_scan<LogSumExpProduct<3>>(x, options);
}
ScanResult log_sum_exp_1(const Tensor& x, const ScanOptions& options) {
  return scangrad::monoid_scan<LogSumExpProduct<1>>(x, options);
}
ScanResult max_plus(const Tensor& x, const ScanOptions& options) {
  return scangrad::monoid_scan<MaxPlusProduct<3>>(x, options);
}

}  // namespace monoid_scans
