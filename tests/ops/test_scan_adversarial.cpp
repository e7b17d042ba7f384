// What breaks scans that only look right: neighbours in one vector, tile boundaries, pieces of a
// stream, odd addresses. Every scan, every algorithm, with gradients.
#include <scangrad/tests/ops/scan_support.h>

#include <scangrad/autograd/engine.h>
#include <scangrad/ops/join.h>
#include <scangrad/ops/reduce.h>
#include <scangrad/tests/support/catch.h>
#include <scangrad/tests/support/devices.h>

using namespace scangrad;
using namespace scan_test;

namespace {

Tensor weighed(const ScanResult& r) {
  const Tensor states = where(isfinite(r.states), r.states, zeros_like(r.states));
  return sum(states * random(r.states.shape(), 51, 1, r.states.dtype())) +
         sum(r.last * random(r.last.shape(), 52, 1, r.last.dtype()));
}

/// Operands with a third of them zero (matrices: zero, or of rank 1).
Tensors singular(const AnyScan& scan, std::int64_t steps) {
  Tensors in = scan.operands(steps);
  for (Tensor& x : in) {
    auto values = x.to_vector<double>();
    for (std::size_t i = 0; i < values.size(); ++i) {
      if (i % 7 < 3) values[i] = 0;
    }
    x = from(values, x.shape());
  }
  return in;
}

}  // namespace

TEST_CASE("NaN and infinity in one sequence reach no other, forward or backward") {
  // Neighbouring sequences share a vector, a chunk and a thread.
  for (const AnyScan& scan : scans()) {
    for (const std::int64_t steps : {5, 700}) {
      Tensors one = scan.operands(steps);
      for (const double bad : {double(NAN), double(INFINITY), -double(INFINITY)}) {
        // Three copies of the operands' first sequence, along a dimension after T; the middle one
        // broken.
        Tensors clean, broken;
        for (const Tensor& x : one) {
          const Tensor sequence = slice(x, 0, 0, 1);
          const Tensor wrong = cat(
              {slice(sequence, 1, 0, 2), slice(sequence, 1, 2, 3) * bad, slice(sequence, 1, 3)}, 1);
          clean.push_back(stack({sequence, sequence, sequence}, 2).requires_grad_());
          broken.push_back(stack({sequence, wrong, sequence}, 2).requires_grad_());
        }
        for (const ScanAlgorithm algorithm : algorithms) {
          ScanOptions options{.dim = 1};
          options.algorithm = algorithm;
          INFO(scan.name << " " << name(algorithm) << " T " << steps << " " << bad);
          const ScanResult a = scan.run(broken, options), b = scan.run(clean, options);
          const Tensors da = grad({sum(a.states) + sum(a.last)}, broken);
          const Tensors db = grad({sum(b.states) + sum(b.last)}, clean);
          CHECK_FALSE(same_bits(select(a.states, 2, 1), select(b.states, 2, 1)));
          for (const std::int64_t i : {0, 2}) {
            CHECK(same_bits(select(a.states, 2, i), select(b.states, 2, i)));
            CHECK(same_bits(select(a.last, 1, i), select(b.last, 1, i)));
            for (std::size_t k = 0; k < da.size(); ++k) {
              CHECK(same_bits(select(da[k], 2, i), select(db[k], 2, i)));
            }
          }
        }
      }
    }
  }
}

TEST_CASE("lengths about every boundary of chunks, and of their number, come out alike") {
  // Chunks have 64 steps up to 4,096 of them, then there are 64 longer ones.
  for (const AnyScan& scan : scans()) {
    for (const std::int64_t steps :
         {63, 64, 65, 127, 128, 129, 511, 512, 513, 4095, 4096, 4097, 4160, 4161}) {
      Tensors in = scan.operands(steps);
      for (Tensor& x : in) x = slice(x, 0, 0, 1).requires_grad_();
      for (const bool reverse : {false, true}) {
        const auto run = [&](ScanAlgorithm algorithm) {
          ScanOptions options{.dim = 1, .reverse = reverse};
          options.algorithm = algorithm;
          return scan.run(in, options);
        };
        const ScanResult expected = run(ScanAlgorithm::sequential);
        const Tensors expected_gradients = grad({weighed(expected)}, in);
        for (const ScanAlgorithm algorithm : {ScanAlgorithm::chunked, ScanAlgorithm::automatic}) {
          INFO(scan.name << " " << name(algorithm) << " T " << steps << " reverse " << reverse);
          const ScanResult got = run(algorithm);
          CHECK(distance(got.states, expected.states) < 1e-11);
          CHECK(distance(got.last, expected.last) < 1e-11);
          const Tensors gradients = grad({weighed(got)}, in);
          for (std::size_t i = 0; i < in.size(); ++i) {
            CHECK(distance(gradients[i], expected_gradients[i]) < 1e-10);
          }
        }
      }
    }
  }
}

