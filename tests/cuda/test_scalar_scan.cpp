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

enum class Op { sum, product, largest, log_sum_exp, linear };
constexpr Op ops[] = {Op::sum, Op::product, Op::largest, Op::log_sum_exp, Op::linear};

ScanResult run(Op op, const Tensors& in, const ScanOptions& options) {
  switch (op) {
    case Op::sum:
      return cumsum(in[0], options);
    case Op::product:
      return cumprod(in[0], options);
    case Op::largest:
      return cummax(in[0], options);
    case Op::log_sum_exp:
      return logcumsumexp(in[0], options);
    default:
      return linear_scan(in[0], in[1], options);
  }
}

/// Sequences (outer, steps, inner).
struct Case {
  std::int64_t outer, steps, inner;
};

/// Operands of which no long product leaves the range of numbers.
Tensors operands_of(Op op, const Case& c) {
  const Shape shape = {c.outer, c.steps, c.inner};
  const Tensor x = random(shape, 1);
  if (op == Op::product) return {x * 0.05 + 1.0};
  if (op == Op::linear) return {x * 0.2 + 0.5, random(shape, 2)};
  return {x};
}

/// States, last, and the gradients of the operands and the initial state: of a scan in `dtype` on
/// operands that are rounded to `values`.
Tensors results(Op op, const Tensors& in, const Tensor& initial, ScanOptions options, Device device,
                DType dtype, DType values) {
  Tensors leaves;
  const auto leaf = [&](const Tensor& x) {
    leaves.push_back(cast(to(cast(x, values), device), dtype).detach().requires_grad_());
    return leaves.back();
  };
  for (const Tensor& x : in) leaf(x);
  if (initial.defined()) options.initial = leaf(initial);
  if (options.resets) options.resets = to(*options.resets, device);
  const ScanResult r = run(op, leaves, options);
  const auto weight = [&](const Tensor& x, unsigned seed) {
    return cast(to(cast(random(x.shape(), seed), values), device), dtype);
  };
  Tensors all = grad({r.states, r.last}, leaves,
                     {.grad_outputs = {weight(r.states, 51), weight(r.last, 52)}});
  all.push_back(r.states);
  all.push_back(r.last);
  for (Tensor& x : all) x = cast(to(x.detach(), Device{}), f64);
  return all;
}

void check(Op op, const Case& c, int setting) {
  ScanOptions options{.dim = 1, .reverse = (setting & 1) != 0, .exclusive = (setting & 2) != 0};
  const Tensors in = operands_of(op, c);
  const Tensor initial = setting & 4 ? random({c.outer, c.inner}, 3) * 0.1 + 1.0 : Tensor{};
  if (setting & 8) {
    options.resets = setting & 16 ? gt(random({c.outer, c.steps, c.inner}, 4), 1.7)  // 1 in 22
                                  : gt(random({c.outer, c.steps, 1}, 4), 1.7);
  }
  for (const auto& [dtype, tolerance] : {std::pair{f64, 1e-11}, {f32, 3e-5}, {bf16, 3e-2}}) {
    const Tensors expected = results(op, in, initial, options, Device{}, f64, dtype);
    const Tensors got = results(op, in, initial, options, Device::cuda(), dtype, dtype);
    INFO("op " << static_cast<int>(op) << " (" << c.outer << ", " << c.steps << ", " << c.inner
               << ") " << name(dtype) << " setting " << setting);
    // Gradients that take several operations are rounded after each.
    const bool composed = op != Op::sum && op != Op::linear;
    for (std::size_t i = 0; i < got.size(); ++i) {
      const bool loose = composed && i + 2 < got.size();
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
  for (const std::int64_t steps :
       {1, 2, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129, 255, 256, 257, 511, 513, 1025}) {
    for (const std::int64_t inner : {1, 2, 7, 32, 33, 100}) {
      for (const Op op : ops) {
        setting = (setting + 13) % 32;
        check(op, {1 + (steps + inner) % 3, steps, inner}, setting);
      }
    }
  }
}

TEST_CASE("cuda: long scalar scans, shared by many blocks, are the CPU's") {
  if (!has_cuda()) return;
  int setting = 3;
  for (const auto& [outer, steps, inner] : std::vector<std::array<std::int64_t, 3>>{{1, 4095, 1},
                                                                                    {1, 8193, 1},
                                                                                    {3, 16385, 1},
                                                                                    {1, 70000, 1},
                                                                                    {5, 9999, 1},
                                                                                    {1, 5000, 2},
                                                                                    {1, 3000, 34},
                                                                                    {2, 2049, 64},
                                                                                    {1, 3, 5000}}) {
    for (const Op op : ops) {
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
  for (const Case& c : {Case{1, 3000000, 1}, {1, 30000, 64}, {3000, 1000, 1}}) {
    const Tensor a = to(cast(random({c.outer, c.steps, c.inner}, 6) * 0.5, f32), Device::cuda());
    const Tensor once = linear_scan(a, a, {.dim = 1}).states;
    for (int i = 0; i < 10; ++i) CHECK(same_bits(linear_scan(a, a, {.dim = 1}).states, once));
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
    for (const Op op : ops) {
      const ScanOptions options{.dim = 1, .resets = cuts};
      const auto states = run(op, {x, x}, options).states.to_vector<double>();
      std::int64_t wrong = 0;
      for (std::int64_t o = 0; o < shape[0]; ++o) {
        for (std::int64_t t = 0; t < shape[1]; ++t) {
          for (std::int64_t i = 0; i < shape[2]; ++i) {
            const bool expected = o == outer && i == inner && t >= step && t < reset;
            wrong += std::isnan(states[at(o, t, i)]) != expected;
          }
        }
      }
      INFO("op " << static_cast<int>(op) << " (" << shape[0] << ", " << shape[1] << ", " << shape[2]
                 << ")");
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
