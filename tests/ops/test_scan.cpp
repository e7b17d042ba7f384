// What a scan promises beyond its values (tests/ops/cases_scan.cpp has those and the derivatives):
// streaming, edge cases that a formula with a division or an inverse would miss, determinism,
// errors.
#include <scangrad/tests/ops/scan_support.h>

#include <scangrad/autograd/engine.h>
#include <scangrad/core/error.h>
#include <scangrad/core/parallel.h>
#include <scangrad/ops/join.h>
#include <scangrad/ops/matmul.h>
#include <scangrad/ops/reduce.h>
#include <scangrad/tests/support/catch.h>

using namespace scangrad;
using namespace scan_test;

namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

/// A weighted sum of everything a scan returns, so that every output has a gradient of its own.
Tensor weighed(const ScanResult& r) {
  return sum(r.states * random(r.states.shape(), 51, 1, r.states.dtype())) +
         sum(r.last * random(r.last.shape(), 52, 1, r.last.dtype()));
}

}  // namespace

TEST_CASE("a scan fed in chunks is the scan in one go, gradients included") {
  // Truncated backpropagation and sampling feed a sequence piece by piece.
  for (const bool reverse : {false, true}) {
    for (const bool exclusive : {false, true}) {
      Tensor m = near_orthogonal({2, 11, 3, 3}, 1), initial = random({2, 3, 3}, 2);
      m.requires_grad_();
      initial.requires_grad_();
      const ScanResult whole = matmul_scan(
          m, {.dim = 1, .reverse = reverse, .exclusive = exclusive, .initial = initial});
      Tensors pieces;
      Tensor state = initial;
      std::vector<std::pair<int, int>> bounds = {{0, 4}, {4, 5}, {5, 11}};
      if (reverse) std::reverse(bounds.begin(), bounds.end());
      for (const auto& [begin, end] : bounds) {
        const ScanResult part =
            matmul_scan(slice(m, 1, begin, end),
                        {.dim = 1, .reverse = reverse, .exclusive = exclusive, .initial = state});
        pieces.insert(reverse ? pieces.begin() : pieces.end(), part.states);
        state = part.last;
      }
      const ScanResult chunked{cat(pieces, 1), state};
      CHECK(distance(chunked.states, whole.states) < 1e-13);
      CHECK(distance(chunked.last, whole.last) < 1e-13);
      const Tensors a = grad({weighed(whole)}, {m, initial});
      const Tensors b = grad({weighed(chunked)}, {m, initial});
      CHECK(distance(a[0], b[0]) < 1e-12);
      CHECK(distance(a[1], b[1]) < 1e-12);
    }
  }
}

TEST_CASE("the fused backward and the composed one agree, whatever the algorithm") {
  // create_graph takes another road than a training step does; long sequences yet another.
  for (const ScanAlgorithm algorithm : algorithms) {
    for (const std::int64_t steps : {5, 130, 700}) {
      Tensor a = near_orthogonal({1, steps, 4, 4}, 1), b = random({1, steps, 2, 4}, 2, 0.1);
      Tensor initial = random({1, 2, 4}, 3);
      for (Tensor* t : {&a, &b, &initial}) t->requires_grad_();
      ScanOptions options{.dim = 1, .initial = initial};
      options.algorithm = algorithm;
      const Tensor loss = weighed(affine_scan(a, b, options));
      const Tensors fused = grad({loss}, {a, b, initial}, {.retain_graph = true});
      const Tensors composed = grad({loss}, {a, b, initial}, {.create_graph = true});
      INFO(name(algorithm) << " T " << steps);
      for (std::size_t i = 0; i < 3; ++i) CHECK(distance(fused[i], composed[i]) < 1e-11);
    }
  }
}

TEST_CASE("float32 orders with kernels of their own agree with float64") {
  for (const std::int64_t n : {1, 2, 3, 4, 5, 8, 12, 16, 17, 32, 33}) {
    Tensor exact = near_orthogonal({3, 20, n, n}, 1);
    Tensor single = cast(exact, f32);
    exact = cast(single, f64);
    exact.requires_grad_();
    single.requires_grad_();
    const Tensor d_exact = grad(weighed(matmul_scan(exact, {.dim = 1})), exact);
    const Tensor d_single = grad(weighed(matmul_scan(single, {.dim = 1})), single);
    INFO("order " << n);
    CHECK(distance(matmul_scan(single, {.dim = 1}).states, matmul_scan(exact, {.dim = 1}).states) <
          1e-5);
    CHECK(distance(d_single, d_exact) < 1e-5);
  }
}

