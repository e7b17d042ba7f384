#pragma once
#include <scangrad/core/tensor.h>

#include <cstdint>
#include <functional>

namespace scangrad {

/// Work that a device does again and again, as one launch: a training step consists of hundreds of
/// small kernels, each of which costs the host more time than the device.
///
///     sg::GraphCapture step(device, [&] { loss = train(batch); });
///     for (…) { copy_(batch, next()); step.run(); }
///
/// The first `run` does the work as it stands, which makes what is made once; the second captures
/// it as a CUDA graph; from then on the host does no more than launch it. Every `run` has the
/// result that the work alone would have, random numbers of the default generator included. On a
/// device without graphs (the CPU) each `run` does the work.
///
/// So the work must give the device the same kernels on the same tensors each time: new input is
/// copied into those that it reads, and what changes must be read from them (a learning rate, say).
/// What else the host does in it (counts, say), it does for the first two runs only. It may neither
/// read from the device nor copy from the host: UnsupportedError. Random numbers of other
/// generators would be the same in each run. Memory that the work uses stays its own as long as
/// this lives.
class GraphCapture {
 public:
  GraphCapture(Device device, std::function<void()> work);
  ~GraphCapture();
  GraphCapture(const GraphCapture&) = delete;
  GraphCapture& operator=(const GraphCapture&) = delete;

  void run();

 private:
  void capture();
  void discard();

  Device device_;
  std::function<void()> work_;
  bool ran_ = false;
  void* captured_ = nullptr;
  Tensor base_;               // i64 []: where the generator stands, for the kernels of a replay
  std::uint64_t seed_ = 0;    // of the captured kernels
  std::uint64_t blocks_ = 0;  // by which one run advances the generator
};

}  // namespace scangrad