TEST_CASE("every scan fed in pieces is the scan in one go, gradients and segments included") {
  for (const AnyScan& scan : scans()) {
    for (const bool reverse : {false, true}) {
      for (const bool exclusive : {false, true}) {
        const std::int64_t steps = 140;
        Tensors in = scan.operands(steps);
        Shape state_shape = in.back().shape();
        state_shape.erase(1);
        in.push_back(random(state_shape, 3));
        for (Tensor& x : in) x.requires_grad_();
        Tensor resets = gt(random({steps}, 4), 1.5);
        const auto run = [&](std::int64_t begin, std::int64_t end, const Tensor& state) {
          Tensors part;
          for (const Tensor& x : in) part.push_back(slice(x, 1, begin, end));
          part.back() = state;
          return scan.run(part, {.dim = 1,
                                 .reverse = reverse,
                                 .exclusive = exclusive,
                                 .initial = state,
                                 .resets = slice(resets, 0, begin, end)});
        };
        // Backwards a piece does not know that the next one ends at its own first token.
        std::vector<std::pair<std::int64_t, std::int64_t>> bounds;
        const auto marks = resets.to_vector<double>();
        std::int64_t begin = 0;
        for (std::int64_t end = 1; end <= steps; ++end) {
          const bool boundary = end == steps || end - begin == 1 || end - begin == 67;
          if (!boundary) continue;
          if (reverse && end < steps && marks[static_cast<std::size_t>(end)] != 0) continue;
          bounds.emplace_back(begin, end);
          begin = end;
          if (bounds.size() > 4) break;
        }
        if (begin < steps) bounds.emplace_back(begin, steps);
        if (reverse) std::reverse(bounds.begin(), bounds.end());
        REQUIRE(bounds.size() > 2);
        Tensors pieces;
        Tensor state = in.back();
        for (const auto& [from, to] : bounds) {
          const ScanResult part = run(from, to, state);
          pieces.insert(reverse ? pieces.begin() : pieces.end(), part.states);
          state = part.last;
        }
        const ScanResult joined{cat(pieces, 1), state};
        const ScanResult whole = scan.run(in, {.dim = 1,
                                               .reverse = reverse,
                                               .exclusive = exclusive,
                                               .initial = in.back(),
                                               .resets = resets});
        INFO(scan.name << " reverse " << reverse << " exclusive " << exclusive);
        CHECK(distance(joined.states, whole.states) < 1e-12);
        CHECK(distance(joined.last, whole.last) < 1e-12);
        const Tensors a = grad({weighed(joined)}, in), b = grad({weighed(whole)}, in);
        for (std::size_t i = 0; i < in.size(); ++i) CHECK(distance(a[i], b[i]) < 1e-11);
      }
    }
  }
}

TEST_CASE("zeros and singular matrices have exact gradients, by either backward") {
  // Nothing divides or inverts: all algorithms agree with finite differences of the sequential one.
  for (const AnyScan& scan : scans()) {
    const std::string which = scan.name;
    if (which == "cummax" || which == "cummin") continue;  // ties: no derivative
    Tensors in = singular(scan, 9);
    for (Tensor& x : in) x.requires_grad_();
    const auto loss = [&](const Tensors& x, ScanAlgorithm algorithm) {
      ScanOptions options{.dim = 1};
      options.algorithm = algorithm;
      return weighed(scan.run(x, options));
    };
    for (std::size_t k = 0; k < in.size(); ++k) {
      const auto values = in[k].to_vector<double>();
      std::vector<double> slopes;
      for (std::size_t i = 0; i < values.size(); ++i) {
        double ends[2];
        for (const int side : {0, 1}) {
          auto moved = values;
          moved[i] += side ? 1e-6 : -1e-6;
          Tensors x = in;
          x[k] = from(moved, in[k].shape());
          ends[side] = loss(x, ScanAlgorithm::sequential).item<double>();
        }
        slopes.push_back((ends[1] - ends[0]) / 2e-6);
      }
      for (const ScanAlgorithm algorithm : algorithms) {
        for (const bool create_graph : {false, true}) {
          const Tensors d = grad({loss(in, algorithm)}, in, {.create_graph = create_graph});
          INFO(scan.name << " " << name(algorithm) << " operand " << k);
          CHECK(distance(d[k], from(slopes, in[k].shape())) < 1e-8);
        }
      }
    }
  }
}

TEST_CASE("data at an odd address is scanned like data at the start of a line") {
  // Vector loads that assume alignment fault, or read the neighbour.
  for (const DType dtype : {f32, f64, bf16}) {
    for (const std::int64_t n : {1, 3, 4, 8}) {
      const std::int64_t size = 2 * 70 * n * n;
      const Tensor m = near_orthogonal({2, 70, n, n}, 1, dtype);
      const Tensor storage = zeros({size + 3}, {dtype});
      for (const std::int64_t offset : {1, 3}) {
        Tensor shifted = slice(storage, 0, offset, offset + size);
        copy_(shifted, reshape(m, {size}));
        Tensor odd = reshape(shifted, m.shape());
        INFO(name(dtype) << " order " << n << " offset " << offset);
        REQUIRE(odd.is_contiguous());
        CHECK(same_bits(matmul_scan(odd, {.dim = 1}).states, matmul_scan(m, {.dim = 1}).states));
        CHECK(same_bits(cumsum(shifted, 0), cumsum(reshape(m, {size}), 0)));
        Tensor a = odd.detach().requires_grad_(), b = clone(m).requires_grad_();
        const Tensor da = grad(sum(matmul_scan(a, {.dim = 1}).states), a);
        CHECK(same_bits(da, grad(sum(matmul_scan(b, {.dim = 1}).states), b)));
      }
    }
  }
}

