#pragma once
#include <scangrad/ops/kernels.h>

// One function a file of kernels, as in ops/cpu.
namespace scangrad::cuda {

void fill_elementwise(Kernels& table);
void fill_reduce(Kernels& table);
void fill_creation(Kernels& table);
void fill_random(Kernels& table);
void fill_index(Kernels& table);
void fill_matmul(Kernels& table);
void fill_softmax(Kernels& table);
void fill_norm(Kernels& table);
void fill_optimizer(Kernels& table);
void fill_loss(Kernels& table);
void fill_linalg(Kernels& table);
void fill_scan(Kernels& table);
void fill_form_scan(Kernels& table);
void fill_scalar_scan(Kernels& table);
void fill_linear_scan(Kernels& table);
void fill_sort(Kernels& table);

}  // namespace scangrad::cuda
