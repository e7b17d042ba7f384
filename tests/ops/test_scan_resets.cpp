// Resets cut a sequence into segments, as where several documents are packed into one: each segment
// must come out as if it were alone, whatever its neighbours hold.
#include <scangrad/tests/ops/scan_support.h>

#include <scangrad/autograd/engine.h>
#include <scangrad/ops/join.h>
#include <scangrad/ops/reduce.h>
#include <scangrad/tests/support/catch.h>

using namespace scangrad;
using namespace scan_test;

namespace {

/// bool (T), true at `starts`.
Tensor marks(std::int64_t steps, const std::vector<std::int64_t>& starts) {
  std::vector<double> values(static_cast<std::size_t>(steps), 0.0);
  for (const std::int64_t t : starts) values[static_cast<std::size_t>(t)] = 1;
  return cast(from(values, {steps}), bool_);
}

/// A weighted sum of everything a scan returns, the −∞ that a segment may begin with aside.
Tensor weighed(const ScanResult& r) {
  const Tensor states = where(isfinite(r.states), r.states, zeros_like(r.states));
  return sum(states * random(r.states.shape(), 51, 1, r.states.dtype())) +
         sum(r.last * random(r.last.shape(), 52, 1, r.last.dtype()));
}

}  // namespace

TEST_CASE("segments come out as if each were scanned alone, for every algorithm and option") {
  // Starts at both ends of the sequence, side by side, and about the chunks' boundaries (64).
  const std::int64_t steps = 300;
  const std::vector<std::int64_t> starts = {1, 2, 63, 64, 65, 128, 191, 200, 299};
  for (const AnyScan& scan : scans()) {
    Tensors in = scan.operands(steps);
    Shape state_shape = in.back().shape();
    state_shape.erase(1);
    in.push_back(random(state_shape, 3));
    for (Tensor& x : in) x.requires_grad_();
    for (const bool reverse : {false, true}) {
      for (const bool exclusive : {false, true}) {
        Tensors pieces;
        Tensor last;
        for (std::size_t i = 0; i <= starts.size(); ++i) {
          const std::int64_t begin = i == 0 ? 0 : starts[i - 1];
          const std::int64_t end = i == starts.size() ? steps : starts[i];
          Tensors part;
          for (const Tensor& x : in) part.push_back(&x == &in.back() ? x : slice(x, 1, begin, end));
          ScanOptions options{.dim = 1, .reverse = reverse, .exclusive = exclusive};
          if (reverse ? end == steps : begin == 0) options.initial = in.back();
          const ScanResult alone = scan.run(part, options);
          pieces.push_back(alone.states);
          if (reverse ? begin == 0 : end == steps) last = alone.last;
        }
        const ScanResult expected{cat(pieces, 1), last};
        const Tensors expected_gradients = grad({weighed(expected)}, in);
        for (const ScanAlgorithm algorithm : algorithms) {
          ScanOptions options{.dim = 1, .reverse = reverse, .exclusive = exclusive};
          options.initial = in.back();
          options.resets = marks(steps, starts);
          options.algorithm = algorithm;
          INFO(scan.name << " " << name(algorithm) << " reverse " << reverse << " exclusive "
                         << exclusive);
          const ScanResult got = scan.run(in, options);
          CHECK(distance(got.states, expected.states) < 1e-12);
          CHECK(distance(got.last, expected.last) < 1e-12);
          for (const bool create_graph : {false, true}) {
            const Tensors gradients =
                grad({weighed(scan.run(in, options))}, in, {.create_graph = create_graph});
            for (std::size_t i = 0; i < in.size(); ++i) {
              CHECK(distance(gradients[i], expected_gradients[i]) < 1e-11);
            }
          }
        }
      }
    }
  }
}

