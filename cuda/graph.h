#pragma once

// The CUDA graphs behind GraphCapture (core/graph_capture.h).
namespace scangrad::cuda {

void begin_capture(int device);
void* end_capture(int device, bool discard);
void launch_capture(int device, void* captured);
void destroy_capture(int device, void* captured);

}  // namespace scangrad::cuda
