// Small linear algebra, whose kernels on CUDA pad a matrix to one of a few orders and let several
// share a warp: the CPU's answers at all orders, with row exchanges, and for singular matrices.
#include <scangrad/autograd/engine.h>
#include <scangrad/core/backend.h>
#include <scangrad/core/error.h>
#include <scangrad/ops/creation.h>
#include <scangrad/ops/elementwise.h>
#include <scangrad/ops/index.h>
#include <scangrad/ops/join.h>
#include <scangrad/ops/linalg.h>
#include <scangrad/ops/random.h>
#include <scangrad/ops/reduce.h>
#include <scangrad/ops/shape.h>
#include <scangrad/tests/support/catch.h>
#include <scangrad/tests/support/devices.h>

#include <cmath>

namespace sg = scangrad;
using sg::Device;
using sg::Tensor;

namespace {

/// The largest difference of CUDA's f(x …) from the CPU's, beside the largest of the CPU's numbers.
template <class F, class... X>
double difference(const F& f, const X&... x) {
  const Tensor cpu = f(x...), cuda = sg::to(f(sg::to(x, Device::cuda())...), Device::cpu());
  return sg::max(sg::abs(cuda - cpu)).template item<double>() /
         (1 + sg::max(sg::abs(cpu)).template item<double>());
}

/// Well-conditioned matrices with large elements off the diagonal, in other places in each.
Tensor matrices(std::int64_t count, std::int64_t n, sg::DType dtype, sg::Generator* generator) {
  sg::Tensors each;
  for (std::int64_t k = 0; k < count; ++k) {
    each.push_back(sg::index_select(sg::eye(n, {dtype}), 0, sg::permutation(n, {}, generator)));
  }
  const double size = 3 * std::sqrt(static_cast<double>(n));
  return sg::randn({count, n, n}, {dtype}, generator) + sg::stack(each, 0) * size;
}

}  // namespace

TEST_CASE("cuda: solve, inverse, slogdet and matrix_exp of any order are the CPU's") {
  if (!has_cuda()) return;
  sg::Generator generator(3);
  for (const std::int64_t n : {1, 2, 3, 4, 5, 7, 8, 9, 12, 15, 16, 17, 24, 31, 32, 33, 64}) {
    for (const std::int64_t count : reduced<std::int64_t>({1, 3, 70}, {3})) {
      for (const sg::DType dtype : {sg::f32, sg::f64}) {
        INFO(count << " of order " << n << ", " << sg::name(dtype));
        const double tolerance = dtype == sg::f32 ? 1e-4 : 1e-12;
        const Tensor a = matrices(count, n, dtype, &generator);
        for (const std::int64_t m : {std::int64_t{1}, n, 2 * n + 3}) {
          INFO(m << " columns");
          const Tensor b = sg::randn({count, n, m}, {dtype}, &generator);
          CHECK(difference(sg::solve, a, b) < tolerance);
          CHECK(difference(sg::solve, a, sg::select(b, 0, 0)) < tolerance);
          CHECK(difference(sg::solve, sg::select(a, 0, 0), b) < tolerance);
        }
        CHECK(difference(sg::inverse, a) < tolerance);
        CHECK(difference([](const Tensor& x) { return sg::slogdet(x).sign; }, a) == 0);
        CHECK(difference([](const Tensor& x) { return sg::slogdet(x).logabsdet; }, a) < tolerance);
        const auto of_logarithm = [](const Tensor& x, const Tensor& g) {
          const Tensor leaf = x.detach().requires_grad_();
          return sg::grad(sg::slogdet(leaf).logabsdet, leaf, {.grad_outputs = {g}});
        };
        const Tensor g = sg::randn({count}, {dtype}, &generator);
        CHECK(difference(of_logarithm, a, g) < tolerance);
        for (const double norm : {0.1, 1.0, 10.0}) {
          INFO("norm " << norm);
          const Tensor x = sg::randn({count, n, n}, {dtype}, &generator) *
                           (norm / std::sqrt(static_cast<double>(n)));
          CHECK(difference(sg::matrix_exp, x) < tolerance);
        }
        const Tensor zero = sg::zeros({count, n, n}, {dtype});
        CHECK(difference(sg::matrix_exp, zero) == 0);
      }
    }
  }
}

