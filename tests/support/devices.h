#pragma once
#include <scangrad/core/device.h>

#include <vector>

/// Every device that this build and machine have: what is true on one must be on all. Under
/// compute-sanitizer a CUDA device alone, where there is one.
std::vector<scangrad::Device> devices();
/// Whether there is a CUDA device; where there is none, a test says so and checks nothing.
bool has_cuda();

/// Whether kernels are watched by compute-sanitizer, which makes them a hundred times slower: then
/// tests leave out what no kernel has a part in, and take the least work that still starts every
/// kernel in every way. The environment says so, by SCANGRAD_COMPUTE_SANITIZER=1.
bool compute_sanitizer();
/// What a test goes through: `all`, or under compute-sanitizer `few`.
template <class T>
std::vector<T> reduced(std::vector<T> all, std::vector<T> few) {
  return compute_sanitizer() ? few : all;
}
