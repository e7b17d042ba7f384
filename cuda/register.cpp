#include <scangrad/cuda/families.h>

namespace scangrad::cuda {

void fill_kernels(Kernels& table) {
  fill_elementwise(table);
  fill_reduce(table);
  fill_creation(table);
  fill_random(table);
  fill_index(table);
  fill_matmul(table);
  fill_softmax(table);
  fill_norm(table);
  fill_optimizer(table);
  fill_loss(table);
  fill_linalg(table);
  fill_scan(table);
  fill_form_scan(table);
  fill_scalar_scan(table);
  fill_linear_scan(table);
  fill_sort(table);
}

}  // namespace scangrad::cuda
