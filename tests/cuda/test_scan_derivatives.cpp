// Second derivatives of scans on the device: the backward that create_graph composes, and the
// backward of that, are the CPU's in float64, which the table in tests/ops holds against finite
// differences.
#include <scangrad/autograd/engine.h>
#include <scangrad/ops/elementwise.h>
#include <scangrad/tests/ops/scan_support.h>
#include <scangrad/tests/support/catch.h>
#include <scangrad/tests/support/devices.h>

using namespace scangrad;
using namespace scan_test;

namespace {

/// Operands, and what of the scan's options `setting` asks for, a bit each.
struct Case {
  Tensors in;
  Tensor initial, resets;
  int setting;

  bool starts() const { return (setting & 4) != 0; }
  ScanOptions options(Device device) const {
    ScanOptions all{.dim = 1, .reverse = (setting & 1) != 0, .exclusive = (setting & 2) != 0};
    if (setting & 8) all.resets = to(resets, device);
    return all;
  }
};

/// The gradients of the operands and of the initial state, and the gradients of these: by operands,
/// by the initial state, and by the gradients of states and last. On the CPU.
Tensors derivatives(const Scan& scan, const Case& c, Device device) {
  const auto leaf = [&](const Tensor& x) { return to(x, device).detach().requires_grad_(); };
  Tensors by;
  for (const Tensor& x : c.in) by.push_back(leaf(x));
  ScanOptions options = c.options(device);
  if (c.starts()) by.push_back(*(options.initial = leaf(c.initial)));
  const ScanResult r = scan(by, options);
  const Tensors outer{leaf(random(r.states.shape(), 51)), leaf(random(r.last.shape(), 52))};
  Tensors all = grad({r.states, r.last}, by, {.grad_outputs = outer, .create_graph = true});
  by.insert(by.end(), outer.begin(), outer.end());
  Tensors weights;
  for (const Tensor& x : all) weights.push_back(to(random(x.shape(), 53), device));
  for (const Tensor& x : grad(all, by, {.grad_outputs = weights})) all.push_back(x);
  for (Tensor& x : all) x = to(x.detach(), Device{});
  return all;
}

void check(const char* name, const Scan& scan, const Case& c) {
  const Tensors expected = derivatives(scan, c, Device{});
  const Tensors got = derivatives(scan, c, Device::cuda());
  for (std::size_t i = 0; i < expected.size(); ++i) {
    INFO(name << " " << to_string(c.in[0].shape()) << " setting " << c.setting << " result " << i);
    CHECK(distance(got[i], expected[i]) < 1e-11);
  }
}

/// Mantissas alone.
ScanResult scaled_scan(const Tensors& in, const ScanOptions& options) {
  const ScaledScanResult r = matmul_scan_scaled(in[0], options);
  return {r.states, r.last};
}

}  // namespace

TEST_CASE("cuda: second derivatives of linear_scan, with every option, are the CPU's") {
  if (!has_cuda()) return;
  for (const std::int64_t steps : reduced<std::int64_t>({1, 5, 37, 130, 9001}, {5, 130})) {
    for (const std::int64_t inner : {1, 3}) {
      for (int setting = 0; setting < 16; setting += compute_sanitizer() ? 5 : 1) {
        const Shape shape{2, steps, inner};
        check("linear_scan", of_two<linear_scan>,
              {{random(shape, 1) * 0.2 + 0.5, random(shape, 2)},
               random({2, inner}, 3),
               gt(random(shape, 4), 1.7),  // one in 22
               setting});
      }
    }
  }
}

TEST_CASE("cuda: second derivatives of scans of matrices, of every order, are the CPU's") {
  if (!has_cuda()) return;
  int setting = 0;
  const int settings = compute_sanitizer() ? 2 : 4;
  for (const std::int64_t n : reduced<std::int64_t>({3, 8, 16, 17}, {3, 16})) {
    for (const std::int64_t steps : reduced<std::int64_t>({1, 5, 37, 130}, {5, 37})) {
      for (int i = 0; i < settings; ++i, setting = (setting + 5) % 16) {
        const std::int64_t rows = i % 2 == 0 ? n : 2;
        const Tensor m = near_orthogonal({2, steps, n, n}, 1), b = random({2, steps, rows, n}, 2);
        const Tensor resets = gt(random({2, steps}, 4), 1.7);
        const Tensor initial = random({2, n, n}, 3);
        check("matmul_scan", of_one<matmul_scan>, {{m}, initial, resets, setting});
        check("matmul_scan_scaled", scaled_scan, {{m}, initial, resets, setting});
        check("affine_scan", of_two<affine_scan>,
              {{m * 0.9, b}, random({2, rows, n}, 3), resets, setting});
      }
    }
  }
}
