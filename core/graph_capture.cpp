#include <scangrad/core/backend.h>
#include <scangrad/core/graph_capture.h>
#include <scangrad/core/random.h>

#include <utility>

namespace scangrad {

GraphCapture::GraphCapture(Device device, std::function<void()> work)
    : device_(device), work_(std::move(work)) {}

GraphCapture::~GraphCapture() { discard(); }

void GraphCapture::discard() {
  if (captured_ != nullptr) backend(device_).destroy_capture(device_.index, captured_);
  captured_ = nullptr;
}

void GraphCapture::capture() {
  const Backend& device = backend(device_);
  if (!base_.defined()) base_ = empty({}, {DType::i64, device_});
  Generator& generator = default_generator();
  const PhiloxState before = generator.state();
  generator.set_state(
      {before.seed, 0, reinterpret_cast<const std::uint64_t*>(base_.data<std::int64_t>())});
  device.begin_capture(device_.index);
  try {
    work_();
  } catch (...) {
    device.end_capture(device_.index, /*discard=*/true);
    generator.set_state(before);
    throw;
  }
  seed_ = before.seed;
  blocks_ = generator.state().offset;
  generator.set_state(before);
  captured_ = device.end_capture(device_.index, /*discard=*/false);
}

void GraphCapture::run() {
  const Backend& device = backend(device_);
  if (!ran_ || device.begin_capture == nullptr) {
    work_();
    ran_ = true;
    return;
  }
  Generator& generator = default_generator();
  if (generator.state().seed != seed_) discard();
  if (captured_ == nullptr) capture();
  PhiloxState state = generator.state();
  device.fill(base_, static_cast<double>(state.offset));
  device.launch_capture(device_.index, captured_);
  state.offset += blocks_;
  generator.set_state(state);
}

}  // namespace scangrad
