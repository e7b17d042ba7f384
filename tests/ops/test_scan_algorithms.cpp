// Every algorithm computes the same scan: one that did so only for powers of two, or only where the
// operation commutes, would pass on toy inputs and fail in a model.
#include <scangrad/core/parallel.h>
#include <scangrad/tests/ops/scan_support.h>
#include <scangrad/tests/support/catch.h>

using namespace scangrad;
using namespace scan_test;

namespace {

constexpr std::int64_t lengths[] = {1, 2, 3, 5, 64, 100, 257, 1000};
constexpr std::int64_t orders[] = {1, 2, 3, 4, 8, 16, 17, 32};

}  // namespace

TEST_CASE("matmul_scan agrees with plain loops for every algorithm, length, order and option") {
  for (const std::int64_t n : orders) {
    for (const std::int64_t steps : lengths) {
      const std::int64_t sequences = steps > 100 ? 1 : 2;
      const Tensor m = near_orthogonal({sequences, steps, n, n}, 1);
      const Tensor initial = near_orthogonal({sequences, n, n}, 2);
      for (int option = 0; option < 8; ++option) {
        const bool reverse = option & 1, exclusive = option & 2, with_initial = option & 4;
        std::vector<double> start = initial.to_vector<double>();
        if (!with_initial) {
          for (std::size_t i = 0; i < start.size(); ++i) {
            const auto at = static_cast<std::int64_t>(i) % (n * n);
            start[i] = at % (n + 1) == 0 ? 1.0 : 0.0;
          }
        }
        const Loop expected(m, m * 0.0, from(start, {sequences, n, n}), reverse, exclusive);
        for (const ScanAlgorithm algorithm : algorithms) {
          ScanOptions options{.dim = 1, .reverse = reverse, .exclusive = exclusive};
          if (with_initial) options.initial = initial;
          options.algorithm = algorithm;
          const auto [states, last] = matmul_scan(m, options);
          INFO(name(algorithm) << " T " << steps << " order " << n << " reverse " << reverse
                               << " exclusive " << exclusive << " initial " << with_initial);
          CHECK(distance(states, from(expected.states, m.shape())) < 1e-12);
          CHECK(distance(last, from(expected.last, initial.shape())) < 1e-12);
        }
      }
    }
  }
}
