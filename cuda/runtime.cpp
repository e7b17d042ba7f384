#include <scangrad/core/format.h>
#include <scangrad/cuda/runtime.h>
#include <scangrad/ops/kernels.h>

#include <cstdlib>
#include <mutex>
#include <string_view>
#include <vector>

namespace scangrad::cuda {
namespace {

/// What a device keeps from its first use to the end of the program.
struct DeviceState {
  cudaStream_t stream = nullptr;
  cublasHandle_t cublas = nullptr;
  void* workspace = nullptr;
  FaultWord fault = {};
  int multiprocessors = 0;
  bool capturing = false;
};

constexpr std::size_t workspace_bytes = std::size_t{32} << 20;  // what cuBLAS asks for on Hopper

DeviceState make_state(int device) {
  const DeviceGuard guard(device);
  DeviceState state;
  check_call(cudaStreamCreateWithFlags(&state.stream, cudaStreamNonBlocking), "a stream");
  check_call(cublasCreate(&state.cublas), "cuBLAS");
  check_call(cublasSetStream(state.cublas, state.stream), "cuBLAS's stream");
  check_call(cudaMalloc(&state.workspace, workspace_bytes), "cuBLAS's workspace");
  check_call(cublasSetWorkspace(state.cublas, state.workspace, workspace_bytes),
             "cuBLAS's workspace");
  void* fault = nullptr;
  check_call(cudaHostAlloc(&fault, sizeof(IndexFault), cudaHostAllocMapped), "mapped memory");
  state.fault.fault = new (fault) IndexFault{};
  check_call(cudaMalloc(&state.fault.claimed, sizeof(int)), "memory");
  check_call(cudaMemset(state.fault.claimed, 0, sizeof(int)), "memory");
  check_call(cudaDeviceGetAttribute(&state.multiprocessors, cudaDevAttrMultiProcessorCount, device),
             "the device's attributes");
  return state;
}

DeviceState& state_of(int device) {
  static std::mutex mutex;
  static std::vector<DeviceState*>& states = *new std::vector<DeviceState*>;  // outlives statics
  const std::lock_guard lock(mutex);
  const auto i = static_cast<std::size_t>(device);
  if (i >= states.size()) states.resize(i + 1);
  if (states[i] == nullptr) states[i] = new DeviceState(make_state(device));
  return *states[i];
}

}  // namespace

void check_call(cudaError_t status, const char* call) {
  if (status == cudaSuccess) return;
  cudaGetLastError();  // or the next call would report it again
  fail<DeviceError>("cuda: {}: {}", call, cudaGetErrorString(status));
}

void check_call(cublasStatus_t status, const char* call) {
  check<DeviceError>(status == CUBLAS_STATUS_SUCCESS, "cuda: {}: {}", call,
                     cublasGetStatusString(status));
}

void require_devices(Device asked_for) {
  int driver = 0, runtime = 0, count = 0;
  check<DeviceError>(cudaDriverGetVersion(&driver) == cudaSuccess && driver > 0,
                     "{}: there is no NVIDIA driver on this machine", asked_for);
  cudaRuntimeGetVersion(&runtime);
  check<DeviceError>(driver >= runtime / 1000 * 1000,
                     "{}: the driver is for CUDA {}.{}, and this build needs {}.{}; update it",
                     asked_for, driver / 1000, driver % 1000 / 10, runtime / 1000,
                     runtime % 1000 / 10);
  const cudaError_t status = cudaGetDeviceCount(&count);
  cudaGetLastError();
  check<DeviceError>(status == cudaSuccess && count > 0, "{}: no device can be used: {}", asked_for,
                     cudaGetErrorString(status));
}

DeviceGuard::DeviceGuard(int device) {
  check_call(cudaGetDevice(&previous_), "the current device");
  if (device == previous_) return;
  int count = 0;
  check_call(cudaGetDeviceCount(&count), "the number of devices");
  check<DeviceError>(0 <= device && device < count, "cuda: there is no device cuda:{} among {}",
                     device, count);
  check_call(cudaSetDevice(device), "the device");
}
DeviceGuard::~DeviceGuard() { cudaSetDevice(previous_); }

cudaStream_t stream(int device) { return state_of(device).stream; }
cublasHandle_t cublas(int device) { return state_of(device).cublas; }
cublasLtHandle_t cublas_lt(int device) {
  return reinterpret_cast<cublasLtHandle_t>(state_of(device).cublas);  // as cuBLAS documents
}
Workspace cublas_workspace(int device) { return {state_of(device).workspace, workspace_bytes}; }
int multiprocessors(int device) { return state_of(device).multiprocessors; }
FaultWord fault_word(int device) { return state_of(device).fault; }

bool launches_wait() {
  static const bool asked = [] {
    const char* value = std::getenv("SCANGRAD_SYNC");
    return value != nullptr && std::string_view(value) == "1";
  }();
  return asked;
}

void check_launch(int device, const std::source_location& where) {
  cudaError_t status = cudaGetLastError();
  if (status == cudaSuccess && launches_wait()) {
    status = cudaStreamSynchronize(stream(device));
    if (status == cudaSuccess) synchronize(device);  // for an index error
  }
  check<DeviceError>(status == cudaSuccess, "cuda:{}: the kernel of {}:{}: {}", device,
                     where.file_name(), where.line(), cudaGetErrorString(status));
}

void set_capturing(int device, bool capturing) { state_of(device).capturing = capturing; }

void refuse_in_capture(int device, const char* what) {
  check<UnsupportedError>(!state_of(device).capturing,
                          "cuda:{}: {} cannot be captured; do it outside of the captured work",
                          device, what);
}

void synchronize(int device) {
  refuse_in_capture(device, "waiting for the device, as reading from it does,");
  check_call(cudaStreamSynchronize(stream(device)), "work given to the device");
  const FaultWord word = fault_word(device);
  if (word.fault->happened == 0) return;
  const IndexFault found = *word.fault;
  *word.fault = {};
  check_call(cudaMemsetAsync(word.claimed, 0, sizeof(int), stream(device)), "memory");
  if (found.unit == nullptr) singular_matrix(found.op, found.index);
  bad_index({found.op, found.unit}, found.index, found.limit);
}

}  // namespace scangrad::cuda
