#include <scangrad/core/backend.h>
#include <scangrad/core/error.h>
#include <scangrad/tests/support/catch.h>
#include <scangrad/tests/support/devices.h>

#include <cstdlib>
#include <string>

std::vector<scangrad::Device> devices() {
  using scangrad::Device;
  try {
    scangrad::backend(Device::cuda());
  } catch (const scangrad::DeviceError&) {
    return {Device::cpu()};
  }
  return reduced<Device>({Device::cpu(), Device::cuda()}, {Device::cuda()});
}

bool has_cuda() {
  const bool found = devices().back().is_cuda();
  if (!found) WARN("skipped: there is no CUDA device");
  return found;
}

bool compute_sanitizer() {
  const char* value = std::getenv("SCANGRAD_COMPUTE_SANITIZER");
  return value != nullptr && std::string(value) == "1";
}
