// Scans of matrices on the device: by tiles that several blocks may share, of padded orders.
// Whatever the order, the length and the options, states and gradients are those of a plain loop in
// float64.
#include <scangrad/autograd/engine.h>
#include <scangrad/core/graph_capture.h>
#include <scangrad/ops/creation.h>
#include <scangrad/ops/elementwise.h>
#include <scangrad/ops/join.h>
#include <scangrad/ops/matrix_form.h>
#include <scangrad/ops/reduce.h>
#include <scangrad/tests/ops/scan_support.h>
#include <scangrad/tests/support/catch.h>
#include <scangrad/tests/support/devices.h>

#include <array>
#include <string>

using namespace scangrad;
using namespace scan_test;

namespace {

struct Case {
  const char* name;
  std::int64_t sequences, steps, inner, order, rows;  // rows: of affine_scan's states; 0: a product
};

std::string text(const Case& c) {
  return std::string(c.name) + " S " + std::to_string(c.sequences) + " T " +
         std::to_string(c.steps) + " inner " + std::to_string(c.inner) + " n " +
         std::to_string(c.order) + " rows " + std::to_string(c.rows);
}

Tensors operands_of(const Case& c) {
  const Tensor a = near_orthogonal({c.sequences, c.steps, c.inner, c.order, c.order}, 1);
  if (c.rows == 0) return {a};
  return {a * 0.9, random({c.sequences, c.steps, c.inner, c.rows, c.order}, 2)};
}
Tensor initial_of(const Case& c) {
  return random({c.sequences, c.inner, c.rows == 0 ? c.order : c.rows, c.order}, 3);
}

Tensors results(const Tensors& in, const Tensor& initial, const ScanOptions& options, Device device,
                DType dtype, DType values) {
  const Scan scan = in.size() == 2 ? of_two<affine_scan> : of_one<matmul_scan>;
  return scan_results(scan, in, initial, options, device, dtype, values);
}

double worst(const Tensors& got, const Tensors& expected) {
  double most = 0;
  for (std::size_t i = 0; i < got.size(); ++i) most = std::max(most, distance(got[i], expected[i]));
  return most;
}

void check(const Case& c, ScanOptions options, bool starts, bool resets, double loosened = 1) {
  const Tensors in = operands_of(c);
  const Tensor initial = starts ? initial_of(c) : Tensor{};
  if (resets) options.resets = gt(random({c.sequences, c.steps}, 4), 1.7);  // one in 22
  for (const auto& [dtype, tolerance] : {std::pair{f64, 1e-11}, {f32, 1e-5}, {bf16, 2e-2}}) {
    options.algorithm = ScanAlgorithm::sequential;
    const Tensors expected = results(in, initial, options, Device{}, f64, dtype);
    options.algorithm = ScanAlgorithm::automatic;
    INFO(text(c) << " " << name(dtype) << (options.reverse ? " reverse" : "")
                 << (options.exclusive ? " exclusive" : "") << (starts ? " initial" : "")
                 << (resets ? " resets" : ""));
    CHECK(worst(results(in, initial, options, Device::cuda(), dtype, dtype), expected) <
          tolerance * loosened);
  }
}

}  // namespace

TEST_CASE("cuda: matrix scans of every order, with every option, are the plain loop's") {
  if (!has_cuda()) return;
  int setting = 0;
  const int settings = compute_sanitizer() ? 2 : 4;
  for (const std::int64_t n : {1, 2, 3, 4, 5, 7, 8, 9, 12, 15, 16, 17, 24, 31, 32, 33}) {
    for (const std::int64_t steps : reduced<std::int64_t>({3, 4, 5, 37, 130}, {5, 37})) {
      for (int i = 0; i < settings; ++i, setting = (setting + 5) % 16) {
        const ScanOptions options{
            .dim = 1, .reverse = (setting & 1) != 0, .exclusive = (setting & 2) != 0};
        check({"product", 2, steps, 1 + i % 2, n, 0}, options, setting & 4, setting & 8);
        check({"affine", 2, steps, 1 + i % 2, n, i % 2 == 0 ? n : std::min<std::int64_t>(n, 5)},
              options, setting & 4, setting & 8);
      }
    }
  }
}

