// Scans of more elements than 32 bits can count: 2^31 in float32, 2^32 in bfloat16. What they scan
// are signs and signed permutations, whose sums and products are integers, and exact in whatever
// order they are taken: a part of the states, and of the gradients, is to the bit what the scan of
// that part alone gives. An overflow would bring values from elsewhere, or leave places unwritten.
#include <scangrad/autograd/engine.h>
#include <scangrad/autograd/grad_mode.h>
#include <scangrad/core/error.h>
#include <scangrad/ops/creation.h>
#include <scangrad/ops/index.h>
#include <scangrad/ops/random.h>
#include <scangrad/ops/reduce.h>
#include <scangrad/tests/ops/scan_support.h>
#include <scangrad/tests/support/catch.h>
#include <scangrad/tests/support/devices.h>

#include <array>
#include <numeric>

using namespace scangrad;
using namespace scan_test;

namespace {

/// Whether there is memory for so many of the largest tensors, of 9 GiB each; says so where not.
bool has_room(std::int64_t tensors) {
  if (compute_sanitizer()) {
    WARN("left out under compute-sanitizer: more than 2^31 elements take too long");
    SUCCEED();  // a case that checks nothing does not count as passed there
    return false;
  }
  try {
    empty({tensors * (std::int64_t{9} << 30)}, {bool_, Device::cuda()});
    return true;
  } catch (const MemoryError& error) {
    WARN("left out for want of memory: " << error.what());
    return false;
  }
}

Tensor signs(const Shape& shape, DType dtype) {
  return sign(uniform(shape, {dtype, Device::cuda()}, -1, 1));
}

/// (…, 8, 8) matrices that have in each row and column one element, `size` or −size.
Tensor signed_permutations(Shape shape, float size = 1) {
  constexpr std::int64_t n = 8, kinds = 64;
  std::mt19937 engine(1);
  std::array<std::size_t, n> column;
  std::iota(column.begin(), column.end(), 0);
  std::vector<float> values(kinds * n * n, 0.0f);
  for (std::size_t row = 0; row < kinds * n; ++row) {
    if (row % n == 0) std::shuffle(column.begin(), column.end(), engine);
    values[row * n + column[row % n]] = engine() % 2 == 0 ? size : -size;
  }
  const Tensor kind = randint(0, kinds, shape, {i32, Device::cuda()});
  shape.push_back(n);
  shape.push_back(n);
  return reshape(embedding(kind, from(values, {kinds, n * n}, Device::cuda())), shape);
}

bool equal(const Tensor& a, const Tensor& b) {
  return a.shape() == b.shape() && all(eq(a, b)).item<bool>();
}

/// A scan along dimension 0 or 1 of operands (S, T, …) or (T, S, …), the last of which has the
/// states' shape, and the gradients of its results.
struct Work {
  Scan scan;
  ScanOptions options;
  Tensors in;
  Tensor initial, g, g_last;
};
Work work_of(const Scan& scan, const ScanOptions& options, const Tensors& in) {
  const Shape shape = in.back().shape();
  const DType dtype = in.back().dtype();
  Shape state = shape;
  state.erase(static_cast<int>(options.dim));
  return {scan, options, in, signs(state, dtype), signs(shape, dtype), signs(state, dtype)};
}
/// The operands' eighth `i` along dimension `dim`.
Tensor eighth(const Tensor& x, std::int64_t dim, int i) {
  return slice(x, dim, x.size(dim) * i / 8, x.size(dim) * (i + 1) / 8);
}
Work eighth(const Work& all, std::int64_t dim, int i) {
  Work part = all;
  for (Tensor& x : part.in) x = eighth(x, dim, i);
  part.g = eighth(part.g, dim, i);
  return part;
}

struct Results {
  Tensors of_steps;  // the operands' gradients and the states
  Tensor last, d_initial;
};
Results results(const Work& work) {
  Tensors leaves = work.in;
  leaves.push_back(work.initial);
  for (Tensor& x : leaves) x = x.detach().requires_grad_();
  ScanOptions options = work.options;
  options.initial = leaves.back();
  const ScanResult r = work.scan(leaves, options);
  Results all{grad({r.states, r.last}, leaves, {.grad_outputs = {work.g, work.g_last}}),
              r.last.detach(),
              {}};
  all.d_initial = all.of_steps.back();
  all.of_steps.back() = r.states.detach();
  return all;
}
void check_steps(const Results& part, const Results& all, std::int64_t dim, int i) {
  for (std::size_t k = 0; k < part.of_steps.size(); ++k) {
    INFO("eighth " << i << " result " << k << " of " << part.of_steps.size());
    CHECK(equal(part.of_steps[k], eighth(all.of_steps[k], dim, i)));
  }
}

/// Every eighth of the sequences.
void check_sequences(const Work& all) {
  const std::int64_t across = 1 - all.options.dim;
  INFO("shape " << to_string(all.in[0].shape()) << " dim " << all.options.dim);
  const Results expected = results(all);
  for (int i = 0; i < 8; ++i) {
    Work part = eighth(all, across, i);
    for (Tensor* state : {&part.initial, &part.g_last}) *state = eighth(*state, 0, i);
    const Results got = results(part);
    check_steps(got, expected, across, i);
    CHECK(equal(got.last, eighth(expected.last, 0, i)));
    CHECK(equal(got.d_initial, eighth(expected.d_initial, 0, i)));
  }
}

/// Every eighth of the steps, which begins where the one before it ends; and so do gradients, from
/// the last one on.
void check_pieces(const Work& all) {
  const std::int64_t along = all.options.dim;
  INFO("shape " << to_string(all.in[0].shape()) << " in pieces");
  const Results expected = results(all);
  Tensors initial{all.initial};
  for (int i = 0; i < 7; ++i) {
    const auto guard = no_grad();
    ScanOptions options = all.options;
    options.initial = initial.back();
    initial.push_back(all.scan(eighth(all, along, i).in, options).last);
  }
  Tensor g_last = all.g_last;
  for (int i = 7; i >= 0; --i) {
    Work piece = eighth(all, along, i);
    piece.initial = initial[static_cast<std::size_t>(i)];
    piece.g_last = g_last;
    const Results got = results(piece);
    check_steps(got, expected, along, i);
    if (i == 7) CHECK(equal(got.last, expected.last));
    g_last = got.d_initial;
  }
  CHECK(equal(g_last, expected.d_initial));
}

/// Along dimension 1, of matrices of size 2: the exponents are the numbers of the steps.
ScanResult scaled_scan(const Tensors& in, const ScanOptions& options) {
  const auto [states, exponents, last, last_exponent] = matmul_scan_scaled(in[0], options);
  const auto steps = static_cast<double>(exponents.size(1));
  const Tensor numbers = arange(1, steps + 1, 1, exponents.options());
  CHECK(equal(exponents, expand(numbers, exponents.shape())));
  return {states, last};
}

}  // namespace

