// What another project does with scangrad: a scan, its gradient, and an error that it can catch.
#include <scangrad/scangrad.h>

#include <cstdio>
#include <vector>

namespace sg = scangrad;

int main() {
  // Powers of the shear S = [1 1; 0 1]: H_t = S^t, so that the last state is [1 3; 0 1].
  const sg::Tensor m =
      sg::from<float>({1, 1, 0, 1, 1, 1, 0, 1, 1, 1, 0, 1}, {3, 2, 2}).requires_grad_(true);
  const auto [states, last] = sg::matmul_scan(m, {.dim = 0});
  sg::backward(sg::sum(last));

  // dM_t = (S^{t-1})ᵀ 1 (S^{3-t})ᵀ, by hand.
  const std::vector<float> expected = {3, 1, 3, 1, 2, 1, 4, 2, 1, 1, 3, 3};
  if (last.to_vector<float>() != std::vector<float>{1, 3, 0, 1} ||
      m.grad().to_vector<float>() != expected) {
    std::puts("matmul_scan is wrong");
    return 1;
  }

  try {
    sg::matmul(m, sg::ones({3, 1}));
  } catch (const sg::ShapeError& error) {
    std::printf("caught: %s\n", error.what());
    return 0;
  }
  return 1;
}