TEST_CASE("cuda: the gradient of matrix_exp is the CPU's, at any order and norm") {
  if (!has_cuda()) return;
  const auto gradient = [](const Tensor& a, const Tensor& g) {
    const Tensor leaf = a.detach().requires_grad_();
    return sg::grad(sg::matrix_exp(leaf), leaf, {.grad_outputs = {g}});
  };
  sg::Generator generator(5);
  const auto check = [&](std::int64_t count, std::int64_t n, sg::DType dtype, double norm) {
    INFO(count << " of order " << n << " and norm " << norm << ", " << sg::name(dtype));
    const Tensor a =
        sg::randn({count, n, n}, {dtype}, &generator) * (norm / std::sqrt(static_cast<double>(n)));
    const Tensor g = sg::randn({count, n, n}, {dtype}, &generator);
    CHECK(difference(gradient, a, g) < (dtype == sg::f32 ? 1e-4 : 1e-12));
    // Operands in another order, as views.
    const auto of_transposes = [&](const Tensor& x, const Tensor& y) {
      return gradient(sg::transpose(x, 1, 2), sg::transpose(y, 1, 2));
    };
    CHECK(difference(of_transposes, a, g) < (dtype == sg::f32 ? 1e-4 : 1e-12));
  };
  for (const sg::DType dtype : {sg::f32, sg::f64}) {
    for (const std::int64_t n : {1, 2, 3, 4, 5, 7, 8, 9, 12, 15, 16, 17, 24, 31, 32, 33}) {
      for (const std::int64_t count : reduced<std::int64_t>({1, 3, 70}, {3})) {
        for (const double norm : {0.1, 1.0, 10.0}) check(count, n, dtype, norm);
      }
      const Tensor zero = sg::zeros({3, n, n}, {dtype, Device::cuda()}),
                   g = sg::uniform(zero.shape(), zero.options());
      CHECK(sg::all(sg::eq(gradient(zero, g), g)).item<bool>());
    }
    check(compute_sanitizer() ? 257 : 65537, 3, dtype, 1);
    check(compute_sanitizer() ? 257 : 4099, 8, dtype, 1);
  }
}

TEST_CASE("cuda: a singular matrix among others has sign 0 and log −∞, and solve names it") {
  if (!has_cuda()) return;
  sg::Generator generator(4);
  for (const std::int64_t n : {1, 4, 8, 13, 32, 40}) {
    INFO("order " << n);
    const Tensor a = sg::to(matrices(9, n, sg::f32, &generator), Device::cuda());
    Tensor row = sg::select(sg::select(a, 0, 5), 0, n - 1);
    sg::zero_(row);
    const sg::SignLogDet d = sg::slogdet(a);
    const auto sign = d.sign.to_vector<float>(), log = d.logabsdet.to_vector<float>();
    for (std::size_t k = 0; k < 9; ++k) {
      CHECK((sign[k] == 0) == (k == 5));
      CHECK((log[k] == -HUGE_VALF) == (k == 5));
    }
    // It has a gradient where that is 0.
    const Tensor leaf = a.detach().requires_grad_();
    const Tensor log_of = sg::slogdet(leaf).logabsdet;
    const Tensor g = sg::cast(sg::ne(sg::arange(0, 9, 1, a.options()), 5.0), sg::f32);
    const Tensor da = sg::grad(log_of, leaf, {.grad_outputs = {g}, .retain_graph = true});
    CHECK(sg::all(sg::eq(sg::select(da, 0, 5), 0.0)).item<bool>());
    CHECK(!sg::any(sg::isnan(da)).item<bool>());
    CHECK_THROWS_WITH(
        [&] {
          const Tensor refused = sg::grad(sg::sum(log_of), leaf);
          sg::synchronize(Device::cuda());
        }(),
        ContainsSubstring("solve: matrix 5 of the batch is singular"));
    CHECK_THROWS_WITH(
        [&] {
          const Tensor x = sg::inverse(a);
          sg::synchronize(Device::cuda());
        }(),
        ContainsSubstring("solve: matrix 5 of the batch is singular"));
  }
}

TEST_CASE("cuda: subnormal pivots divide, and a matrix that is not finite has no exponential") {
  if (!has_cuda()) return;
  const Tensor tiny = sg::from<float>({0, 1e-40f, 2e-40f, 0}, {2, 2});
  const Tensor b = sg::from<float>({3e-40f, 4e-40f}, {2, 1});
  CHECK(difference(sg::solve, tiny, b) < 1e-4);
  for (const std::int64_t n : {2, 8, 20, 33}) {
    INFO("order " << n);
    for (const float bad : {HUGE_VALF, -HUGE_VALF, std::nanf("")}) {
      const Tensor a = sg::zeros({3, n, n}, {sg::f32, Device::cuda()});
      Tensor corner = sg::select(sg::select(sg::select(a, 0, 1), 0, n - 1), 0, 0);
      sg::copy_(corner, sg::full({}, bad, a.options()));
      const Tensor y = sg::to(sg::matrix_exp(a), Device::cpu());
      CHECK(sg::all(sg::isnan(sg::select(y, 0, 1))).item<bool>());
      for (const std::int64_t k : {0, 2}) {
        CHECK(sg::all(sg::eq(sg::select(y, 0, k), sg::eye(n))).item<bool>());
      }
      // As little does a gradient that is not finite reach the neighbours'.
      const Tensor leaf = sg::zeros_like(a).requires_grad_();
      const Tensor da = sg::grad(sg::matrix_exp(leaf), leaf, {.grad_outputs = {a}});
      for (const std::int64_t k : {0, 2}) {
        CHECK(sg::all(sg::eq(sg::select(da, 0, k), 0.0)).item<bool>());
      }
    }
  }
}