TEST_CASE("cuda: cumsum of more than 2^32 elements, along rows and columns, is that of its parts") {
  if (!has_cuda() || !has_room(6)) return;
  for (const std::int64_t steps : {1 << 20, 1049003}) {
    const Tensor x = signs({4500, steps}, bf16);
    check_sequences(work_of(of_one<cumsum>, {.dim = 1, .reverse = steps % 2 != 0}, {x}));
    check_sequences(work_of(of_one<cumsum>, {.dim = 0, .exclusive = true}, {x}));
  }
  const Tensor x = signs({1049003, 4500}, bf16);
  check_sequences(work_of(of_one<cumsum>, {.dim = 0}, {x}));
  const Tensor resets = gt(uniform({4500}, {f32, Device::cuda()}), 0.99);
  check_sequences(work_of(of_one<cumsum>, {.dim = 1, .resets = resets}, {x}));
}

TEST_CASE("cuda: cumsum of one row of more than 2^31 elements is that of its pieces") {
  if (!has_cuda() || !has_room(5)) return;
  check_pieces(work_of(of_one<cumsum>, {.dim = 1}, {signs({1, 2360000003}, f32)}));
}

TEST_CASE("cuda: linear_scan of more than 2^32 elements is that of its parts") {
  if (!has_cuda() || !has_room(7)) return;
  for (const std::int64_t dim : {0, 1}) {
    const Shape shape = dim == 0 ? Shape{1049003, 4500} : Shape{4500, 1049003};
    check_sequences(work_of(of_two<linear_scan>, {.dim = dim, .exclusive = dim == 0},
                            {signs(shape, bf16), signs(shape, bf16)}));
  }
}

TEST_CASE("cuda: linear_scan of one row of more than 2^31 elements is that of its pieces") {
  if (!has_cuda() || !has_room(7)) return;
  const Shape shape{1, 2360000003};
  check_pieces(work_of(of_two<linear_scan>, {.dim = 1}, {signs(shape, f32), signs(shape, f32)}));
}

// Many sequences, each a block's; few, each shared by blocks; and one. 64 elements a matrix.
TEST_CASE("cuda: matmul_scan of more than 2^31 elements is that of its parts") {
  if (!has_cuda() || !has_room(5)) return;
  const Scan scan = of_one<matmul_scan>;
  check_sequences(work_of(scan, {.dim = 1}, {signed_permutations({36000, 1025})}));
  check_sequences(work_of(scan, {.dim = 0, .reverse = true}, {signed_permutations({1025, 36000})}));
  check_sequences(work_of(scan, {.dim = 1}, {signed_permutations({60, 615001})}));
  check_pieces(work_of(scan, {.dim = 1}, {signed_permutations({1, 36900001})}));
}

TEST_CASE("cuda: matmul_scan of more than 2^31 matrices is that of its parts") {
  if (!has_cuda() || !has_room(5)) return;
  check_sequences(work_of(of_one<matmul_scan>, {.dim = 1}, {signs({36000, 65600, 1, 1}, f32)}));
}

TEST_CASE("cuda: matmul_scan_scaled of more than 2^31 elements is that of its parts") {
  if (!has_cuda() || !has_room(5)) return;
  check_sequences(work_of(scaled_scan, {.dim = 1}, {signed_permutations({36000, 1025}, 2)}));
  check_pieces(work_of(scaled_scan, {.dim = 1}, {signed_permutations({1, 36900001}, 2)}));
}

TEST_CASE("cuda: affine_scan of few rows by more than 2^31 elements is that of its parts") {
  if (!has_cuda() || !has_room(5)) return;
  const auto operands = [](std::int64_t sequences, std::int64_t steps) {
    return Tensors{signed_permutations({sequences, steps}), signs({sequences, steps, 2, 8}, f32)};
  };
  check_sequences(work_of(of_two<affine_scan>, {.dim = 1}, operands(36000, 1025)));
  check_pieces(work_of(of_two<affine_scan>, {.dim = 1}, operands(1, 36900001)));
}