// Some 42 to 66 sequences are shared by two blocks each, which hand the state to each other, on 132
// multiprocessors; fewer, of order up to 16, by rings of up to eight, and where those would leave
// many blocks idle, rings have parts of sequences, one of one sequence or several of two; or blocks
// take a segment each; and so are those that are left over when each block has had as many.
TEST_CASE("cuda: few long matrix scans, shared by many blocks, are the plain loop's") {
  if (!has_cuda()) return;
  int setting = 0;
  for (const auto& [sequences, steps, inner, n] : reduced<std::array<std::int64_t, 4>>(
           {{1, 1000, 1, 8},  {1, 2049, 1, 4},   {3, 1025, 1, 16}, {2, 5000, 1, 3},
            {1, 700, 1, 32},  {5, 333, 1, 16},   {1, 257, 1, 20},  {64, 129, 1, 8},
            {200, 40, 1, 8},  {140, 200, 1, 16}, {134, 700, 1, 8}, {70, 64, 1, 32},
            {20, 400, 1, 16}, {45, 90, 1, 5},    {66, 150, 1, 32}, {8, 3000, 1, 16},
            {4, 1300, 2, 8},  {4, 700, 3, 16},   {15, 481, 1, 16}, {15, 479, 1, 12},
            {30, 500, 1, 16}, {3, 6000, 1, 8}},
           {{1, 600, 1, 8},  // rings
            {1, 400, 1, 16},
            {2, 130, 6, 16},
            {3, 500, 1, 16},    // rings with segments
            {1, 250, 1, 32},    // segments
            {140, 12, 1, 16},   // more sequences than blocks
            {140, 130, 1, 16},  // 8 of them shared out apart
            {2, 60, 1, 8},      // a pair of blocks each
            {2, 60, 1, 16},
            {2, 40, 1, 32}})) {
    for (int i = 0; i < 3; ++i, setting = (setting + 7) % 16) {
      const ScanOptions options{
          .dim = 1, .reverse = (setting & 1) != 0, .exclusive = (setting & 2) != 0};
      check({"product", sequences, steps, inner, n, 0}, options, setting & 4, setting & 8, 4);
      check({"affine", sequences, steps, inner, n, n}, options, setting & 4, setting & 8, 4);
    }
  }
}

TEST_CASE("cuda: NaN and ∞ in one sequence, or before a reset, stay there") {
  if (!has_cuda()) return;
  for (const std::int64_t n : {4, 8, 16, 32}) {
    const std::int64_t steps = 600;
    const Tensor clean = near_orthogonal({3, steps, n, n}, 1);
    for (const double bad : {NAN, INFINITY}) {
      // In sequence 1 at step 200; a segment begins at 301 in each.
      Tensor broken = clone(clean), resets = zeros({steps}, {bool_});
      Tensor place = broken.as_strided({n, n}, {n, 1}, (steps + 200) * n * n);
      copy_(place, full({n, n}, bad, {f64}));
      Tensor start = slice(resets, 0, 301, 302);
      copy_(start, ones({1}, {bool_}));
      const ScanOptions options{.dim = 1, .resets = resets};
      const Tensors a = results({clean}, {}, options, Device::cuda(), f32, f32);
      const Tensors b = results({broken}, {}, options, Device::cuda(), f32, f32);
      INFO("n " << n << " " << bad);
      for (std::size_t i = 0; i < 2; ++i) {  // the gradient, and the states
        for (const std::int64_t s : {0, 2}) {
          CHECK(same_bits(select(a[i], 0, s), select(b[i], 0, s)));
        }
        CHECK(same_bits(slice(select(a[i], 0, 1), 0, 301), slice(select(b[i], 0, 1), 0, 301)));
      }
      CHECK(same_bits(slice(select(a[1], 0, 1), 0, 0, 200), slice(select(b[1], 0, 1), 0, 0, 200)));
      CHECK_FALSE(all(isfinite(select(b[1], 0, 1))).item<bool>());
    }
  }
}

TEST_CASE("cuda: a matrix scan gives the same bits each time, whatever the address") {
  if (!has_cuda()) return;
  const int times = compute_sanitizer() ? 1 : 10;
  for (const auto& [sequences, steps, n] : reduced<std::array<std::int64_t, 3>>(
           {{2, 3000, 16}, {300, 70, 8}, {8, 500, 32}, {50, 300, 16}, {12, 900, 16}},
           {{2, 400, 16}, {300, 20, 8}, {2, 250, 32}, {50, 60, 16}})) {
    const Tensors in{near_orthogonal({sequences, steps, n, n}, 1)};
    const Tensors once = results(in, {}, {.dim = 1}, Device::cuda(), f32, f32);
    for (int i = 0; i < times; ++i) {
      const Tensors again = results(in, {}, {.dim = 1}, Device::cuda(), f32, f32);
      for (std::size_t k = 0; k < once.size(); ++k) CHECK(same_bits(again[k], once[k]));
    }
    // One element further on, where nothing can be read 16 bytes at a time.
    const Tensor m = cast(to(in[0], Device::cuda()), f32);
    const Tensor memory = cat({zeros({1}, m.options()), reshape(m, {-1})}, 0);
    const Tensor odd = reshape(slice(memory, 0, 1), m.shape());
    CHECK(same_bits(to(matmul_scan(odd, {.dim = 1}).states, Device{}),
                    to(matmul_scan(m, {.dim = 1}).states, Device{})));
  }
}

