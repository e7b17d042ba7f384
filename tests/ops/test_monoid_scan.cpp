// Monoids of a user's own: the examples' structs, held against associative_scan of the same
// operation and against finite differences, with every option.
#include <scangrad/tests/ops/monoid_scans.h>
#include <scangrad/tests/ops/scan_support.h>

#include <scangrad/autograd/engine.h>
#include <scangrad/autograd/gradcheck.h>
#include <scangrad/core/error.h>
#include <scangrad/ops/creation.h>
#include <scangrad/ops/join.h>
#include <scangrad/ops/reduce.h>
#include <scangrad/tests/support/catch.h>
#include <scangrad/tests/support/devices.h>

using namespace scangrad;
using namespace scan_test;

namespace {

using Scan = std::function<ScanResult(const Tensor&, const ScanOptions&)>;

/// A monoid, and the same operation written with tensors (…, size).
struct Case {
  const char* name;
  std::int64_t size;
  Scan scan;
  ScanCombine combine;
  Tensor identity;
};

Tensors rotate(const Tensors& l, const Tensors& r) {
  const auto part = [](const Tensor& z, std::int64_t i) { return slice(z, -1, i, i + 1); };
  const Tensor a = part(l[0], 0), b = part(l[0], 1), c = part(r[0], 0), d = part(r[0], 1);
  return {cat({a * c - b * d, a * d + b * c}, -1)};
}
/// l_ik + r_kj, (…, i, k, j).
Tensor sums(const Tensors& l, const Tensors& r) {
  return unsqueeze(unflatten(l[0], -1, {3, 3}), -1) + unsqueeze(unflatten(r[0], -1, {3, 3}), -3);
}
Tensors log_sum_exp(const Tensors& l, const Tensors& r) {
  return {flatten(logsumexp(sums(l, r), {-2}), -2)};
}
Tensors max_plus(const Tensors& l, const Tensors& r) {
  return {flatten(amax(sums(l, r), {-2}), -2)};
}

std::vector<Case> cases() {
  const double no = -INFINITY;
  const Tensor diagonal = from<double>({0, no, no, no, 0, no, no, no, 0}, {9});
  return {{"rotation", 2, monoid_scans::rotation, rotate, from<double>({1, 0}, {2})},
          {"log-sum-exp", 9, monoid_scans::log_sum_exp, log_sum_exp, diagonal},
          {"max-plus", 9, monoid_scans::max_plus, max_plus, diagonal}};
}

/// Elements that keep products of order 1.
Tensor elements(const Case& c, const Shape& shape, unsigned seed) {
  const Tensor x = random(shape, seed);
  if (c.size > 2) return x;
  const Tensor angle = slice(x, -1, 0, 1);
  return cat({cos(angle), sin(angle)}, -1);
}

/// The −∞ that a segment of scores begins with aside.
Tensor weighed(const ScanResult& r) {
  const Tensor states = where(isfinite(r.states), r.states, zeros_like(r.states));
  return sum(states * random(r.states.shape(), 51)) + sum(r.last * random(r.last.shape(), 52));
}

}  // namespace

TEST_CASE("a user's monoid is associative_scan of its operation, for every option and algorithm") {
  for (const Case& c : cases()) {
    for (const std::int64_t steps : {1, 2, 63, 64, 65, 130}) {
      Tensor x = elements(c, {2, steps, 3, c.size}, 1), initial = elements(c, {2, 3, c.size}, 2);
      x.requires_grad_();
      initial.requires_grad_();
      for (int setting = 0; setting < 16; ++setting) {
        const bool reverse = setting & 1, exclusive = setting & 2, starts = setting & 4;
        const std::int64_t cut = setting & 8 ? steps / 2 : 0;  // a segment starts there
        // The oracle scans the two segments by themselves.
        const auto expected = [&] {
          Tensors pieces;
          Tensor last;
          for (const auto& [begin, end] : {std::pair<std::int64_t, std::int64_t>{0, cut},
                                           std::pair<std::int64_t, std::int64_t>{cut, steps}}) {
            if (begin == end) continue;
            const bool first = reverse ? end == steps : begin == 0;
            const Tensor start = starts && first ? initial : expand(c.identity, {2, 3, c.size});
            const auto part = associative_scan(
                c.combine, {slice(x, 1, begin, end)},
                {.dim = 1, .reverse = reverse, .exclusive = exclusive, .initial = {start}});
            pieces.push_back(part.states[0]);
            if (reverse ? begin == 0 : end == steps) last = part.last[0];
          }
          return ScanResult{cat(pieces, 1), last};
        };
        const Tensors by = starts ? Tensors{x, initial} : Tensors{x};
        const ScanResult right = expected();
        const Tensors right_gradients = grad({weighed(expected())}, by);
        for (const ScanAlgorithm algorithm : algorithms) {
          ScanOptions options{.dim = 1, .reverse = reverse, .exclusive = exclusive};
          if (starts) options.initial = initial;
          if (cut > 0) {
            options.resets = eq(arange(0, static_cast<double>(steps)), double(cut));
          }
          options.algorithm = algorithm;
          const ScanResult got = c.scan(x, options);
          INFO(c.name << " " << name(algorithm) << " T " << steps << " setting " << setting);
          CHECK(distance(got.states, right.states) < 1e-12);
          CHECK(distance(got.last, right.last) < 1e-12);
          const Tensors gradients = grad({weighed(got)}, by);
          for (std::size_t i = 0; i < by.size(); ++i) {
            CHECK(distance(gradients[i], right_gradients[i]) < 1e-11);
          }
        }
      }
    }
  }
}

