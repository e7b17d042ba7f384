#pragma once
// The files of this folder are compiled once per instruction set (SCANGRAD_CPU_LEVEL is v2, v3, v4
// or generic), each time into a namespace of its own: cpu_v3 and so on. ops/kernels.cpp chooses at
// run time. Everything but fill_kernels is made local to its level (cmake/CpuKernels.cmake).
#include <scangrad/core/dtype.h>
#include <scangrad/core/strided.h>
#include <scangrad/ops/kernels.h>

#define SCANGRAD_CPU_JOIN(level) cpu_##level
#define SCANGRAD_CPU_NAME(level) SCANGRAD_CPU_JOIN(level)
#define SCANGRAD_CPU_NAMESPACE SCANGRAD_CPU_NAME(SCANGRAD_CPU_LEVEL)

namespace scangrad::SCANGRAD_CPU_NAMESPACE {

/// Fills the whole table, family by family.
void fill_kernels(Kernels& table);

void fill_elementwise(Kernels& table);
void fill_reduce(Kernels& table);
void fill_creation(Kernels& table);
void fill_random(Kernels& table);
void fill_index(Kernels& table);
void fill_sort(Kernels& table);
void fill_matmul(Kernels& table);
void fill_softmax(Kernels& table);
void fill_norm(Kernels& table);
void fill_optimizer(Kernels& table);
void fill_loss(Kernels& table);
void fill_linalg(Kernels& table);
void fill_scan(Kernels& table);
void fill_scan_backward(Kernels& table);

}  // namespace scangrad::SCANGRAD_CPU_NAMESPACE
