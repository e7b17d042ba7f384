// Operations on rows, which CUDA keeps in registers of a few lanes, of a block, or not at all, by
// their length and alignment: the CPU's answers and gradients for all of these.
#include <scangrad/autograd/engine.h>
#include <scangrad/ops/creation.h>
#include <scangrad/ops/elementwise.h>
#include <scangrad/ops/loss.h>
#include <scangrad/ops/norm.h>
#include <scangrad/ops/random.h>
#include <scangrad/ops/shape.h>
#include <scangrad/ops/softmax.h>
#include <scangrad/tests/support/catch.h>
#include <scangrad/tests/support/devices.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <vector>

namespace sg = scangrad;
using sg::Device;
using sg::Tensor;
using sg::Tensors;

namespace {

/// The largest difference between the elements of both devices' results, beside their size.
double worst(const Tensor& cuda, const Tensor& cpu) {
  const auto a = cuda.to_vector<double>(), b = cpu.to_vector<double>();
  double most = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double error = std::abs(a[i] - b[i]) / (1 + std::abs(b[i]));
    most = error <= most ? most : error;  // NaN counts
  }
  return most;
}

/// f(inputs) and the gradients of all inputs are the CPU's.
void check_same(const Tensors& inputs, double tolerance,
                const std::function<Tensor(const Tensors&)>& f) {
  sg::Generator generator(9);
  const auto on = [&](Device device, Tensor g) {
    Tensors leaves;
    for (const Tensor& x : inputs) leaves.push_back(sg::to(x.detach(), device).requires_grad_());
    const Tensor y = f(leaves);
    if (!g.defined()) g = sg::randn(y.shape(), {y.dtype()}, &generator);
    Tensors results = sg::grad({y}, leaves, {.grad_outputs = {sg::to(g, device)}});
    results.push_back(y);
    results.push_back(g);
    return results;
  };
  const Tensors cpu = on(Device::cpu(), {});
  const Tensors cuda = on(Device::cuda(), cpu.back());
  for (std::size_t i = 0; i < cpu.size(); ++i) {
    INFO("result " << i);
    CHECK(worst(cuda[i], cpu[i]) <= tolerance);
  }
}

}  // namespace

TEST_CASE("cuda: softmaxes, norms and cross_entropy of rows of any length are the CPU's") {
  if (!has_cuda()) return;
  sg::Generator generator(1);
  for (const std::int64_t n :
       reduced<std::int64_t>({1,    3,    8,    31,   33,   64,   65,   100,  256,   257,  768,
                              1000, 1024, 1025, 1032, 2049, 4097, 8192, 8200, 20000, 50257},
                             {3, 64, 257, 1025, 1032, 4097, 20000})) {
    for (const sg::DType dtype : {sg::f32, sg::f64, sg::bf16}) {
      INFO("rows of " << n << " " << sg::name(dtype));
      const double tolerance = dtype == sg::bf16 ? 0.03 : dtype == sg::f32 ? 1e-4 : 1e-10;
      const std::int64_t rows = n < 2000 ? 37 : 3;
      const Tensor x = sg::randn({rows, n}, {dtype}, &generator);
      const Tensor weight = sg::randn({n}, {dtype}, &generator);
      const Tensor bias = sg::randn({n}, {dtype}, &generator);
      check_same({x}, tolerance, [](const Tensors& in) { return sg::softmax(in[0], -1); });
      check_same({x}, tolerance, [](const Tensors& in) { return sg::log_softmax(in[0], -1); });
      check_same({x}, tolerance,
                 [](const Tensors& in) { return sg::masked_softmax(in[0], {}, true); });
      check_same({x, bias}, tolerance,
                 [](const Tensors& in) { return sg::masked_softmax(in[0], in[1], false); });
      if (n > 1) {  // one value has no variance, and 1/√eps magnifies its rounding
        const double of_norms = 3 * tolerance;
        check_same({x, weight, bias}, of_norms,
                   [](const Tensors& in) { return sg::layer_norm(in[0], in[1], in[2]); });
        check_same({x, weight}, of_norms,
                   [](const Tensors& in) { return sg::rms_norm(in[0], in[1]); });
        check_same({x}, of_norms, [](const Tensors& in) { return sg::layer_norm(in[0]); });
      }
      const Tensor targets = sg::randint(0, n, {rows}, {sg::i64}, &generator);
      for (const double smoothing : {0.0, 0.1}) {
        check_same({x}, tolerance, [&](const Tensors& in) {
          return sg::cross_entropy(in[0], sg::to(targets, in[0].device()),
                                   {.label_smoothing = smoothing});
        });
      }
    }
  }
}

TEST_CASE("cuda: rows that begin off the bounds of packs are the CPU's") {
  if (!has_cuda()) return;
  sg::Generator generator(2);
  const Tensor memory = sg::randn({4 * 256 + 1}, {}, &generator);
  check_same({memory}, 1e-5, [](const Tensors& in) {
    return sg::softmax(sg::reshape(sg::slice(in[0], 0, 1, 4 * 256 + 1), {4, 256}), -1);
  });
}