// Two kernels, the second of which starts early and waits itself.
TEST_CASE("cuda: a captured scan of few long sequences gives what it gives otherwise") {
  if (!has_cuda()) return;
  const std::int64_t steps = compute_sanitizer() ? 1000 : 3000;
  for (const std::int64_t n : {8, 16, 32}) {
    const Tensor m =
        cast(to(eye(n, {f64}) + random({8, steps, n, n}, 1, 0.01), Device::cuda()), f32);
    const Tensor x = zeros_like(m).requires_grad_();
    Tensor states, gradient;
    const auto work = [&] {
      states = matmul_scan(x, {.dim = 1}).states;
      gradient = grad(Tensors{states}, Tensors{x}, {.grad_outputs = {ones_like(m)}})[0];
    };
    Tensor input = x.detach();
    const Tensors inputs{m * 0.5, m};
    std::vector<Tensors> expected;
    for (const Tensor& its : inputs) {
      copy_(input, its);
      work();
      expected.push_back({states.detach(), gradient});
    }
    GraphCapture captured(Device::cuda(), work);
    for (std::size_t run = 0; run < 6; ++run) {  // the first two are not a graph's
      copy_(input, inputs[run % 2]);
      captured.run();
      INFO("n " << n << " run " << run);
      CHECK(all(eq(states.detach(), expected[run % 2][0])).item<bool>());
      CHECK(all(eq(gradient, expected[run % 2][1])).item<bool>());
    }
  }
}

TEST_CASE("cuda: a scan of elements is the scan of the matrices that are made of them") {
  if (!has_cuda()) return;
  for (const MatrixForm form : {MatrixForm::identity, MatrixForm::ldu}) {
    for (const std::int64_t n : {1, 3, 4, 8, 11, 16, 17}) {
      for (const auto& [sequences, steps] : reduced<std::array<std::int64_t, 2>>(
               {{2, 3}, {2, 37}, {140, 37}, {2, 300}, {2, 2000}}, {{2, 37}, {2, 600}})) {
        for (int setting = 0; setting < 8; setting += compute_sanitizer() ? 3 : 1) {
          if ((steps == 2000 || sequences > 2) && setting != 5) continue;
          ScanOptions options{
              .dim = 1, .reverse = (setting & 1) != 0, .exclusive = (setting & 2) != 0};
          if (setting & 4) options.resets = gt(random({steps}, 4), 1.5);
          const Scan scan = [&](const Tensors& in, const ScanOptions& o) {
            return form_scan(in[0], form, o);
          };
          const Tensor x =
              random({sequences, steps, n, n}, 1, 0.3 / std::sqrt(static_cast<double>(n * steps)));
          const Tensor initial = random({sequences, n, n}, 2);
          INFO((form == MatrixForm::ldu ? "ldu" : "identity")
               << " n " << n << " S " << sequences << " T " << steps << " setting " << setting);
          CHECK(worst(scan_results(scan, {x}, initial, options, Device::cuda(), f32, f64),
                      scan_results(scan, {x}, initial, options, Device{}, f64, f64)) < 2e-5);
        }
      }
    }
  }
}

TEST_CASE("cuda: a scan of elements that want no gradient has the initial state's") {
  if (!has_cuda()) return;
  for (const MatrixForm form : {MatrixForm::identity, MatrixForm::ldu}) {
    const Tensor x = cast(to(random({2, 300, 16, 16}, 1, 0.01), Device::cuda()), f32);
    const Tensor leaf = x.detach().requires_grad_();
    const Tensor initial =
        cast(to(random({2, 16, 16}, 2), Device::cuda()), f32).detach().requires_grad_();
    const auto gradient = [&](const Tensor& elements) {
      const ScanResult r = form_scan(elements, form, {.dim = 1, .initial = initial});
      return grad(Tensors{sum(r.states) + sum(square(r.last))}, Tensors{initial})[0];
    };
    CHECK(distance(to(gradient(x), Device{}), cast(to(gradient(leaf), Device{}), f64)) < 1e-6);
  }
}
