// What the scan tests share: well-scaled random operands, and a scan by plain loops as the oracle.
#pragma once
#include <scangrad/autograd/engine.h>
#include <scangrad/core/dtype.h>
#include <scangrad/ops/elementwise.h>
#include <scangrad/ops/scan.h>
#include <scangrad/ops/shape.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <random>
#include <vector>

namespace scan_test {

using scangrad::ScanOptions;
using scangrad::ScanResult;
using scangrad::Shape;
using scangrad::Tensor;
using scangrad::Tensors;

inline constexpr scangrad::ScanAlgorithm algorithms[] = {
    scangrad::ScanAlgorithm::automatic,     scangrad::ScanAlgorithm::sequential,
    scangrad::ScanAlgorithm::hillis_steele, scangrad::ScanAlgorithm::sklansky,
    scangrad::ScanAlgorithm::brent_kung,    scangrad::ScanAlgorithm::blelloch,
    scangrad::ScanAlgorithm::chunked};

/// Normal values times `scale`.
inline Tensor random(const Shape& shape, unsigned seed, double scale = 1.0,
                     scangrad::DType dtype = scangrad::f64) {
  std::mt19937 engine(seed);
  std::normal_distribution<double> normal(0.0, scale);
  std::vector<double> values(static_cast<std::size_t>(shape.numel()));
  for (double& value : values) value = normal(engine);
  return scangrad::cast(scangrad::from(values, shape), dtype);
}

/// (…, n, n) matrices near rotations, so that long products neither explode nor vanish: each is a
/// product of plane rotations, plus noise.
inline Tensor near_orthogonal(const Shape& shape, unsigned seed,
                              scangrad::DType dtype = scangrad::f64) {
  const auto n = static_cast<std::size_t>(shape.back());
  const auto count = static_cast<std::size_t>(shape.numel()) / std::max<std::size_t>(n * n, 1);
  std::mt19937 engine(seed);
  std::normal_distribution<double> normal;
  std::vector<double> values(count * n * n, 0.0);
  for (std::size_t m = 0; m < count; ++m) {
    double* q = values.data() + m * n * n;
    for (std::size_t i = 0; i < n; ++i) q[i * n + i] = 1.0;
    for (std::size_t i = 0; i + 1 < n; ++i) {  // rotate columns i, i + 1
      const double angle = normal(engine), c = std::cos(angle), s = std::sin(angle);
      for (std::size_t r = 0; r < n; ++r) {
        const double x = q[r * n + i], y = q[r * n + i + 1];
        q[r * n + i] = c * x - s * y;
        q[r * n + i + 1] = s * x + c * y;
      }
    }
    for (std::size_t i = 0; i < n * n; ++i) q[i] += 0.01 * normal(engine) / static_cast<double>(n);
  }
  return scangrad::cast(scangrad::from(values, shape), dtype);
}

/// max |a − b| / max(|b|, 1); NaN anywhere makes it infinite.
inline double distance(const Tensor& a, const Tensor& b) {
  if (a.shape() != b.shape()) return INFINITY;
  const auto x = a.to_vector<double>(), y = b.to_vector<double>();
  double difference = 0.0, size = 1.0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    if (x[i] == y[i]) continue;  // infinities too
    if (!(std::abs(x[i] - y[i]) < INFINITY)) return INFINITY;
    difference = std::max(difference, std::abs(x[i] - y[i]));
    size = std::max(size, std::abs(y[i]));
  }
  return difference / size;
}

inline bool same_bits(const Tensor& a, const Tensor& b) {
  return a.shape() == b.shape() && a.to_vector<double>() == b.to_vector<double>();
}

using Scan = std::function<ScanResult(const Tensors& in, const ScanOptions& options)>;