TEST_CASE("bf16 scans carry their state in float32") {
  // 300 times 1 + 1: a bf16 total would stop at 256.
  const Tensor x = ones({300}, {bf16});
  CHECK(cumsum(x, 0).to_vector<double>().back() == 300.0);
  for (const ScanAlgorithm algorithm : algorithms) {
    ScanOptions options{.dim = 0};
    options.algorithm = algorithm;
    INFO(name(algorithm));
    CHECK(cumsum(x, options).last.item<double>() == 300.0);
  }
}

TEST_CASE("matmul_scan differentiates through singular and zero matrices") {
  // A backward that inverts M, or divides by a determinant, gives NaN here.
  Tensor m = near_orthogonal({1, 6, 3, 3}, 1);
  auto values = m.to_vector<double>();
  std::fill(values.begin() + 9, values.begin() + 18, 0.0);   // M_2 = 0
  std::fill(values.begin() + 27, values.begin() + 30, 0.0);  // M_4 of rank 2
  m = from(values, m.shape());
  m.requires_grad_();
  const auto loss = [](const Tensor& x) { return weighed(matmul_scan(x, {.dim = 1})); };
  const auto gradient = grad(loss(m), m).to_vector<double>();
  for (std::size_t i = 0; i < values.size(); ++i) {
    auto up = values, down = values;
    up[i] += 1e-6;
    down[i] -= 1e-6;
    const double slope =
        (loss(from(up, m.shape())).item<double>() - loss(from(down, m.shape())).item<double>()) /
        2e-6;
    CHECK(gradient[i] == Approx(slope).margin(1e-7));
  }
}

TEST_CASE("the gradient of cumprod is exact where x has zeros") {
  // y / x, the textbook formula, is 0 / 0 here. By hand: x = (2, 0, 3, 0), g = 1.
  Tensor x = from<double>({2, 0, 3, 0}, {4});
  x.requires_grad_();
  // y = (x1, x1 x2, x1 x2 x3, x1 x2 x3 x4)
  CHECK(grad(sum(cumprod(x, 0)), x).to_vector<double>() ==
        std::vector<double>{1 + 0 + 0 + 0, 2 + 2 * 3 + 0, 0, 0});
}

TEST_CASE("of equal extremes the last wins, and gets the gradient; NaN wins and stays") {
  Tensor x = from<double>({1, 3, 3, 2, 3, 0}, {6});
  x.requires_grad_();
  const auto [values, indices] = cummax(x, 0);
  CHECK(indices.to_vector<std::int64_t>() == std::vector<std::int64_t>{0, 1, 2, 2, 4, 4});
  CHECK(grad(sum(values), x).to_vector<double>() == std::vector<double>{1, 1, 2, 0, 2, 0});
  const auto [least, at] = cummin(from<double>({2, 2, 5}, {3}), 0);
  CHECK(at.to_vector<std::int64_t>() == std::vector<std::int64_t>{0, 1, 1});

  const auto [with_nan, where_nan] = cummax(from<double>({1, NAN, 2, NAN}, {4}), 0);
  CHECK(std::isnan(with_nan.to_vector<double>()[2]));
  CHECK(where_nan.to_vector<std::int64_t>() == std::vector<std::int64_t>{0, 1, 1, 3});
  // Reading right to left, the extreme of integers starts from what every integer beats.
  CHECK(cummin(from<std::int32_t>({5, 7, 6}, {3}), {.reverse = true})
            .states.to_vector<std::int32_t>() == std::vector<std::int32_t>{5, 6, 6});
}

TEST_CASE("logcumsumexp survives minus infinity and large values, in both derivatives") {
  Tensor x = from<double>({-infinity, -infinity, 1000, 1000, -infinity}, {5});
  x.requires_grad_();
  const Tensor y = logcumsumexp(x, 0);
  const auto values = y.to_vector<double>();
  CHECK(values[1] == -infinity);
  CHECK(values[4] == Approx(1000 + std::log(2.0)));
  // Softmax weights: nothing from −∞; x_3 counts wholly at t = 3 and half after.
  const Tensor first = grad(sum(slice(y, 0, 2)), x, {.create_graph = true});
  const std::vector<double> expected = {0, 0, 2, 1, 0};
  for (std::size_t i = 0; i < 5; ++i) CHECK(first.to_vector<double>()[i] == Approx(expected[i]));
  const Tensor second = grad(sum(slice(first, 0, 2, 3)), x);
  const std::vector<double> bend = {0, 0, 0.5, -0.5, 0};  // w (1 − w) at each of t = 4, 5
  for (std::size_t i = 0; i < 5; ++i) CHECK(second.to_vector<double>()[i] == Approx(bend[i]));
}