namespace {

bool of_scalars(const AnyScan& scan) {
  const std::string name = scan.name;
  return name != "matmul_scan" && name != "affine_scan";
}

/// States, last and the operands' gradients, on the CPU.
Tensors results(const AnyScan& scan, const Tensors& in, ScanOptions options, Device device) {
  Tensors leaves;
  for (const Tensor& x : in) leaves.push_back(to(x.detach(), device).requires_grad_());
  if (options.resets) options.resets = to(*options.resets, device);
  const ScanResult r = scan.run(leaves, options);
  const auto loss = [&](const Tensor& x) {
    return sum(where(isfinite(x), x, zeros_like(x)) * to(random(x.shape(), 51), device));
  };
  Tensors all = grad({loss(r.states) + loss(r.last)}, leaves);
  all.push_back(r.states);
  all.push_back(r.last);
  for (Tensor& x : all) x = to(x, Device{});
  return all;
}

}  // namespace

TEST_CASE("scans of scalars about the boundaries of a GPU's tiles, by rows and by columns") {
  // Rows: tiles of 1,024 or 2,048 doubles. Columns: runs of 8 steps, tiles of 64 to 2,048, of up to
  // 32 sequences. A chain of tiles has groups of 32.
  for (const AnyScan& scan : scans()) {
    if (!of_scalars(scan)) continue;
    for (const Device device : devices()) {
      for (const auto& [shape, dim] : reduced<std::pair<Shape, std::int64_t>>(
               {{{3, 1023}, 1},
                {{3, 1024}, 1},
                {{3, 1025}, 1},
                {{2, 2047}, 1},
                {{2, 2048}, 1},
                {{2, 2049}, 1},
                {{70000}, 0},
                {{900, 7}, 1},
                {{63, 33}, 0},
                {{64, 32}, 0},
                {{65, 31}, 0},
                {{2100, 2}, 0},
                {{8, 300}, 0},
                {{9, 257}, 0}},
               {{{2, 2049}, 1}, {{70000}, 0}, {{65, 31}, 0}, {{9, 257}, 0}})) {
        Tensors in = scan.operands(2);
        for (std::size_t i = 0; i < in.size(); ++i) {
          const bool factors = in.size() > 1 && i == 0;
          in[i] = scan.name == std::string("cumprod")
                      ? random(shape, 1, 0.002) + 1.0
                      : random(shape, static_cast<unsigned>(i), factors ? 0.5 : 1.0);
        }
        for (int setting = 0; setting < 8; setting += compute_sanitizer() ? 3 : 1) {
          ScanOptions options{
              .dim = dim, .reverse = bool(setting & 1), .exclusive = bool(setting & 2)};
          if (setting & 4) options.resets = gt(random({shape[static_cast<int>(dim)]}, 4), 2.0);
          INFO(scan.name << " (" << shape[0] << ", …) of rank " << shape.rank() << " setting "
                         << setting);
          const Tensors got = results(scan, in, options, device);
          options.algorithm = ScanAlgorithm::sequential;
          const Tensors expected = results(scan, in, options, Device{});
          for (std::size_t i = 0; i < got.size(); ++i) CHECK(distance(got[i], expected[i]) < 1e-9);
        }
      }
    }
  }
}

TEST_CASE("NaN in one row reaches no other, and rows at odd addresses are scanned alike") {
  for (const AnyScan& scan : scans()) {
    if (!of_scalars(scan)) continue;
    for (const Device device : devices()) {
      for (const std::int64_t steps : {1, 5, 257, 2049}) {
        INFO(scan.name << " T " << steps);
        Tensors clean, broken, odd;
        for (const Tensor& x : scan.operands(steps)) {
          const Tensor row = reshape(slice(x, 0, 0, 1), {steps * 3});
          clean.push_back(reshape(cat({row, row, row}, 0), {9, steps}));
          broken.push_back(reshape(cat({row, row * NAN, row}, 0), {9, steps}));
          const Tensor storage = zeros({9 * steps + 1}, {f64});
          Tensor shifted = slice(storage, 0, 1);
          copy_(shifted, reshape(clean.back(), {9 * steps}));
          odd.push_back(reshape(shifted, {9, steps}));
        }
        const Tensors a = results(scan, clean, {.dim = 1}, device),
                      b = results(scan, broken, {.dim = 1}, device),
                      c = results(scan, odd, {.dim = 1}, device);
        for (std::size_t i = 0; i < a.size(); ++i) {
          CHECK(distance(c[i], a[i]) == 0);
          for (const std::int64_t begin : {0, 6}) {
            CHECK(distance(slice(b[i], 0, begin, begin + 3), slice(a[i], 0, begin, begin + 3)) <
                  1e-12);
          }
        }
      }
    }
  }
}
