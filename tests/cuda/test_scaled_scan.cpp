// Scaled scans on the device: states as mantissa and exponent, of products that no float holds.
#include <scangrad/autograd/engine.h>
#include <scangrad/ops/creation.h>
#include <scangrad/ops/elementwise.h>
#include <scangrad/ops/reduce.h>
#include <scangrad/ops/shape.h>
#include <scangrad/tests/ops/scan_support.h>
#include <scangrad/tests/support/catch.h>
#include <scangrad/tests/support/devices.h>

#include <array>
#include <vector>

using namespace scangrad;
using namespace scan_test;

namespace {

/// How far 2^e S is from the expected one, beside that one's size.
double scaled_distance(const Tensor& mantissa, const Tensor& exponent, const Tensor& mantissa_e,
                       const Tensor& exponent_e) {
  const Tensor by = cast(to(exponent, Device{}) - exponent_e, f64);
  const Tensor factor = unsqueeze(unsqueeze(pow(full({}, 2, {f64}), by), -1), -1);
  return distance(cast(to(mantissa, Device{}), f64) * factor, mantissa_e);
}

}  // namespace

TEST_CASE("cuda: 65,536 products as mantissa and exponent are the CPU's in float64") {
  if (!has_cuda()) return;
  for (const auto& [sequences, steps, n] : reduced<std::array<std::int64_t, 3>>(
           {{1, 65536, 8},
            {2, 5000, 16},
            {1, 3000, 32},
            {3, 700, 5},
            {40, 300, 16},
            {140, 150, 16},
            {8, 3000, 16},
            {12, 900, 8}},
           {{1, 2000, 8}, {2, 400, 16}, {1, 300, 32}, {3, 500, 5}, {40, 60, 16}, {140, 130, 16}})) {
    for (const double scale : {1.3, 0.6}) {
      for (int setting = 0; setting < 8; setting += 3) {
        const Tensor m = (eye(n, {f64}) + random({sequences, steps, n, n}, 1, 0.1)) * scale;
        ScanOptions options{
            .dim = 1, .reverse = (setting & 1) != 0, .exclusive = (setting & 2) != 0};
        if (setting & 4) options.resets = gt(random({steps}, 4), 2.5);
        const ScaledScanResult expected = matmul_scan_scaled(m, options);
        if (options.resets) options.resets = to(*options.resets, Device::cuda());
        for (const auto& [dtype, tolerance] : {std::pair{f64, 1e-9}, {f32, 5e-3}}) {
          const ScaledScanResult got =
              matmul_scan_scaled(cast(to(m, Device::cuda()), dtype), options);
          INFO("S " << sequences << " T " << steps << " n " << n << " " << name(dtype) << " scale "
                    << scale << " setting " << setting);
          CHECK(scaled_distance(got.states, got.exponents, expected.states, expected.exponents) <
                tolerance);
          CHECK(scaled_distance(got.last, got.last_exponent, expected.last,
                                expected.last_exponent) < tolerance);
        }
        for (const DType dtype : {f64, f32, bf16}) {  // as each rounds
          const Tensor rounded = cast(to(m, Device::cuda()), dtype);
          const Tensor states = cast(matmul_scan_scaled(rounded, options).states, f64);
          const Tensor largest = amax(abs(states), {-2, -1});
          INFO("S " << sequences << " n " << n << " " << name(dtype) << " setting " << setting);
          CHECK(min(largest).item<double>() >= 1);
          CHECK(max(largest).item<double>() < 2);
        }
      }
    }
  }
}

// What a segment makes of a state is 0 then, or has rows that are 0, whose exponents say nothing.
TEST_CASE("cuda: a scaled scan is the CPU's after matrices of zeros, or with rows of them, too") {
  if (!has_cuda()) return;
  for (const std::int64_t n : {8, 16, 32}) {
    for (const std::int64_t zero_rows : {n / 2, n}) {
      Tensor m = (eye(n, {f64}) + random({1, 4000, n, n}, 1, 0.1)) * 1.3;
      Tensor place = m.as_strided({zero_rows, n}, {n, 1}, 700 * n * n);
      copy_(place, zeros({zero_rows, n}, {f64}));
      const ScaledScanResult expected = matmul_scan_scaled(m, {.dim = 1});
      const Tensor x = cast(to(m, Device::cuda()), f32).detach().requires_grad_();
      const ScaledScanResult got = matmul_scan_scaled(x, {.dim = 1});
      INFO("n " << n << " rows of zeros " << zero_rows);
      CHECK(scaled_distance(got.states.detach(), got.exponents, expected.states,
                            expected.exponents) < 1e-3);
      const Tensor weights = ones_like(got.states.detach());
      if (zero_rows == n) {
        // Of 0 the exponent stands still: a cotangent would grow as the matrices do, without end.
        Tensor rest = slice(weights, 1, 720);
        copy_(rest, zeros(rest.shape(), rest.options()));
      }
      const Tensor gradient = grad(Tensors{got.states}, Tensors{x}, {.grad_outputs = {weights}})[0];
      CHECK(all(isfinite(gradient)).item<bool>());
      CHECK(all(isfinite(got.states.detach())).item<bool>());
      if (zero_rows == n) {
        CHECK(max(abs(slice(got.states.detach(), 1, 700))).item<double>() == 0);
      }
    }
  }
}