TEST_CASE("a NaN stays in its own sequence") {
  // One broken sample in a batch must not break the others.
  const Tensor clean = near_orthogonal({2, 200, 3, 4, 4}, 1, f32);
  auto values = clean.to_vector<float>();
  values[5] = NAN;  // sequence (0, 0)
  const Tensor broken = from(values, clean.shape());
  for (const ScanAlgorithm algorithm : algorithms) {
    ScanOptions options{.dim = 1};
    options.algorithm = algorithm;
    const Tensor a = matmul_scan(broken, options).states, b = matmul_scan(clean, options).states;
    INFO(name(algorithm));
    CHECK(same_bits(slice(a, 2, 1, 3), slice(b, 2, 1, 3)));
    CHECK(same_bits(select(a, 0, 1), select(b, 0, 1)));
    CHECK(std::isnan(a.to_vector<double>()[5]));
  }
}

TEST_CASE("any dimension, of any view, is scanned alike") {
  const Tensor m = near_orthogonal({2, 3, 5, 2, 2}, 1);
  const Tensor expected = matmul_scan(m, {.dim = 2}).states;
  const Tensor moved = transpose(m, 0, 2);  // (5, 3, 2, 2, 2), not contiguous
  CHECK(distance(transpose(matmul_scan(moved, {.dim = 0}).states, 0, 2), expected) == 0);
  CHECK(distance(matmul_scan(m, {.dim = -3}).states, expected) == 0);
  // Matrices read transposed, and an initial state that is a view.
  const Tensor turned = transpose(m, -1, -2);
  const Tensor initial = expand(near_orthogonal({2, 2}, 3), {2, 3, 2, 2});
  CHECK(distance(matmul_scan(turned, {.dim = 2, .initial = initial}).states,
                 matmul_scan(clone(turned), {.dim = 2, .initial = clone(initial)}).states) == 0);
  // Operands of linear_scan and affine_scan broadcast.
  const Tensor a = random({5, 1}, 4, 0.5), b = random({2, 5, 3}, 5);
  CHECK(distance(linear_scan(a, b, {.dim = 1}).states,
                 linear_scan(clone(expand(a, {2, 5, 3})), b, {.dim = 1}).states) == 0);
  const Tensor matrix = near_orthogonal({5, 2, 2}, 6), shift = random({3, 5, 4, 2}, 7);
  CHECK(distance(affine_scan(matrix, shift, {.dim = 1}).states,
                 affine_scan(clone(expand(matrix, {3, 5, 2, 2})), shift, {.dim = 1}).states) == 0);
}

TEST_CASE("matmul_scan multiplies on the right, in order") {
  // With matrices that do not commute, the other order is another result.
  const Tensor m = random({3, 2, 2}, 1);
  const auto at = [&](std::int64_t t) { return select(m, 0, t); };
  CHECK(distance(matmul_scan(m).last, matmul(matmul(at(0), at(1)), at(2))) < 1e-14);
  CHECK(distance(matmul_scan(m, {.reverse = true}).last, matmul(matmul(at(2), at(1)), at(0))) <
        1e-14);
}

TEST_CASE("nothing to scan leaves the initial state, or the identity") {
  Tensor initial = random({2, 3, 3}, 1);
  initial.requires_grad_();
  const Tensor none = zeros({2, 0, 3, 3}, {f64});
  CHECK(matmul_scan(none, {.dim = 1}).last.to_vector<double>() ==
        std::vector<double>{1, 0, 0, 0, 1, 0, 0, 0, 1, 1, 0, 0, 0, 1, 0, 0, 0, 1});
  const ScanResult empty = matmul_scan(none, {.dim = 1, .initial = initial});
  CHECK(empty.states.shape() == none.shape());
  CHECK(same_bits(empty.last, initial));
  CHECK(same_bits(grad(sum(empty.last * initial.detach()), initial), initial));
  CHECK(cumprod(zeros({0}), {.dim = 0}).last.item<double>() == 1.0);
  CHECK(cummax(zeros({0}), {.dim = 0}).last.item<double>() == -infinity);
  // An initial state that is not there yet, as at the start of a stream.
  CHECK(matmul_scan(none, {.dim = 1, .initial = Tensor{}}).last.shape() == initial.shape());
}

