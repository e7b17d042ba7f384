// A walker turns by an angle each step: where does it look, and how should it have turned to look
// along x at the end? The scan multiplies the turns; its adjoint gives the gradient of each.
#include <rotation.h>
#include <scangrad/scangrad.h>

#include <cmath>
#include <iostream>

namespace sg = scangrad;

int main() {
  const std::int64_t steps = 100;
  sg::Generator generator(1);
  sg::Tensor angles = sg::randn({steps}, {sg::f64}, &generator).requires_grad_(true);
  const auto heading = [&] {
    const sg::Tensor turns = sg::stack({sg::cos(angles), sg::sin(angles)}, 1);  // (T, 2)
    return sg::monoid_scan<Rotation>(turns).last;                               // (2)
  };

  // The angles add up, and the real part of the last heading is the cosine of their sum.
  const double total = sg::sum(angles).item<double>();
  const sg::Tensor facing = sg::select(heading(), 0, 0);
  const double d_angle = sg::select(sg::grad(facing, angles), 0, 0).item<double>();
  std::cout << "cos: " << facing.item<double>() << ", by the sum " << std::cos(total) << "\n";
  std::cout << "gradient of each angle: " << d_angle << ", by the sum " << -std::sin(total) << "\n";

  for (int i = 0; i < 200; ++i) {
    const sg::Tensor loss = 1.0 - sg::select(heading(), 0, 0);
    angles = (angles - sg::grad(loss, angles) * 0.005).detach().requires_grad_(true);
  }
  const double after = sg::select(heading(), 0, 0).item<double>();
  std::cout << "after training: " << after << "\n";

  const bool right = std::abs(facing.item<double>() - std::cos(total)) < 1e-12 &&
                     std::abs(d_angle + std::sin(total)) < 1e-12 && after > 0.9999;
  return right ? 0 : 1;
}
