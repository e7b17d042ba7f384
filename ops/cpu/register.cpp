#include <scangrad/ops/cpu/level.h>

namespace scangrad::SCANGRAD_CPU_NAMESPACE {

void fill_kernels(Kernels& table) {
  fill_elementwise(table);
  fill_reduce(table);
  fill_creation(table);
  fill_random(table);
  fill_index(table);
  fill_sort(table);
  fill_matmul(table);
  fill_softmax(table);
  fill_norm(table);
  fill_optimizer(table);
  fill_loss(table);
  fill_linalg(table);
  fill_scan(table);
  fill_scan_backward(table);
}

}  // namespace scangrad::SCANGRAD_CPU_NAMESPACE
