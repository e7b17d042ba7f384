#include <scangrad/core/format.h>
#include <scangrad/models/mru_schemes.h>
#include <scangrad/ops/creation.h>
#include <scangrad/ops/elementwise.h>
#include <scangrad/ops/linalg.h>
#include <scangrad/ops/matmul.h>
#include <scangrad/ops/reduce.h>
#include <scangrad/ops/shape.h>

#include <fmt/ranges.h>

#include <cmath>
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
  return form_matrices(as_matrix(elements, n), MatrixForm::identity);
}

/// (X + I) / max(|det(X + I)|, 10⁻⁶)^{1/n}: |det| is 1, or less where it was below 10⁻⁶.
Tensor scalar(const Tensor& elements, std::int64_t n) {
  const Tensor x = identity(elements, n);
  const Tensor log = clamp(slogdet(x).logabsdet, std::log(1e-6), HUGE_VAL);
  return x * unsqueeze(unsqueeze(exp(log * (-1.0 / static_cast<double>(n))), -1), -1);
}

/// exp(d − mean d): a diagonal of product 1.
Tensor unit_diagonal(const Tensor& d) { return exp(d - mean(d, {-1}, true)); }

/// (L + D)(U + D), D = √exp(d − mean d): det 1.
Tensor ldu(const Tensor& elements, std::int64_t n) {
  return form_matrices(as_matrix(elements, n), MatrixForm::ldu);
}

/// (I − A)⁻¹(I + A) of a skew-symmetric A, Cayley 1846: orthogonal, det 1.
Tensor cayley_map(const Tensor& a) {
  const Tensor one = eye(a.size(-1), a.options());
  return solve(one - a, one + a);
}
Tensor cayley(const Tensor& elements, std::int64_t n) { return cayley_map(skew(elements, n)); }

/// exp(A): orthogonal, det 1.
Tensor expm(const Tensor& elements, std::int64_t n) { return matrix_exp(skew(elements, n)); }

/// Q R, Q the `map` of A = L − Lᵀ to the rotations, R = U + diag(exp(d − mean d)): det 1.
template <Tensor (*map)(const Tensor&)>
Tensor qr(const Tensor& elements, std::int64_t n) {
  const Tensor x = as_matrix(elements, n);
  const Tensor lower = tril(x, -1);
  const Tensor r = triu(x, 1) + diag_embed(unit_diagonal(diagonal(x)));
  return matmul(map(lower - transpose(lower, -1, -2)), r);
}

/// −∏ᵢ (I − 2 vᵢvᵢᵀ/‖vᵢ‖²) over the columns vᵢ of V = I + L, i = 1 … n: orthogonal, and det 1 by
/// the sign. With τᵢ = 2/‖vᵢ‖² the product is I − V T Vᵀ, T⁻¹ being upper triangular, of VᵀV's
/// entries above the diagonal and 1/τᵢ on it (Joffrain et al. 2006, "Accumulating Householder
/// transformations, revisited").
Tensor householder(const Tensor& elements, std::int64_t n) {
  const Tensor one = eye(n, elements.options());
  const Tensor v = one + tril(skew(elements, n), -1), vt = transpose(v, -1, -2);
  const Tensor gram = matmul(vt, v);
  const Tensor inverse_t = triu(gram) - diag_embed(diagonal(gram) * 0.5);
  return matmul(v, solve(inverse_t, vt)) - one;
}

/// One Newton–Schulz step from X = ldu towards an orthogonal matrix, s X (I + E/2) with
/// E = I − XᵀX/‖X‖². The eigenvalues of E/2 have the mean μ = (n − 1)/(2n) and the variance
/// v = ‖E‖²/(4n) − μ² (both norms Frobenius's), so that s = exp(v/(2(1 + μ)²))/(1 + μ) makes
/// det(I + E/2)sⁿ, and the whole determinant, 1 up to third order in E's deviations from its mean.
Tensor ldu_newton_schulz(const Tensor& elements, std::int64_t n) {
  const Tensor x = ldu(elements, n), one = eye(n, elements.options());
  const Tensor e = one - matmul(transpose(x, -1, -2), x) / sum(square(x), {-2, -1}, true);
  const double mu = static_cast<double>(n - 1) / static_cast<double>(2 * n);
  const double spread = 1 + mu;
  const Tensor v =
      clamp(sum(square(e), {-2, -1}, true) / (4.0 * static_cast<double>(n)) - mu * mu, 0, HUGE_VAL);
  return matmul(x, one + e * 0.5) * exp(v / (2 * spread * spread)) / spread;
}

constexpr MruScheme schemes[] = {
    {"identity", full_count, identity, MatrixForm::identity},
    {"scalar", full_count, scalar},
    {"ldu", full_count, ldu, MatrixForm::ldu},
    {"cayley", triangle_count, cayley},
    {"expm", triangle_count, expm},
    {"qr_cayley", full_count, qr<cayley_map>},
    {"qr_expm", full_count, qr<matrix_exp>},
    {"householder", triangle_count, householder},
    {"ldu_newton_schulz", full_count, ldu_newton_schulz},
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
