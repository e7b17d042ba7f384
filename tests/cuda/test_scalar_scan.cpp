// Scans of scalars on the device: by tiles of runs, along rows and along columns. Whatever the
// length, the options and the alignment, states and gradients are the CPU's, of float64.
#include <scangrad/autograd/engine.h>
#include <scangrad/core/graph_capture.h>
#include <scangrad/ops/creation.h>
#include <scangrad/ops/elementwise.h>
#include <scangrad/tests/ops/scan_support.h>
#include <scangrad/tests/support/catch.h>
#include <scangrad/tests/support/devices.h>

#include <array>
#include <cmath>
#include <limits>
#include <utility>
#include <vector>

using namespace scangrad;
using namespace scan_test;

namespace {

/// A scan, and operands of which no long product leaves the range of numbers.
struct Op {
  const char* name;
  Scan scan;
  Tensors (*operands)(const Shape& shape);
  bool composed;  // whether its gradient takes several operations, and is rounded after each
};
Tensors normal(const Shape& shape) { return {random(shape, 1)}; }

const Op ops[] = {{"cumsum", of_one<cumsum>, normal, false},
                  {"cumprod", of_one<cumprod>,
                   [](const Shape& shape) { return Tensors{random(shape, 1) * 0.05 + 1.0}; }, true},
                  {"cummax", of_one<cummax>, normal, true},
                  {"logcumsumexp", of_one<logcumsumexp>, normal, true},
                  {"linear_scan", of_two<linear_scan>,
                   [](const Shape& shape) {
                     return Tensors{random(shape, 1) * 0.2 + 0.5, random(shape, 2)};
                   },
                   false}};

/// Sequences (outer, steps, inner).
struct Case {
  std::int64_t outer, steps, inner;
};

void check(const Op& op, const Case& c, int setting) {
  ScanOptions options{.dim = 1, .reverse = (setting & 1) != 0, .exclusive = (setting & 2) != 0};
  const Tensors in = op.operands({c.outer, c.steps, c.inner});
  const Tensor initial = setting & 4 ? random({c.outer, c.inner}, 3) * 0.1 + 1.0 : Tensor{};
  if (setting & 8) {
    options.resets = setting & 16 ? gt(random({c.outer, c.steps, c.inner}, 4), 1.7)  // 1 in 22
                                  : gt(random({c.outer, c.steps, 1}, 4), 1.7);
  }
  for (const auto& [dtype, tolerance] : {std::pair{f64, 1e-11}, {f32, 3e-5}, {bf16, 3e-2}}) {
    const Tensors expected = scan_results(op.scan, in, initial, options, Device{}, f64, dtype);
    const Tensors got = scan_results(op.scan, in, initial, options, Device::cuda(), dtype, dtype);
    INFO(op.name << " (" << c.outer << ", " << c.steps << ", " << c.inner << ") " << name(dtype)
                 << " setting " << setting);
    for (std::size_t i = 0; i < got.size(); ++i) {
      const bool loose = op.composed && i + 2 < got.size();
      if (loose && dtype == bf16) continue;
      INFO("result " << i);
      CHECK(distance(got[i], expected[i]) < (loose ? 10 * tolerance : tolerance));
    }
  }
}

}  // namespace

TEST_CASE(
    "cuda: scalar scans about the bounds of runs and tiles, with every option, are the CPU's") {
  if (!has_cuda()) return;
  int setting = 0;
  for (const std::int64_t steps : reduced<std::int64_t>(
           {1, 2, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129, 255, 256, 257, 511, 513, 1025},
           {1, 33, 257, 1025})) {
    for (const std::int64_t inner : reduced<std::int64_t>({1, 2, 7, 32, 33, 100}, {1, 7, 33})) {
      for (const Op& op : ops) {
        setting = (setting + 13) % 32;
        check(op, {1 + (steps + inner) % 3, steps, inner}, setting);
      }
    }
  }
}

TEST_CASE("cuda: long scalar scans, shared by many blocks, are the CPU's") {
  if (!has_cuda()) return;
  int setting = 3;
  for (const auto& [outer, steps, inner] :
       reduced<std::array<std::int64_t, 3>>({{1, 4095, 1},
                                             {1, 8193, 1},
                                             {3, 16385, 1},
                                             {1, 70000, 1},
                                             {5, 9999, 1},
                                             {1, 5000, 2},
                                             {1, 3000, 34},
                                             {2, 2049, 64},
                                             {1, 3, 5000}},
                                            {{1, 8193, 1}, {1, 3000, 34}, {1, 3, 5000}})) {
    for (const Op& op : ops) {
      setting = (setting + 13) % 32;
      check(op, {outer, steps, inner}, setting);
    }
  }
}