TEST_CASE("few long sequences of a user's monoid in chunks are those walked step by step") {
  // On CUDA chunks begin at 256 steps; they have 32 up to 1,024 of them.
  for (const Device device : devices()) {
    for (const Case& c : cases()) {
      for (const std::int64_t steps :
           reduced<std::int64_t>({255, 256, 257, 1023, 1025}, {255, 257, 1025})) {
        const Tensor x = to(elements(c, {2, steps, c.size}, 1), device).requires_grad_();
        const Tensor initial = to(elements(c, {2, c.size}, 2), device).requires_grad_();
        for (int setting = 0; setting < 16; setting += compute_sanitizer() ? 5 : 1) {
          ScanOptions options{
              .dim = 1, .reverse = bool(setting & 1), .exclusive = bool(setting & 2)};
          if (setting & 4) options.initial = initial;
          if (setting & 8) options.resets = to(gt(random({steps}, 4), 2.0), device);
          const auto run = [&](ScanAlgorithm algorithm) {
            options.algorithm = algorithm;
            const ScanResult r = c.scan(x, options);
            const Tensor states = where(isfinite(r.states), r.states, zeros_like(r.states));
            const Tensor d = grad(sum(square(states)) + sum(square(r.last)), x);
            return Tensors{r.states, r.last, d};
          };
          const Tensors one = run(ScanAlgorithm::sequential), other = run(ScanAlgorithm::automatic);
          INFO(c.name << " T " << steps << " setting " << setting);
          for (std::size_t i = 0; i < one.size(); ++i) CHECK(distance(other[i], one[i]) < 1e-10);
        }
      }
    }
  }
}

TEST_CASE("a user's monoid passes gradcheck, in every dimension and dtype, fed in pieces too") {
  for (const Case& c : cases()) {
    INFO(c.name);
    Tensor x = elements(c, {3, 5, c.size}, 1), initial = elements(c, {5, c.size}, 2);
    x.requires_grad_();
    initial.requires_grad_();
    const auto scan = [&](const Tensors& in) {
      const ScanResult r = c.scan(in[0], {.initial = in[1]});
      return Tensors{r.states, r.last};
    };
    CHECK_NOTHROW(gradcheck(scan, {x, initial}));
    const ScanResult whole = c.scan(x, {.initial = initial});
    const ScanResult first = c.scan(slice(x, 0, 0, 2), {.initial = initial});
    const ScanResult rest = c.scan(slice(x, 0, 2), {.initial = first.last});
    const ScanResult joined{cat({first.states, rest.states}, 0), rest.last};
    CHECK(distance(joined.states, whole.states) < 1e-14);
    const Tensors a = grad({weighed(whole)}, {x, initial}),
                  b = grad({weighed(joined)}, {x, initial});
    for (std::size_t i = 0; i < 2; ++i) CHECK(distance(a[i], b[i]) < 1e-13);
    // Views, and the other dtypes.
    CHECK(distance(c.scan(transpose(x, 0, 1), {.dim = 1}).last, c.scan(x, {}).last) == 0);
    for (const auto& [dtype, tolerance] : {std::pair{f32, 1e-5}, std::pair{bf16, 0.05}}) {
      CHECK(distance(cast(c.scan(cast(x, dtype), {}).states, f64), c.scan(x, {}).states) <
            tolerance);
    }
    // Nothing to scan ends at the identity.
    const Tensor none = c.scan(zeros({2, 0, c.size}, {f64}), {.dim = 1}).last;
    CHECK(same_bits(none, clone(expand(c.identity, {2, c.size}))));
  }
}

TEST_CASE("monoid_scan says what is wrong with its arguments") {
  CHECK_THROWS_WITH(monoid_scans::rotation(zeros({5, 3})),
                    "rotation_scan: shape [5,3] is not [..., T, ..., 2], a dimension to scan and "
                    "elements of 2 values");
  CHECK_THROWS_WITH(
      monoid_scans::rotation(zeros({5, 2}), {.dim = 1}),
      "rotation_scan: dim 1 is one of the last 1 of shape [5,2], which hold an element");
  CHECK_THROWS_AS(monoid_scans::rotation(zeros({5, 2}, {i64})), DTypeError);
  CHECK_THROWS_AS(monoid_scans::rotation(zeros({5, 2}), {.initial = zeros({3})}), ShapeError);
  Tensor x = ones({5, 2});
  x.requires_grad_();
  const Tensor y = sum(monoid_scans::rotation(x).last);
  CHECK_THROWS_WITH(grad(y, x, {.create_graph = true}),
                    ContainsSubstring("rotation_scan: there is no second derivative"));
}
