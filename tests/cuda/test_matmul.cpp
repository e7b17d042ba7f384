// Matrix products as CUDA does them: long sums in parts, gradients added in place, mixed precision.
// That they are right at all is checked by the table in tests/ops.
#include <scangrad/autograd/engine.h>
#include <scangrad/core/random.h>
#include <scangrad/ops/elementwise.h>
#include <scangrad/ops/matmul.h>
#include <scangrad/ops/random.h>
#include <scangrad/ops/reduce.h>
#include <scangrad/ops/shape.h>
#include <scangrad/tests/support/catch.h>
#include <scangrad/tests/support/devices.h>

#include <cmath>

using namespace scangrad;

namespace {

/// The same normal numbers on every device.
Tensor random(const Shape& shape, DType dtype, Device device, std::uint64_t seed) {
  Generator generator(seed);
  return cast(to(randn(shape, {.dtype = f64}, &generator), device), dtype);
}

/// ‖x − y‖ / ‖y‖.
double distance(const Tensor& x, const Tensor& y) {
  const Tensor a = cast(to(x, Device::cpu()), f64), b = cast(to(y, Device::cpu()), f64);
  return std::sqrt(sum(square(a - b)).item<double>() / sum(square(b)).item<double>());
}

}  // namespace

TEST_CASE("cuda: a product with a long sum is right, and the same bits each time") {
  if (!has_cuda()) return;
  // Few tiles, a sum over tokens: one head, heads, a sum that cannot be halved often, an odd one.
  for (const Shape& size :
       reduced<Shape>({{1, 64, 16384, 256}, {4, 8, 32768, 8}, {1, 65, 2056, 256}, {1, 33, 5001, 7}},
                      {{4, 8, 4096, 8}, {1, 33, 5001, 7}})) {
    for (const auto& [dtype, bound] :
         std::vector<std::pair<DType, double>>{{f64, 1e-13}, {f32, 1e-5}, {bf16, 5e-3}}) {
      const Shape left = {size[0], size[2], size[1]}, right = {size[0], size[2], size[3]};
      const auto product = [&, dtype = dtype](Device device) {
        const Tensor x = random(left, dtype, device, 1), g = random(right, dtype, device, 2);
        return matmul(transpose(x, -1, -2), g);
      };
      INFO(name(dtype) << " " << to_string(size));
      const Tensor once = product(Device::cuda());
      CHECK(once.to_vector<double>() == product(Device::cuda()).to_vector<double>());
      const Tensor exact = [&, dtype = dtype] {
        const Tensor x = cast(random(left, dtype, Device::cpu(), 1), f64);
        const Tensor g = cast(random(right, dtype, Device::cpu(), 2), f64);
        return matmul(transpose(x, -1, -2), g);
      }();
      CHECK(distance(once, exact) < bound);
    }
  }
}

TEST_CASE("cuda: linear adds the gradient of f32 weights in place, beside bf16 input too") {
  if (!has_cuda()) return;
  for (const std::int64_t rows : {48, 4096}) {  // one product, and one in parts
    for (const DType dtype : {f32, bf16}) {
      const auto gradient = [&](Device device) {
        Tensor weight = random({40, 24}, f32, device, 3).requires_grad_(true);
        weight.set_grad(ones({40, 24}, {f32, device}));
        const Tensor before = weight.grad();
        backward(linear(random({rows, 24}, dtype, device, 4), weight),
                 random({rows, 40}, dtype, device, 5));
        CHECK(weight.grad().impl() == before.impl());
        return weight.grad();
      };
      INFO(rows << " rows, " << name(dtype));
      CHECK(distance(gradient(Device::cuda()), gradient(Device::cpu())) < 1e-5);
    }
  }
}

TEST_CASE("cuda: feed_forward's fused GELU is the CPU's, in every precision") {
  if (!has_cuda()) return;
  for (const auto& [dtype, bound] :
       std::vector<std::pair<DType, double>>{{f64, 1e-13}, {f32, 1e-5}, {bf16, 1e-2}}) {
    for (const Gelu form : {Gelu::erf, Gelu::tanh}) {
      const auto run = [&, dtype = dtype](Device device) {
        Tensors in = {random({256, 64}, dtype, device, 1), random({128, 64}, dtype, device, 2),
                      random({128}, dtype, device, 3), random({64, 128}, dtype, device, 4),
                      random({64}, dtype, device, 5)};
        for (Tensor& x : in) x.requires_grad_(true);
        const Tensor y = feed_forward(in[0], in[1] * 0.125, in[2], in[3], in[4], form);
        Tensors results = grad({y}, in, {.grad_outputs = {random({256, 64}, dtype, device, 6)}});
        results.push_back(y.detach());
        return results;
      };
      const Tensors got = run(Device::cuda()), expected = run(Device::cpu());
      for (std::size_t i = 0; i < got.size(); ++i) {
        INFO(name(dtype) << (form == Gelu::erf ? " erf " : " tanh ") << i);
        CHECK(distance(got[i], expected[i]) < bound);
      }
    }
  }
}
