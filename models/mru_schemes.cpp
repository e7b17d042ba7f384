#include <scangrad/core/format.h>
#include <scangrad/models/mru_schemes.h>
#include <scangrad/ops/creation.h>
#include <scangrad/ops/elementwise.h>
#include <scangrad/ops/linalg.h>
#include <scangrad/ops/matmul.h>
#include <scangrad/ops/reduce.h>
#include <scangrad/ops/shape.h>

#include <fmt/ranges.h>

#include <mutex>

// In the formulas X is the elements as a matrix, L and U are its strictly lower and upper parts and
// d its diagonal. To add a scheme: its function here and its line in `schemes`.
namespace scangrad {
namespace {

std::int64_t full_count(std::int64_t n) { return n * n; }
std::int64_t triangle_count(std::int64_t n) { return n * (n - 1) / 2; }

Tensor as_matrix(const Tensor& elements, std::int64_t n) { return unflatten(elements, -1, {n, n}); }

/// (n², n(n − 1)/2): times the elements that fill L row by row, it is A = L − Lᵀ. Made once for
/// each order, dtype and device.
Tensor skew_basis(std::int64_t n, const TensorOptions& options) {
  static std::mutex mutex;
  static auto& made = *new Tensors;  // never freed: at the program's end a device may go first
  const std::lock_guard lock(mutex);
  const Shape shape = {n * n, triangle_count(n)};
  for (const Tensor& basis : made) {
    if (basis.shape() == shape && basis.dtype() == options.dtype &&
        basis.device() == options.device) {
      return basis;
    }
  }
  std::vector<double> basis(static_cast<std::size_t>(shape.numel()));
  std::int64_t element = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    for (std::int64_t j = 0; j < i; ++j, ++element) {
      basis[static_cast<std::size_t>((i * n + j) * shape[1] + element)] = 1;
      basis[static_cast<std::size_t>((j * n + i) * shape[1] + element)] = -1;
    }
  }
  made.push_back(to(cast(from<double>(basis, shape), options.dtype), options.device));
  return made.back();
}

/// A = L − Lᵀ.
Tensor skew(const Tensor& elements, std::int64_t n) {
  return as_matrix(linear(elements, skew_basis(n, elements.options())), n);
}

/// X + I.
Tensor identity(const Tensor& elements, std::int64_t n) {
  return as_matrix(elements, n) + eye(n, elements.options());
}

/// (L + D)(U + D), D = √exp(d − mean d): det 1.
Tensor ldu(const Tensor& elements, std::int64_t n) {
  const Tensor x = as_matrix(elements, n);
  const Tensor d = diagonal(x);
  const Tensor root = diag_embed(exp((d - mean(d, {-1}, true)) * 0.5));
  return matmul(tril(x, -1) + root, triu(x, 1) + root);
}

/// (I − A)⁻¹(I + A), Cayley 1846: orthogonal, det 1.
Tensor cayley(const Tensor& elements, std::int64_t n) {
  const Tensor a = skew(elements, n);
  const Tensor one = eye(n, elements.options());
  return solve(one - a, one + a);
}

constexpr MruScheme schemes[] = {
    {"identity", full_count, identity},
    {"ldu", full_count, ldu},
    {"cayley", triangle_count, cayley},
};

}  // namespace

const MruScheme& mru_scheme(const std::string& name) {
  for (const MruScheme& scheme : schemes) {
    if (name == scheme.name) return scheme;
  }
  fail<ValueError>("Mru: no scheme is called {}; there are {}", name,
                   fmt::join(mru_scheme_names(), ", "));
}

std::vector<std::string> mru_scheme_names() {
  std::vector<std::string> names;
  for (const MruScheme& scheme : schemes) names.emplace_back(scheme.name);
  return names;
}

}  // namespace scangrad
