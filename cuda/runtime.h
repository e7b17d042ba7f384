#pragma once
#include <scangrad/core/device.h>

#include <cublas_v2.h>
#include <cuda_runtime.h>

#include <cstdint>

// The CUDA runtime as the rest of this folder uses it: errors become exceptions, and all work of a
// device is ordered on one stream of scangrad's own.
namespace scangrad::cuda {

/// Throws DeviceError, naming the call, unless `status` is success.
void check_call(cudaError_t status, const char* call);
void check_call(cublasStatus_t status, const char* call);

/// Makes a device current as long as it lives. Throws DeviceError where there is no such device.
class DeviceGuard {
 public:
  explicit DeviceGuard(int device);
  ~DeviceGuard();
  DeviceGuard(const DeviceGuard&) = delete;
  DeviceGuard& operator=(const DeviceGuard&) = delete;

 private:
  int previous_ = 0;
};

/// Throws DeviceError, naming the device asked for and what is missing, unless there are a driver
/// and a device that can be used.
void require_devices(Device asked_for);
/// The stream of a device.
cudaStream_t stream(int device);
/// cuBLAS on that stream, in full precision.
cublasHandle_t cublas(int device);
/// The number of multiprocessors.
int multiprocessors(int device);

/// The first index error of a device, which `synchronize` throws.
struct IndexFault {
  int happened;
  const char* op;  // host addresses, of IndexCheck's literals; no unit: a singular matrix
  const char* unit;
  std::int64_t index;
  std::int64_t limit;
};
/// Where kernels note it (launch.cuh's `note_fault`).
struct FaultWord {
  int* claimed;       // device memory, for atomics: 0 until a thread has an error to note
  IndexFault* fault;  // host memory that the device writes to
};
FaultWord fault_word(int device);
/// Waits for the device and throws what it left.
void synchronize(int device);

}  // namespace scangrad::cuda