/// The gradients of the operands and, where it is defined, of the initial state, then states and
/// last, on the CPU in f64: of a scan on `device` in `dtype`, of operands rounded to `values`, with
/// random gradients of both results.
inline Tensors scan_results(const Scan& scan, const Tensors& in, const Tensor& initial,
                            ScanOptions options, scangrad::Device device, scangrad::DType dtype,
                            scangrad::DType values) {
  const auto moved = [&](const Tensor& x) { return cast(to(cast(x, values), device), dtype); };
  Tensors leaves;
  const auto leaf = [&](const Tensor& x) {
    leaves.push_back(moved(x).detach().requires_grad_());
    return leaves.back();
  };
  for (const Tensor& x : in) leaf(x);
  if (initial.defined()) options.initial = leaf(initial);
  if (options.resets) options.resets = to(*options.resets, device);
  const ScanResult r = scan(leaves, options);
  Tensors all = grad(
      {r.states, r.last}, leaves,
      {.grad_outputs = {moved(random(r.states.shape(), 51)), moved(random(r.last.shape(), 52))}});
  all.push_back(r.states);
  all.push_back(r.last);
  for (Tensor& x : all) x = cast(to(x.detach(), scangrad::Device{}), scangrad::f64);
  return all;
}

/// A scan over T steps of operands that keep its states of order 1.
struct AnyScan {
  const char* name;
  Scan run;
  std::function<Tensors(std::int64_t steps)> operands;  // the last one has the states' shape
};

template <ScanResult (*scan)(const Tensor&, const ScanOptions&)>
ScanResult of_one(const Tensors& in, const ScanOptions& options) {
  return scan(in[0], options);
}
template <ScanResult (*scan)(const Tensor&, const Tensor&, const ScanOptions&)>
ScanResult of_two(const Tensors& in, const ScanOptions& options) {
  return scan(in[0], in[1], options);
}

inline std::vector<AnyScan> scans() {
  const auto normal = [](std::int64_t steps) { return Tensors{random({2, steps, 3}, 1)}; };
  const auto near_one = [](std::int64_t steps) {
    return Tensors{random({2, steps, 3}, 1, 0.02) + 1.0};
  };
  return {
      {"cumsum", of_one<scangrad::cumsum>, normal},
      {"cumprod", of_one<scangrad::cumprod>, near_one},
      {"cummax", of_one<scangrad::cummax>, normal},
      {"cummin", of_one<scangrad::cummin>, normal},
      {"logcumsumexp", of_one<scangrad::logcumsumexp>, normal},
      {"linear_scan", of_two<scangrad::linear_scan>,
       [](std::int64_t steps) {
         return Tensors{random({2, steps, 3}, 1, 0.5), random({2, steps, 3}, 2)};
       }},
      {"matmul_scan", of_one<scangrad::matmul_scan>,
       [](std::int64_t steps) {
         return Tensors{near_orthogonal({1, steps, 2, 2}, 1)};
       }},
      {"affine_scan", of_two<scangrad::affine_scan>,
       [](std::int64_t steps) {
         return Tensors{near_orthogonal({1, steps, 2, 2}, 1) * 0.9, random({1, steps, 3, 2}, 2)};
       }},
  };
}

/// h_t = h_{t-1} a_t + b_t by plain loops: a (S, T, n, n), b (S, T, p, n), h_0 (S, p, n).
struct Loop {
  std::vector<double> states, last;  // (S, T, p, n), (S, p, n)

  Loop(const Tensor& a_, const Tensor& b_, const Tensor& initial_, bool reverse, bool exclusive) {
    const std::int64_t sequences = b_.shape()[0], steps = b_.shape()[1], p = b_.shape()[2],
                       n = b_.shape()[3];
    const auto a = a_.to_vector<double>(), b = b_.to_vector<double>();
    last = initial_.to_vector<double>();
    states.resize(b.size());
    const auto index = [](std::int64_t i) { return static_cast<std::size_t>(i); };
    std::vector<double> next(index(p * n));
    for (std::int64_t s = 0; s < sequences; ++s) {
      double* h = last.data() + s * p * n;
      for (std::int64_t k = 0; k < steps; ++k) {
        const std::int64_t at = s * steps + (reverse ? steps - 1 - k : k);
        if (exclusive) std::copy(h, h + p * n, states.begin() + at * p * n);
        for (std::int64_t i = 0; i < p; ++i) {
          for (std::int64_t j = 0; j < n; ++j) {
            double total = b[index((at * p + i) * n + j)];
            for (std::int64_t l = 0; l < n; ++l)
              total += h[i * n + l] * a[index((at * n + l) * n + j)];
            next[index(i * n + j)] = total;
          }
        }
        std::copy(next.begin(), next.end(), h);
        if (!exclusive) std::copy(h, h + p * n, states.begin() + at * p * n);
      }
    }
  }
};

}  // namespace scan_test
