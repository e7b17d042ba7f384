#include <scangrad/ops/creation.h>
#include <scangrad/ops/elementwise.h>
#include <scangrad/ops/linalg.h>
#include <scangrad/tests/ops/op_case.h>

#include <algorithm>
#include <cmath>

namespace sg = scangrad;
using reference::Array;
using reference::Arrays;
using sg::Shape;
using sg::Tensor;
using sg::Tensors;

namespace {

const std::vector<sg::DType> any_dtype = {sg::f64, sg::f32, sg::bf16, sg::i32, sg::i64};
constexpr double dominance = 8;  // on the diagonal: makes random matrices well conditioned

std::vector<Operands> rank_three() {
  std::vector<Operands> calls;
  for (const Shape& shape :
       std::vector<Shape>{{1, 1, 1}, {2, 0, 3}, {0, 1, 2}, {2, 3, 3}, {3, 2, 4}, {29, 31, 37}}) {
    calls.push_back({values(shape)});
  }
  return calls;
}

/// x where keep(column − row), else 0.
reference::Function triangle(const std::function<bool(std::int64_t)>& keep) {
  return [=](const Arrays& in) {
    Array y(in[0].shape);
    reference::for_each_index(y.shape, [&](const Shape& i) {
      if (keep(i[2] - i[1])) y.at(i) = in[0].at(i);
    });
    return Arrays{y};
  };
}

/// Diagonal 1 of dimensions 0 and 2.
Arrays diagonal_reference(const Arrays& in) {
  const Shape& s = in[0].shape;
  Array y({s[1], std::max<std::int64_t>(0, std::min(s[0], s[2] - 1))});
  reference::for_each_index(y.shape, [&](const Shape& i) {
    y.at(i) = in[0].at({i[1], i[0], i[1] + 1});
  });
  return {y};
}

Arrays diag_embed_reference(const Arrays& in) {
  Shape shape = in[0].shape;
  shape.push_back(shape.back());
  Array y(shape);
  reference::for_each_index(in[0].shape, [&](const Shape& i) {
    y.at({i[0], i[1], i[2], i[2]}) = in[0].at(i);
  });
  return {y};
}

/// a ← I and x ← a⁻¹ x for one matrix by elimination without pivoting, which a dominant diagonal
/// needs not; x is (n, m). Returns det a.
double eliminate(double* a, double* x, std::int64_t n, std::int64_t m) {
  double det = 1;
  for (std::int64_t p = 0; p < n; ++p) {
    const double pivot = a[p * n + p];
    det *= pivot;
    for (std::int64_t j = 0; j < n; ++j) a[p * n + j] /= pivot;
    for (std::int64_t j = 0; j < m; ++j) x[p * m + j] /= pivot;
    for (std::int64_t i = 0; i < n; ++i) {
      const double factor = a[i * n + p];
      if (i == p) continue;
      for (std::int64_t j = 0; j < n; ++j) a[i * n + j] -= factor * a[p * n + j];
      for (std::int64_t j = 0; j < m; ++j) x[i * m + j] -= factor * x[p * m + j];
    }
  }
  return det;
}

/// Adds 8 to the diagonals of matrices (…, n, n).
Array dominant(Array a) {
  const std::int64_t n = a.shape.back();
  for (std::int64_t i = 0; i < a.numel(); ++i) a[i] += i / n % n == i % n ? dominance : 0;
  return a;
}

/// Matrices whose rows and columns sum to half of that at the most.
Operand small_values(const Shape& shape) {
  const double most = dominance / 2 / static_cast<double>(shape.back());
  return values(shape, -most, most);
}

Shape leading(const Shape& shape) { return shape.slice(0, shape.rank() - 2); }

/// (a + 8 I)⁻¹ b.
Arrays solve_reference(const Arrays& in) {
  const Shape &sa = in[0].shape, &sb = in[1].shape;
  const std::int64_t n = sa.back(), m = sb.back();
  const Shape batch = reference::broadcast_shape({Array(leading(sa)), Array(leading(sb))});
  Shape full_a = batch, full_b = batch;
  for (std::int64_t size : {n, n}) full_a.push_back(size);
  for (std::int64_t size : {n, m}) full_b.push_back(size);
  Array a(full_a), x(full_b);
  reference::for_each_index(full_a,
                            [&](const Shape& i) { a.at(i) = reference::broadcast_at(in[0], i); });
  reference::for_each_index(full_b,
                            [&](const Shape& i) { x.at(i) = reference::broadcast_at(in[1], i); });
  a = dominant(a);
  for (std::int64_t k = 0; k < batch.numel(); ++k) eliminate(&a[k * n * n], &x[k * n * m], n, m);
  return {x};
}

/// det(a + 8 I), (…).
Array det_reference(const Array& in) {
  const std::int64_t n = in.shape.back();
  Array a = dominant(in), det(leading(in.shape));
  for (std::int64_t k = 0; k < det.numel(); ++k) {
    det[k] = eliminate(&a.values[static_cast<std::size_t>(k * n * n)], nullptr, n, 0);
  }
  return det;
}

/// e^a by its series alone.
Arrays matrix_exp_reference(const Arrays& in) {
  const Array& a = in[0];
  const std::int64_t n = a.shape.back(), count = n == 0 ? 0 : a.numel() / (n * n);
  Array y(a.shape), term(a.shape), next(a.shape);
  for (std::int64_t i = 0; i < a.numel(); ++i) y[i] = term[i] = i / n % n == i % n ? 1 : 0;
  for (int k = 1; k < 60; ++k) {
    for (std::int64_t i = 0; i < count * n * n; ++i) {
      const std::int64_t row = i / n * n, column = i / (n * n) * n * n + i % n;
      next[i] = 0;
      for (std::int64_t j = 0; j < n; ++j) next[i] += term[row + j] * a[column + j * n] / k;
      y[i] += next[i];
    }
    std::swap(term, next);
  }
  return {y};
}

}  // namespace

