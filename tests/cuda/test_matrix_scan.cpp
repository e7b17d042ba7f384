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

/// How far 2^e S is from the expected one, beside that one's size.
double scaled_distance(const Tensor& mantissa, const Tensor& exponent, const Tensor& mantissa_e,
                       const Tensor& exponent_e) {
  const Tensor by = cast(to(exponent, Device{}) - exponent_e, f64);
  const Tensor factor = unsqueeze(unsqueeze(pow(full({}, 2, {f64}), by), -1), -1);
  return distance(cast(to(mantissa, Device{}), f64) * factor, mantissa_e);
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
    copy_(input, m);
    work();
    const Tensor expected = states.detach(), expected_gradient = gradient;
    GraphCapture captured(Device::cuda(), work);
    for (int run = 0; run < 4; ++run) {
      copy_(input, run % 2 == 0 ? m * 0.5 : m);
      captured.run();
    }
    INFO("n " << n);
    CHECK(all(eq(states.detach(), expected)).item<bool>());
    CHECK(all(eq(gradient, expected_gradient)).item<bool>());
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