// Its exponent has to be taken out at each chunk, although those of the matrices are all 0.
TEST_CASE("cuda: a scaled state that lies where the matrices damp it is the CPU's") {
  if (!has_cuda()) return;
  for (const std::int64_t n : {8, 16}) {
    Tensor diagonal = eye(n, {f64}) * 0x1p-30, initial = ones({200, n, n}, {f64});
    Tensor first = diagonal.as_strided({1}, {1}, 0), column = slice(initial, 2, 0, 1);
    copy_(first, ones({1}, {f64}));
    copy_(column, zeros(column.shape(), column.options()));
    const Tensor m = diagonal + zeros({200, 300, n, n}, {f64});
    const ScaledScanResult expected = matmul_scan_scaled(m, {.dim = 1, .initial = initial});
    const ScaledScanResult got =
        matmul_scan_scaled(cast(to(m, Device::cuda()), f32),
                           {.dim = 1, .initial = cast(to(initial, Device::cuda()), f32)});
    INFO("n " << n);
    CHECK(scaled_distance(got.states, got.exponents, expected.states, expected.exponents) < 1e-6);
    CHECK(min(amax(abs(got.states), {-2, -1})).item<float>() >= 1);
  }
}

// So that a look at how large the state is comes in time.
TEST_CASE("cuda: a scaled scan of matrices as large and as small as float32 allows is the CPU's") {
  if (!has_cuda()) return;
  for (const std::int64_t n : {4, 8, 16, 32}) {
    for (const std::int64_t in_turn : {1, 3, 11}) {  // steps that grow, and as many that shrink
      const std::int64_t steps = compute_sanitizer() ? 100 : 600;
      std::vector<double> factors;
      for (std::int64_t t = 0; t < steps; ++t) {
        factors.push_back(t / in_turn % 2 == 0 ? 0x1p120 : 0x1p-120);
      }
      const Tensor m = cast(
          (eye(n, {f64}) + random({5, steps, n, n}, 1, 0.1)) * from(factors, {steps, 1, 1}), f32);
      const ScaledScanResult expected = matmul_scan_scaled(cast(m, f64), {.dim = 1});
      const ScaledScanResult got = matmul_scan_scaled(to(m, Device::cuda()), {.dim = 1});
      INFO("n " << n << ", " << in_turn << " in turn");
      CHECK(scaled_distance(got.states, got.exponents, expected.states, expected.exponents) < 1e-5);
      CHECK(scaled_distance(got.last, got.last_exponent, expected.last, expected.last_exponent) <
            1e-5);
      CHECK(min(amax(abs(got.states), {-2, -1})).item<float>() >= 1);
    }
  }
}

// In one pass, which makes the powers of two that steps were multiplied by of the exponents.
TEST_CASE("cuda: gradients of a scaled scan, with every option, are the CPU's") {
  if (!has_cuda()) return;
  for (const std::int64_t n : reduced<std::int64_t>({3, 8, 16, 32}, {3, 16})) {
    for (const std::int64_t steps : reduced<std::int64_t>({1, 5, 37, 700}, {5, 37})) {
      const Tensor m = (near_orthogonal({2, steps, n, n}, 1)) * 1.3, initial = random({2, n, n}, 2);
      const Tensor resets = gt(random({2, steps}, 3), 2.0);
      for (int setting = 0; setting < 16; setting += compute_sanitizer() ? 5 : 1) {
        const auto gradients = [&](Device device) {
          ScanOptions options{
              .dim = 1, .reverse = (setting & 1) != 0, .exclusive = (setting & 2) != 0};
          const Tensor x = to(m, device).detach().requires_grad_(),
                       first = to(initial, device).detach().requires_grad_();
          Tensors wanted{x};
          Tensor exponent;
          if (setting & 4) {
            options.initial = first;
            exponent = full({2}, -700, {i32, device});
            wanted.push_back(first);
          }
          if (setting & 8) options.resets = to(resets, device);
          const ScaledScanResult r = matmul_scan_scaled(x, options, exponent);
          return grad(Tensors{r.states, r.last}, wanted,
                      {.grad_outputs = {to(random({2, steps, n, n}, 4), device),
                                        to(random({2, n, n}, 5), device)}});
        };
        const Tensors expected = gradients(Device{}), got = gradients(Device::cuda());
        for (std::size_t i = 0; i < expected.size(); ++i) {
          INFO("n " << n << " T " << steps << " setting " << setting << " result " << i);
          CHECK(distance(to(got[i], Device{}), expected[i]) < 1e-10);
        }
      }
    }
  }
}
