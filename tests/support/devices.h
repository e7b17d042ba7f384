#pragma once
#include <scangrad/core/device.h>

#include <vector>

/// Every device that this build and machine have: what is true on one must be on all.
std::vector<scangrad::Device> devices();
/// Whether there is a CUDA device; where there is none, a test says so and checks nothing.
bool has_cuda();
