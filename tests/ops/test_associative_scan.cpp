// associative_scan: any operation of the user's, on tuples, with gradients from the tape.
#include <scangrad/tests/ops/scan_support.h>

#include <scangrad/autograd/engine.h>
#include <scangrad/autograd/gradcheck.h>
#include <scangrad/core/error.h>
#include <scangrad/ops/matmul.h>
#include <scangrad/ops/reduce.h>
#include <scangrad/tests/support/catch.h>

using namespace scangrad;
using namespace scan_test;

namespace {

/// The affine monoid: (a, b) stands for h ← h a + b.
Tensors affine(const Tensors& l, const Tensors& r) { return {l[0] * r[0], l[1] * r[0] + r[1]}; }
Tensors product(const Tensors& l, const Tensors& r) { return {matmul(l[0], r[0])}; }

}  // namespace

TEST_CASE("associative_scan agrees with the scans that have kernels, at every length") {
  for (std::int64_t steps : {1, 2, 3, 4, 5, 7, 8, 13, 64, 100}) {
    const Tensor a = random({2, steps, 3}, 1, 0.7), b = random({2, steps, 3}, 2);
    const Tensor m = near_orthogonal({steps, 3, 3}, 3), start = near_orthogonal({3, 3}, 4);
    for (bool reverse : {false, true}) {
      INFO("T " << steps << " reverse " << reverse);
      const auto pairs = associative_scan(affine, {a, b}, {.dim = 1, .reverse = reverse});
      const auto expected = linear_scan(a, b, {.dim = 1, .reverse = reverse});
      CHECK(distance(pairs.states[1], expected.states) < 1e-13);
      CHECK(distance(pairs.last[1], expected.last) < 1e-13);
      for (bool exclusive : {false, true}) {
        const auto got = associative_scan(
            product, {m}, {.reverse = reverse, .exclusive = exclusive, .initial = {start}});
        const auto want =
            matmul_scan(m, {.reverse = reverse, .exclusive = exclusive, .initial = start});
        CHECK(distance(got.states[0], want.states) < 1e-13);
        CHECK(distance(got.last[0], want.last) < 1e-13);
      }
    }
  }
}

TEST_CASE("associative_scan is differentiable twice through the combine it was given") {
  for (std::int64_t steps : {1, 4, 7}) {
    Tensor m = near_orthogonal({steps, 2, 2}, 1), start = near_orthogonal({2, 2}, 2);
    m.requires_grad_();
    start.requires_grad_();
    const TensorFunction scan = [](const Tensors& in) {
      const auto [states, last] = associative_scan(product, {in[0]}, {.initial = {in[1]}});
      return Tensors{states[0], last[0]};
    };
    gradcheck(scan, {m, start});
    gradgradcheck(scan, {m, start});
  }
  SUCCEED("no derivative differed");
}

TEST_CASE("associative_scan has logarithmic depth: combine is called 2 log T times") {
  int calls = 0;
  const ScanCombine counting = [&](const Tensors& l, const Tensors& r) {
    ++calls;
    return product(l, r);
  };
  associative_scan(counting, {near_orthogonal({1024, 2, 2}, 1)});
  CHECK(calls == 2 * 10 - 1);
}

TEST_CASE("associative_scan refuses what it cannot mean") {
  const Tensor x = random({4, 2, 2}, 1);
  CHECK_THROWS_WITH(associative_scan(product, {x}, {.exclusive = true}),
                    "associative_scan: an exclusive scan needs initial, its first state");
  CHECK_THROWS_AS(associative_scan(product, {}), ValueError);
  CHECK_THROWS_AS(associative_scan(affine, {x, slice(x, 0, 1)}), ShapeError);
  CHECK_THROWS_AS(associative_scan(affine, {x, x}, {.initial = {x}}), ValueError);
  CHECK_THROWS_WITH(
      associative_scan([](const Tensors& l, const Tensors&) { return Tensors{sum(l[0])}; }, {x}),
      ContainsSubstring("combine returned shape []"));
  // Nothing to scan: no states, and no last one either.
  const auto [states, last] = associative_scan(product, {slice(x, 0, 4)});
  CHECK(states[0].shape() == Shape{0, 2, 2});
  CHECK_FALSE(last[0].defined());
}
