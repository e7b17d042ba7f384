// What another project does with scangrad: a product, its gradient, and an error it can catch.
#include <scangrad/scangrad.h>

#include <cstdio>
#include <vector>

namespace sg = scangrad;

int main() {
  const sg::Tensor a = sg::from<float>({1, 2, 3, 4}, {2, 2}).requires_grad_(true);
  const sg::Tensor x = sg::from<float>({5, 6}, {2, 1});
  const sg::Tensor loss = sg::sum(sg::square(sg::matmul(a, x)));  // 17² + 39²
  sg::backward(loss);
  const std::vector<float> grad = a.grad().to_vector<float>();  // 2 (a x) xᵀ
  std::printf("loss %g, gradient %g %g %g %g\n", loss.item<float>(), grad[0], grad[1], grad[2],
              grad[3]);
  if (loss.item<float>() != 1810 || grad != std::vector<float>{170, 204, 390, 468}) return 1;

  try {
    sg::matmul(a, sg::ones({3, 1}));
  } catch (const sg::ShapeError& error) {
    std::printf("caught: %s\n", error.what());
    return 0;
  }
  return 1;
}
