#include <scangrad/core/format.h>
#include <scangrad/models/mru_schemes.h>
#include <scangrad/ops/creation.h>
#include <scangrad/ops/elementwise.h>
#include <scangrad/ops/matmul.h>
#include <scangrad/ops/reduce.h>
#include <scangrad/ops/shape.h>

#include <fmt/ranges.h>

// In the formulas X is the elements as a matrix, L and U are its strictly lower and upper parts and
// d its diagonal. To add a scheme: its function here and its line in `schemes`.
namespace scangrad {
namespace {

std::int64_t full_count(std::int64_t n) { return n * n; }

Tensor as_matrix(const Tensor& elements, std::int64_t n) { return unflatten(elements, -1, {n, n}); }

/// X + I.
Tensor identity(const Tensor& elements, std::int64_t n) {
  return as_matrix(elements, n) + eye(n, elements.options());
}

constexpr MruScheme schemes[] = {
    {"identity", full_count, identity},
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
