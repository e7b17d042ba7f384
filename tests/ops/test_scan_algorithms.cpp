// Every algorithm computes the same scan: one that did so only for powers of two, or only where the
// operation commutes, would pass on toy inputs and fail in a model.
#include <scangrad/tests/ops/scan_support.h>

#include <scangrad/autograd/engine.h>
#include <scangrad/ops/reduce.h>
#include <scangrad/tests/support/catch.h>

using namespace scangrad;
using namespace scan_test;

namespace {

constexpr std::int64_t lengths[] = {0, 1, 2, 3, 5, 64, 100, 257, 1000};
constexpr std::int64_t orders[] = {1, 2, 3, 4, 8, 16, 17, 32};

/// Every way to set reverse, exclusive and the initial state.
struct Setting {
  bool reverse, exclusive, with_initial;

  ScanOptions options(ScanAlgorithm algorithm, const Tensor& initial) const {
    ScanOptions o{.dim = 1, .reverse = reverse, .exclusive = exclusive};
    if (with_initial) o.initial = initial;
    o.algorithm = algorithm;
    return o;
  }
};
std::ostream& operator<<(std::ostream& out, const Setting& s) {
  return out << " reverse " << s.reverse << " exclusive " << s.exclusive << " initial "
             << s.with_initial;
}
std::vector<Setting> settings() {
  std::vector<Setting> all;
  for (int i = 0; i < 8; ++i) all.push_back({(i & 1) != 0, (i & 2) != 0, (i & 4) != 0});
  return all;
}

/// Gradients of a weighted sum of all that a scan returns.
Tensors gradients(const ScanResult& r, const Tensors& by, bool create_graph = false) {
  // The states of an exclusive scan may begin with −∞, which must meet no weight.
  const Tensor states = where(isfinite(r.states), r.states, zeros_like(r.states));
  const Tensor last = where(isfinite(r.last), r.last, zeros_like(r.last));
  const Tensor loss =
      sum(states * random(states.shape(), 51)) + sum(last * random(last.shape(), 52));
  return grad({loss}, by, {.create_graph = create_graph, .allow_unused = true});
}

}  // namespace

TEST_CASE("every algorithm gives each scan the values and gradients of the sequential one") {
  for (const AnyScan& scan : scans()) {
    for (const std::int64_t steps : lengths) {
      Tensors in = scan.operands(steps);
      Shape state_shape = in.back().shape();
      state_shape.erase(1);
      in.push_back(random(state_shape, 3));
      for (Tensor& x : in) x.requires_grad_();
      for (const Setting& setting : settings()) {
        const auto run = [&](ScanAlgorithm algorithm) {
          return scan.run(in, setting.options(algorithm, in.back()));
        };
        const ScanResult expected = run(ScanAlgorithm::sequential);
        const Tensors expected_gradients = gradients(expected, in);
        for (const ScanAlgorithm algorithm : algorithms) {
          INFO(scan.name << " " << name(algorithm) << " T " << steps << setting);
          const ScanResult got = run(algorithm);
          CHECK(distance(got.states, expected.states) < 1e-12);
          CHECK(distance(got.last, expected.last) < 1e-12);
          const Tensors got_gradients = gradients(got, in);
          for (std::size_t i = 0; i < in.size(); ++i) {
            REQUIRE(got_gradients[i].defined() == expected_gradients[i].defined());
            if (!got_gradients[i].defined()) continue;
            CHECK(distance(got_gradients[i], expected_gradients[i]) < 1e-11);
          }
        }
      }
    }
  }
}

TEST_CASE("the fused backward of matmul_scan is the composed one, for every order and option") {
  // Orders have kernels of their own; the composed backward is another scan and plain products.
  for (const std::int64_t n : orders) {
    for (const std::int64_t steps : {1, 5, 130}) {
      const std::int64_t sequences = n > 8 ? 1 : 2;
      Tensor m = near_orthogonal({sequences, steps, n, n}, 1);
      Tensor initial = near_orthogonal({sequences, n, n}, 2);
      m.requires_grad_();
      initial.requires_grad_();
      for (const Setting& setting : settings()) {
        for (const ScanAlgorithm algorithm : {ScanAlgorithm::sequential, ScanAlgorithm::chunked}) {
          const ScanOptions options = setting.options(algorithm, initial);
          const Tensors by = setting.with_initial ? Tensors{m, initial} : Tensors{m};
          const Tensors fused = gradients(matmul_scan(m, options), by);
          const Tensors composed = gradients(matmul_scan(m, options), by, true);
          INFO(name(algorithm) << " T " << steps << " order " << n << setting);
          for (std::size_t i = 0; i < by.size(); ++i) {
            CHECK(distance(fused[i], composed[i]) < 1e-11);
          }
        }
      }
    }
  }
}

TEST_CASE("matmul_scan agrees with plain loops for every algorithm, length, order and option") {
  for (const std::int64_t n : orders) {
    for (const std::int64_t steps : lengths) {
      const std::int64_t sequences = steps > 100 ? 1 : 2;
      const Tensor m = near_orthogonal({sequences, steps, n, n}, 1);
      const Tensor initial = near_orthogonal({sequences, n, n}, 2);
      for (const Setting& setting : settings()) {
        std::vector<double> start = initial.to_vector<double>();
        if (!setting.with_initial) {
          for (std::size_t i = 0; i < start.size(); ++i) {
            const auto at = static_cast<std::int64_t>(i) % (n * n);
            start[i] = at % (n + 1) == 0 ? 1.0 : 0.0;
          }
        }
        const Loop expected(m, m * 0.0, from(start, {sequences, n, n}), setting.reverse,
                            setting.exclusive);
        for (const ScanAlgorithm algorithm : algorithms) {
          const auto [states, last] = matmul_scan(m, setting.options(algorithm, initial));
          INFO(name(algorithm) << " T " << steps << " order " << n << setting);
          CHECK(distance(states, from(expected.states, m.shape())) < 1e-12);
          CHECK(distance(last, from(expected.last, initial.shape())) < 1e-12);
        }
      }
    }
  }
}