std::vector<OpCase> linalg_cases() {
  std::vector<OpCase> rows;
  const auto row = [&](const char* name, const sg::TensorFunction& op,
                       const reference::Function& expected) {
    rows.push_back({.name = name,
                    .op = op,
                    .reference = expected,
                    .inputs = rank_three(),
                    .dtypes = any_dtype});
  };
  row(
      "tril.main", [](const Tensors& in) { return Tensors{sg::tril(in[0])}; },
      triangle([](std::int64_t k) { return k <= 0; }));
  row(
      "tril.above", [](const Tensors& in) { return Tensors{sg::tril(in[0], 1)}; },
      triangle([](std::int64_t k) { return k <= 1; }));
  row(
      "triu.main", [](const Tensors& in) { return Tensors{sg::triu(in[0])}; },
      triangle([](std::int64_t k) { return k >= 0; }));
  row(
      "triu.below", [](const Tensors& in) { return Tensors{sg::triu(in[0], -1)}; },
      triangle([](std::int64_t k) { return k >= -1; }));
  row(
      "diagonal", [](const Tensors& in) { return Tensors{sg::diagonal(in[0], 1, 0, 2)}; },
      diagonal_reference);
  row(
      "diag_embed", [](const Tensors& in) { return Tensors{sg::diag_embed(in[0])}; },
      diag_embed_reference);

  std::vector<Operands> pairs, equal;
  for (const auto& [m, n] : std::vector<std::pair<std::int64_t, std::int64_t>>{
           {1, 1}, {0, 3}, {3, 0}, {3, 4}, {5, 2}, {20000, 2}}) {
    pairs.push_back({values({m}), values({n})});
    equal.push_back({values({m}), values({m})});
  }
  rows.push_back({.name = "outer",
                  .op = [](const Tensors& in) { return Tensors{sg::outer(in[0], in[1])}; },
                  .reference =
                      [](const Arrays& in) {
                        Array y({in[0].numel(), in[1].numel()});
                        reference::for_each_index(
                            y.shape, [&](const Shape& i) { y.at(i) = in[0][i[0]] * in[1][i[1]]; });
                        return Arrays{y};
                      },
                  .inputs = pairs,
                  .dtypes = any_dtype});
  rows.push_back(
      {.name = "dot",
       .op = [](const Tensors& in) { return Tensors{sg::dot(in[0], in[1])}; },
       .reference =
           [](const Arrays& in) {
             Array y;
             for (std::int64_t i = 0; i < in[0].numel(); ++i) y[0] += in[0][i] * in[1][i];
             return Arrays{y};
           },
       .inputs = equal,
       .dtypes = any_dtype,
       .result_dtype = [](sg::DType dtype) { return sg::is_integer(dtype) ? sg::i64 : dtype; },
       // n products of up to 4, kept in the dtype, which may cancel.
       .tolerance = {[](const Tensors& in) { return double(in[0].numel()); }, 4, true}});

  std::vector<Operands> systems;
  for (const auto& [a, b] : std::vector<std::pair<Shape, Shape>>{{{1, 1}, {1, 1}},
                                                                 {{2, 0, 3, 3}, {1, 3, 2}},
                                                                 {{2, 2}, {2, 3}},
                                                                 {{3, 3}, {2, 3, 1}},
                                                                 {{2, 1, 3, 3}, {2, 3, 2}},
                                                                 {{1300, 4, 4}, {1300, 4, 2}}}) {
    systems.push_back({values(a), values(b)});
  }
  // About the orders that GPUs pad matrices to, and as many columns as they solve for at a time.
  for (const auto& [a, b] : std::vector<std::pair<Shape, Shape>>{{{83, 5, 5}, {83, 5, 9}},
                                                                 {{37, 8, 8}, {37, 8, 8}},
                                                                 {{29, 9, 9}, {9, 20}},
                                                                 {{9, 16, 16}, {9, 16, 17}},
                                                                 {{17, 17}, {7, 17, 18}},
                                                                 {{3, 32, 32}, {3, 32, 40}},
                                                                 {{2, 33, 33}, {2, 33, 31}}}) {
    systems.push_back({small_values(a), values(b)});
  }
  const std::vector<sg::DType> real = {sg::f64, sg::f32};
  const auto shifted = [](const Tensor& a) {
    return a + sg::eye(a.size(-1), a.options()) * dominance;
  };
  rows.push_back(
      {.name = "solve",
       .op = [=](const Tensors& in) { return Tensors{sg::solve(shifted(in[0]), in[1])}; },
       .reference = solve_reference,
       .inputs = systems,
       .dtypes = real});

  std::vector<Operands> squares;
  for (const Shape& shape :
       std::vector<Shape>{{1, 1}, {2, 0, 3, 3}, {2, 2}, {3, 3}, {2, 1, 5, 5}, {1300, 4, 4}}) {
    squares.push_back({values(shape, -1, 1)});
  }
  for (const auto& [count, n] : std::vector<std::pair<std::int64_t, std::int64_t>>{
           {83, 5}, {37, 8}, {29, 9}, {9, 16}, {7, 17}, {3, 32}, {2, 33}}) {
    squares.push_back({small_values({count, n, n})});
  }
  rows.push_back(
      {.name = "inverse",
       .op = [=](const Tensors& in) { return Tensors{sg::inverse(shifted(in[0]))}; },
       .reference =
           [](const Arrays& in) {
             return solve_reference({in[0], matrix_exp_reference({Array(in[0].shape)})[0]});
           },
       .inputs = squares,
       .dtypes = real});
  rows.push_back({.name = "slogdet",
                  .op =
                      [=](const Tensors& in) {
                        const sg::SignLogDet d = sg::slogdet(shifted(in[0]));
                        return Tensors{d.logabsdet, d.sign};
                      },
                  .reference =
                      [](const Arrays& in) {
                        Array log = det_reference(in[0]);
                        for (double& x : log.values) x = std::log(x);
                        return Arrays{log, Array(log.shape, 1)};
                      },
                  .inputs = squares,
                  .covers = {"slogdet_backward"},
                  .dtypes = real});
  rows.push_back(
      {.name = "det",  // of (a + 8 I)/8: of size 1, as finite differences need
       .op = [=](const Tensors& in) { return Tensors{sg::det(shifted(in[0]) / dominance)}; },
       .reference =
           [](const Arrays& in) {
             Array det = det_reference(in[0]);
             for (double& x : det.values) x /= std::pow(dominance, in[0].shape.back());
             return Arrays{det};
           },
       .inputs = squares,
       .dtypes = real});
  rows.push_back({.name = "matrix_exp",
                  .op = [](const Tensors& in) { return Tensors{sg::matrix_exp(in[0])}; },
                  .reference = matrix_exp_reference,
                  .inputs = squares,
                  .covers = {"matrix_exp_backward"},
                  .dtypes = real});
  return rows;
}