TEST_CASE("cuda: scalar scans of views off the bounds of packs are the CPU's") {
  if (!has_cuda()) return;
  int setting = 0;
  for (const std::int64_t offset : {1, 2, 3}) {
    for (const auto& [steps, inner] :
         std::vector<std::pair<std::int64_t, std::int64_t>>{{8300, 1}, {40, 100}, {300, 64}}) {
      const Tensor memory = to(cast(random({offset + steps * inner}, 5), f32), Device::cuda());
      const Tensor x = reshape(slice(memory, 0, offset, offset + steps * inner), {steps, inner});
      const ScanOptions options{.dim = 0, .reverse = setting++ % 2 != 0};
      const Tensor expected = cumsum(cast(to(x, Device{}), f64), options).states;
      CHECK(distance(cast(to(cumsum(x, options).states, Device{}), f64), expected) < 3e-5);
    }
  }
}

TEST_CASE("cuda: scalar scans give the same bits each time") {
  if (!has_cuda()) return;
  const int times = compute_sanitizer() ? 1 : 10;
  for (const Case& c : reduced<Case>({{1, 3000000, 1}, {1, 30000, 64}, {3000, 1000, 1}},
                                     {{1, 200000, 1}, {1, 3000, 64}, {300, 300, 1}})) {
    const Tensor a = to(cast(random({c.outer, c.steps, c.inner}, 6) * 0.5, f32), Device::cuda());
    const Tensor once = linear_scan(a, a, {.dim = 1}).states;
    for (int i = 0; i < times; ++i) CHECK(same_bits(linear_scan(a, a, {.dim = 1}).states, once));
  }
}

TEST_CASE("cuda: NaN stays in its sequence and its segment") {
  if (!has_cuda()) return;
  const auto check_nan = [](const Shape& shape, std::int64_t outer, std::int64_t step,
                            std::int64_t inner, std::int64_t reset) {
    std::vector<double> values(static_cast<std::size_t>(shape.numel()), 0.5);
    std::vector<double> resets(static_cast<std::size_t>(shape[1]), 0.0);
    const auto at = [&](std::int64_t o, std::int64_t t, std::int64_t i) {
      return static_cast<std::size_t>((o * shape[1] + t) * shape[2] + i);
    };
    values[at(outer, step, inner)] = std::numeric_limits<double>::quiet_NaN();
    resets[static_cast<std::size_t>(reset)] = 1;
    const Tensor x = to(cast(from(values, shape), f32), Device::cuda());
    const Tensor cuts = to(gt(from(resets, {shape[1]}), 0.5), Device::cuda());
    for (const Op& op : ops) {
      const ScanOptions options{.dim = 1, .resets = cuts};
      const auto states = op.scan({x, x}, options).states.to_vector<double>();
      std::int64_t wrong = 0;
      for (std::int64_t o = 0; o < shape[0]; ++o) {
        for (std::int64_t t = 0; t < shape[1]; ++t) {
          for (std::int64_t i = 0; i < shape[2]; ++i) {
            const bool expected = o == outer && i == inner && t >= step && t < reset;
            wrong += std::isnan(states[at(o, t, i)]) != expected;
          }
        }
      }
      INFO(op.name << " (" << shape[0] << ", " << shape[1] << ", " << shape[2] << ")");
      CHECK(wrong == 0);
    }
  };
  check_nan({7, 1000, 1}, 3, 400, 0, 700);
  check_nan({1, 100000, 1}, 0, 30000, 0, 70001);
  check_nan({2, 3000, 40}, 1, 63, 17, 2048);
  check_nan({2, 64, 300}, 0, 5, 299, 64 - 1);
}

TEST_CASE("cuda: a captured scan that many blocks share can be replayed") {
  if (!has_cuda()) return;
  const TensorOptions on_cuda{f32, Device::cuda()};
  Tensor x = full({200000}, 1.0, on_cuda), total = zeros({200000}, on_cuda);
  GraphCapture work(Device::cuda(), [&] { add_(total, cumsum(x, 0)); });
  for (int i = 0; i < 5; ++i) work.run();
  CHECK(slice(total, 0, 199999, 200000).to_vector<double>()[0] == 5 * 200000.0);
  copy_(x, full({200000}, 2.0, on_cuda));
  work.run();
  CHECK(slice(total, 0, 99999, 100000).to_vector<double>()[0] == 7 * 100000.0);
}