TEST_CASE("results are the same bit for bit whatever the number of threads") {
  // One long sequence is cut into chunks, many short ones are shared out: neither may show.
  const int before = num_threads();
  for (const Shape& shape : {Shape{1, 3000, 4, 4}, Shape{37, 40, 8, 8}}) {
    Tensor m = near_orthogonal(shape, 1, f32);
    m.requires_grad_();
    const auto run = [&](int threads) {
      set_num_threads(threads);
      const ScanResult r = matmul_scan(m, {.dim = 1});
      const Tensor d = grad(weighed(r), m);
      set_num_threads(before);
      return Tensors{r.states, r.last, d};
    };
    const Tensors one = run(1);
    for (int threads : {2, 3, 5}) {
      const Tensors several = run(threads);
      for (std::size_t i = 0; i < one.size(); ++i) CHECK(same_bits(one[i], several[i]));
    }
  }
}

TEST_CASE("bad arguments are refused with one sentence that names them") {
  const Tensor m = zeros({2, 5, 3, 3});
  CHECK_THROWS_WITH(matmul_scan(zeros({2, 5, 3, 4}), {.dim = 1}),
                    "matmul_scan: the matrices of shape [2,5,3,4] are not square: 3 != 4");
  CHECK_THROWS_WITH(matmul_scan(m, {.dim = 1, .initial = zeros({3, 3})}),
                    "matmul_scan: initial has shape [3,3] but a state has [2,3,3]: the input's "
                    "without dim");
  CHECK_THROWS_WITH(matmul_scan(m, {.dim = 1, .resets = zeros({2, 4}, {bool_})}),
                    "matmul_scan: resets have shape [2,4], but must be [5], or broadcast to [2,5]");
  CHECK_THROWS_WITH(cumsum(zeros({5, 2}), {.resets = zeros({5, 1, 1}, {bool_})}),
                    "cumsum: resets have shape [5,1,1], but must be [5], or broadcast to [5] or, "
                    "with as many dimensions, to [5,2]");
  CHECK_THROWS_WITH(matmul_scan(m, {.dim = 1, .resets = zeros({2, 5})}),
                    "matmul_scan: resets are f32, not bool");
  CHECK_THROWS_AS(matmul_scan(m, {.dim = 1, .resets = zeros({2, 1}, {bool_})}), ShapeError);
  CHECK_THROWS_AS(cumsum(zeros({}), {.resets = zeros({1}, {bool_})}), ShapeError);
  CHECK_THROWS_AS(matmul_scan(m, {.dim = 2}), IndexError);
  CHECK_THROWS_AS(matmul_scan(m, {.dim = 4}), IndexError);
  CHECK_THROWS_AS(matmul_scan(zeros({3, 3})), ShapeError);
  CHECK_THROWS_AS(matmul_scan(zeros({2, 3, 3}, {i64})), DTypeError);
  CHECK_THROWS_AS(matmul_scan(m, {.dim = 1, .initial = zeros({2, 3, 3}, {f64})}), DTypeError);
  CHECK_THROWS_AS(affine_scan(m, zeros({2, 5, 3, 4}), {.dim = 1}), ShapeError);
  CHECK_THROWS_AS(linear_scan(zeros({2, 5}), zeros({2, 4})), ShapeError);
  CHECK_THROWS_WITH(scan_algorithm("fast"),
                    ContainsSubstring("\"fast\"") && ContainsSubstring("brent_kung"));
  for (const ScanAlgorithm algorithm : algorithms) {
    CHECK(scan_algorithm(name(algorithm)) == algorithm);
  }
}

TEST_CASE("a scan of nothing ends at the identity, which integers have exactly") {
  const auto end = [](const ScanResult& result) { return result.last.item<std::int64_t>(); };
  using Limits = std::numeric_limits<std::int64_t>;
  CHECK(end(cummin(zeros({0}, {.dtype = i64}), ScanOptions{})) == Limits::max());
  CHECK(end(cummax(zeros({0}, {.dtype = i64}), ScanOptions{})) == Limits::min());
  CHECK(end(cummin(zeros({0}, {.dtype = i32}), ScanOptions{})) ==
        std::numeric_limits<std::int32_t>::max());
  CHECK(end(cumprod(zeros({0}, {.dtype = i64}), ScanOptions{})) == 1);
  CHECK(cummax(zeros({0}), ScanOptions{}).last.item<double>() == -infinity);
}

TEST_CASE("a number that is no algorithm is refused, by name and by scan") {
  const auto none = static_cast<ScanAlgorithm>(42);
  CHECK_THROWS_WITH(cumsum(ones({3}), {.algorithm = none}), "scan: 42 is no algorithm");
  CHECK_THROWS_AS(matmul_scan(ones({3, 2, 2}), {.algorithm = none}), ValueError);
  CHECK_THROWS_AS(name(none), ValueError);
}
