#include <scangrad/cuda/allocator.h>
#include <scangrad/cuda/graph.h>
#include <scangrad/cuda/runtime.h>

namespace scangrad::cuda {
namespace {

struct Graph {
  cudaGraphExec_t executable = nullptr;
  int memory = 0;  // the allocator's name for what the graph uses
};

/// Ends the stream's capture whatever became of it; null where it failed.
cudaGraph_t end_stream_capture(int device) {
  cudaGraph_t graph = nullptr;
  if (cudaStreamEndCapture(stream(device), &graph) == cudaSuccess) return graph;
  cudaGetLastError();
  return nullptr;
}

}  // namespace

void begin_capture(int device) {
  synchronize(device);  // what earlier work left is not the capture's
  const DeviceGuard guard(device);
  // Relaxed: the allocator may have to ask the driver for memory.
  check_call(cudaStreamBeginCapture(stream(device), cudaStreamCaptureModeRelaxed), "a capture");
  set_capturing(device, true);
  begin_graph_memory(device);
}

void* end_capture(int device, bool discard) {
  const DeviceGuard guard(device);
  set_capturing(device, false);
  const int memory = end_graph_memory(device);
  const cudaGraph_t graph = end_stream_capture(device);
  cudaGraphExec_t executable = nullptr;
  cudaError_t status = cudaErrorStreamCaptureInvalidated;
  if (graph != nullptr) {
    if (!discard) status = cudaGraphInstantiate(&executable, graph, 0);
    cudaGraphDestroy(graph);
  }
  if (executable == nullptr) {
    release_graph_memory(device, memory);
    if (!discard) check_call(status, "a graph");
    return nullptr;
  }
  return new Graph{executable, memory};
}

void launch_capture(int device, void* captured) {
  const DeviceGuard guard(device);
  check_call(cudaGraphLaunch(static_cast<Graph*>(captured)->executable, stream(device)), "a graph");
}

void destroy_capture(int device, void* captured) {
  Graph* const graph = static_cast<Graph*>(captured);
  cudaStreamSynchronize(stream(device));  // it may still be running
  cudaGraphExecDestroy(graph->executable);
  release_graph_memory(device, graph->memory);
  delete graph;
}

}  // namespace scangrad::cuda
