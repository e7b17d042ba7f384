#pragma once
#include <scangrad/core/device.h>

#include <cublasLt.h>
#include <cublas_v2.h>
#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <source_location>

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
/// To be called after each kernel's start: throws DeviceError, naming the place, where that failed.
/// Under SCANGRAD_SYNC=1 waits for the kernel too, so that its fault is named here.
void check_launch(int device, const std::source_location& where);
/// Whether the environment asks for that.
bool launches_wait();
/// cuBLAS on that stream, in full precision and with a workspace of its own, so that the same call
/// gives the same bits.
cublasHandle_t cublas(int device);
/// The same handle, for cuBLASLt.
cublasLtHandle_t cublas_lt(int device);
/// That workspace: of one size, since the choice of a kernel depends on it, and used by one stream.
struct Workspace {
  void* data;
  std::size_t bytes;
};
Workspace cublas_workspace(int device);
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
/// Waits for the device and throws what it left. UnsupportedError while work is captured.
void synchronize(int device);
/// Whether a capture (core/graph_capture.h) is under way.
void set_capturing(int device, bool capturing);
/// Throws UnsupportedError that names `what` where it is.
void refuse_in_capture(int device, const char* what);

}  // namespace scangrad::cuda
