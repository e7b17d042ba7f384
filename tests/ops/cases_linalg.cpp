#include <scangrad/ops/creation.h>
#include <scangrad/ops/elementwise.h>
#include <scangrad/ops/linalg.h>
#include <scangrad/tests/ops/op_case.h>

#include <algorithm>

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

/// (a + 8 I)⁻¹ b by elimination without pivoting, which a dominant diagonal needs not.
Arrays solve_reference(const Arrays& in) {
  const Shape &sa = in[0].shape, &sb = in[1].shape;
  const std::int64_t n = sa.back(), m = sb.back();
  Shape batch = reference::broadcast_shape(
      {Array(sa.slice(0, sa.rank() - 2)), Array(sb.slice(0, sb.rank() - 2))});
  Shape full_a = batch, full_b = batch;
  for (std::int64_t size : {n, n}) full_a.push_back(size);
  for (std::int64_t size : {n, m}) full_b.push_back(size);
  Array a(full_a), x(full_b);
  reference::for_each_index(full_a,
                            [&](const Shape& i) { a.at(i) = reference::broadcast_at(in[0], i); });
  reference::for_each_index(full_b,
                            [&](const Shape& i) { x.at(i) = reference::broadcast_at(in[1], i); });
  for (std::int64_t k = 0; k < batch.numel(); ++k) {
    const auto at = [&](std::int64_t i, std::int64_t j) -> double& {
      return a[(k * n + i) * n + j];
    };
    for (std::int64_t i = 0; i < n; ++i) at(i, i) += dominance;
    for (std::int64_t p = 0; p < n; ++p) {
      for (std::int64_t i = 0; i < n; ++i) {
        if (i == p) continue;
        const double factor = at(i, p) / at(p, p);
        for (std::int64_t j = 0; j < n; ++j) at(i, j) -= factor * at(p, j);
        for (std::int64_t j = 0; j < m; ++j)
          x[(k * n + i) * m + j] -= factor * x[(k * n + p) * m + j];
      }
    }
    for (std::int64_t i = 0; i < n; ++i) {
      for (std::int64_t j = 0; j < m; ++j) x[(k * n + i) * m + j] /= at(i, i);
    }
  }
  return {x};
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
  rows.push_back({.name = "solve",
                  .op =
                      [](const Tensors& in) {
                        const Tensor& a = in[0];
                        const Tensor shift = sg::eye(a.size(-1), a.options()) * dominance;
                        return Tensors{sg::solve(a + shift, in[1])};
                      },
                  .reference = solve_reference,
                  .inputs = systems,
                  .dtypes = {sg::f64, sg::f32}});
  return rows;
}
