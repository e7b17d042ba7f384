#include <scangrad/core/backend.h>
#include <scangrad/core/error.h>
#include <scangrad/tests/support/catch.h>
#include <scangrad/tests/support/devices.h>

std::vector<scangrad::Device> devices() {
  using scangrad::Device;
  std::vector<Device> found{Device::cpu()};
  try {
    scangrad::backend(Device::cuda());
    found.push_back(Device::cuda());
  } catch (const scangrad::DeviceError&) {
  }
  return found;
}

bool has_cuda() {
  const bool found = devices().size() > 1;
  if (!found) WARN("skipped: there is no CUDA device");
  return found;
}