TEST_CASE("NaN and infinity in one segment reach no other, forward or backward") {
  // A product with 0 would forget the state, but 0 · NaN is NaN.
  const std::int64_t steps = 200;
  for (const AnyScan& scan : scans()) {
    for (const bool reverse : {false, true}) {
      for (const ScanAlgorithm algorithm : algorithms) {
        for (const double bad : {double(NAN), double(INFINITY)}) {
          ScanOptions options{.dim = 1, .reverse = reverse};
          options.resets = marks(steps, {70, 140});
          options.algorithm = algorithm;
          Tensors clean = scan.operands(steps), broken;
          for (Tensor& x : clean) {
            const Tensor middle = zeros_like(slice(x, 1, 70, 140)) + bad;
            broken.push_back(cat({slice(x, 1, 0, 70), middle, slice(x, 1, 140)}, 1));
            x.requires_grad_();
            broken.back().requires_grad_();
          }
          const ScanResult a = scan.run(broken, options), b = scan.run(clean, options);
          INFO(scan.name << " " << name(algorithm) << " reverse " << reverse);
          for (const auto& [begin, end] : {std::pair{0, 70}, std::pair{140, 200}}) {
            CHECK(same_bits(slice(a.states, 1, begin, end), slice(b.states, 1, begin, end)));
          }
          for (const bool create_graph : {false, true}) {
            const Tensors da = grad({sum(scan.run(broken, options).states)}, broken,
                                    {.create_graph = create_graph});
            const Tensors db =
                grad({sum(scan.run(clean, options).states)}, clean, {.create_graph = create_graph});
            for (std::size_t i = 0; i < da.size(); ++i) {
              for (const auto& [begin, end] : {std::pair{0, 70}, std::pair{140, 200}}) {
                CHECK(same_bits(slice(da[i], 1, begin, end), slice(db[i], 1, begin, end)));
              }
            }
          }
        }
      }
    }
  }
}

TEST_CASE("resets may be one row for all sequences, one each, or differ along later dimensions") {
  const Tensor x = random({2, 6, 3, 150}, 1);
  const Tensor row = marks(6, {2, 5});
  const auto scanned = [&](const Tensor& resets) {
    return cumsum(x, {.dim = 1, .resets = resets}).states;
  };
  const Tensor all = scanned(row);
  CHECK(same_bits(scanned(expand(row, {2, 6})), all));
  CHECK(same_bits(scanned(expand(unsqueeze(row, 0), {1, 6})), all));
  CHECK(same_bits(scanned(reshape(row, {1, 6, 1, 1})), all));
  CHECK(same_bits(scanned(clone(expand(reshape(row, {1, 6, 1, 1}), {2, 6, 3, 150}))), all));
  // Each sequence and channel by itself.
  const Tensor other = marks(6, {1, 4}), none = marks(6, {});
  const Tensor each = stack({stack({row, other, none}, 1), stack({none, row, other}, 1)});
  const Tensor got = scanned(unsqueeze(each, -1));  // (2, 6, 3, 1)
  for (std::int64_t b = 0; b < 2; ++b) {
    for (std::int64_t c = 0; c < 3; ++c) {
      const Tensor resets = select(select(each, 0, b), 1, c);
      const Tensor expected =
          cumsum(select(select(x, 0, b), 1, c), {.dim = 0, .resets = resets}).states;
      CHECK(same_bits(select(select(got, 0, b), 1, c), expected));
    }
  }
}

TEST_CASE("a reset at the first position drops the state of an earlier call, read forwards") {
  // So that a stream cut at the start of a document is the stream in one go.
  Tensor m = near_orthogonal({12, 2, 2}, 1);
  m.requires_grad_();
  const Tensor resets = marks(12, {5, 8});
  for (const std::int64_t cut : {4, 5, 6, 8}) {
    const ScanResult whole = matmul_scan(m, {.resets = resets});
    const ScanResult first = matmul_scan(slice(m, 0, 0, cut), {.resets = slice(resets, 0, 0, cut)});
    const ScanResult rest =
        matmul_scan(slice(m, 0, cut), {.initial = first.last, .resets = slice(resets, 0, cut)});
    const ScanResult joined{cat({first.states, rest.states}, 0), rest.last};
    INFO("cut at " << cut);
    CHECK(distance(joined.states, whole.states) < 1e-14);
    CHECK(distance(joined.last, whole.last) < 1e-14);
    CHECK(distance(grad(weighed(joined), m), grad(weighed(whole), m)) < 1e-13);
  }
  // Backwards the first position ends the last segment scanned: `last` is that segment's state.
  const ScanResult back = matmul_scan(m, {.reverse = true, .resets = marks(12, {0})});
  CHECK(same_bits(back.last, select(matmul_scan(m, {.reverse = true}).states, 0, 0)));
}
