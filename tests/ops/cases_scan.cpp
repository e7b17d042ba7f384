// Rows for the scans. The reference is the definition, step by step.
#include <scangrad/ops/elementwise.h>
#include <scangrad/ops/matmul.h>
#include <scangrad/ops/reduce.h>
#include <scangrad/ops/scan.h>
#include <scangrad/ops/shape.h>
#include <scangrad/tests/ops/monoid_scans.h>
#include <scangrad/tests/ops/scan_rows.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace sg = scangrad;
using reference::Array;
using reference::Arrays;

namespace {

/// (…, T, …) shapes, scanned along dimension 1: empty in every way, single, and large.
const std::vector<sg::Shape> scalar_shapes = {{1, 1},    {0, 3},    {2, 0}, {2, 3, 0},   {2, 5},
                                              {1, 2, 3}, {2, 3, 2}, {3, 7}, {50, 13, 32}};

/// The definition of a scan by a function of two numbers.
ScanDefinition of_numbers(double identity, double (*combine)(double, double)) {
  ScanDefinition d;
  d.identity = [identity](const sg::Shape&) { return std::vector<double>{identity}; };
  d.step = [combine](const std::vector<double>& state, const double* a, const double*,
                     const sg::Shape&) { return std::vector<double>{combine(state[0], *a)}; };
  return d;
}

std::vector<Operands> scalar_calls(const Operand& a, int operands = 1) {
  std::vector<Operands> calls;
  for (const sg::Shape& shape : scalar_shapes) {
    calls.emplace_back(static_cast<std::size_t>(operands), a);
    for (Operand& operand : calls.back()) operand.shape = shape;
  }
  return calls;
}

/// A (…, n, n) and, where `rows` > 0, B (…, rows, n).
std::vector<Operands> matrix_calls(std::int64_t rows) {
  const std::vector<std::pair<sg::Shape, std::int64_t>> sizes = {
      {{1, 1}, 1}, {{0, 3}, 2}, {{2, 0}, 2},    {{2, 2}, 0},     {{2, 4}, 1},
      {{1, 3}, 2}, {{2, 2}, 3}, {{1, 2, 2}, 2}, {{13, 13, 2}, 8}};
  std::vector<Operands> calls;
  for (const auto& [leading, n] : sizes) {
    const auto with_block = [leading = leading](std::int64_t p, std::int64_t q) {
      sg::Shape shape = leading;
      shape.push_back(p);
      shape.push_back(q);
      return shape;
    };
    const double size = n > 3 ? 0.5 : 1;  // products of 13 matrices stay of order 1
    calls.push_back({values(with_block(n, n), -size, size)});
    if (rows > 0) calls.back().push_back(values(with_block(rows, n), -1, 1));
  }
  return calls;
}

double log_sum_exp(double a, double b) {
  const double most = std::max(a, b);
  return std::isinf(most) ? most : most + std::log(std::exp(a - most) + std::exp(b - most));
}

template <sg::ScanResult (*scan)(const sg::Tensor&, const sg::ScanOptions&)>
sg::ScanResult of_one(const sg::Tensors& in, const sg::ScanOptions& options) {
  return scan(in[0], options);
}
template <sg::ScanResult (*scan)(const sg::Tensor&, const sg::Tensor&, const sg::ScanOptions&)>
sg::ScanResult of_two(const sg::Tensors& in, const sg::ScanOptions& options) {
  return scan(in[0], in[1], options);
}

/// cummax or cummin in the short form, which says where values came from.
OpCase with_indices(const std::string& name,
                    sg::ValuesIndices (*scan)(const sg::Tensor&, std::int64_t), double sign) {
  return {.name = name + ".indices",
          .op =
              [scan](const sg::Tensors& in) {
                const auto [found, indices] = scan(in[0], 1);
                return sg::Tensors{found, indices};
              },
          .reference =
              [sign](const Arrays& in) {
                Array found = in[0], at(in[0].shape);
                reference::for_each_index(at.shape, [&](const sg::Shape& index) {
                  for (std::int64_t t = 0; t <= index[1]; ++t) {
                    sg::Shape from = index;
                    from[1] = t;
                    if (t > 0 && sign * in[0].at(from) < sign * found.at(index)) continue;
                    found.at(index) = in[0].at(from);
                    at.at(index) = static_cast<double>(t);
                  }
                });
                return Arrays{found, at};
              },
          .inputs = scalar_calls(distinct({}))};
}

/// A scan of two operands that broadcast in their dimensions before the last `own`: the definition
/// of the widened ones.
OpCase with_broadcast(const std::string& name, const Scan& scan,
                      const std::vector<std::pair<sg::Shape, sg::Shape>>& shapes) {
  const int own = scan.definition.own;
  std::vector<Operands> calls;
  for (const auto& [a, b] : shapes) calls.push_back({values(a, -0.5, 0.5), values(b, -1, 1)});
  return {.name = name,
          .op =
              [run = scan.run](const sg::Tensors& in) {
                const auto [states, last] = run(in, {.dim = 1});
                return sg::Tensors{states, last};
              },
          .reference =
              [definition = scan.definition, own](const Arrays& in) {
                Arrays leading, wide;
                for (const Array& x : in) {
                  leading.emplace_back(x.shape.slice(0, x.shape.rank() - own));
                }
                for (const Array& x : in) {
                  sg::Shape shape = reference::broadcast_shape(leading);
                  for (int i = own; i > 0; --i) shape.push_back(x.shape[x.shape.rank() - i]);
                  Array y(shape);
                  reference::for_each_index(shape, [&](const sg::Shape& index) {
                    y.at(index) = reference::broadcast_at(x, index);
                  });
                  wide.push_back(y);
                }
                return definition(wide);
              },
          .inputs = calls,
          .tolerance = scan.tolerance};
}

/// √n S/‖S‖ of each matrix, which is what the mantissas of a scaled scan and its states have in
/// common; in f64, since of order 1 it is constant, and rounding would be all that is left.
sg::Tensor normalised(const sg::Tensor& states) {
  const auto n = static_cast<double>(states.size(-1));
  const sg::Tensor s = sg::cast(states, sg::f64);
  return sg::cast(s * sg::rsqrt(sg::mean(sg::square(s), {-2, -1}, true) * n), states.dtype());
}
void normalise(Array& states) {
  const std::int64_t n = states.shape.back(), size = n * n;
  for (std::int64_t at = 0; at < states.numel(); at += size) {
    double squares = 0;
    for (std::int64_t i = 0; i < size; ++i) squares += states[at + i] * states[at + i];
    for (std::int64_t i = 0; i < size; ++i) {
      states[at + i] *= std::sqrt(static_cast<double>(n) / squares);
    }
  }
}
/// matmul_scan_scaled, so read.
sg::ScanResult scaled_products(const sg::Tensors& in, const sg::ScanOptions& options) {
  const sg::ScaledScanResult r = sg::matmul_scan_scaled(in[0], options);
  return {normalised(r.states), normalised(r.last)};
}

sg::ScanResult scores_of_order_1(const sg::Tensors& in, const sg::ScanOptions& options) {
  sg::ScanOptions of_blocks = options;
  if (options.initial) of_blocks.initial = sg::unsqueeze(*options.initial, -1);
  const auto [states, last] = monoid_scans::log_sum_exp_1(sg::unsqueeze(in[0], -1), of_blocks);
  return {sg::select(states, -1, 0), sg::select(last, -1, 0)};
}

/// associative_scan of matrix products.
sg::ScanResult products(const sg::Tensors& in, const sg::ScanOptions& options) {
  const auto [states, last] =
      sg::associative_scan([](const sg::Tensors& l,
                              const sg::Tensors& r) { return sg::Tensors{sg::matmul(l[0], r[0])}; },
                           {in[0]},
                           {.dim = options.dim,
                            .reverse = options.reverse,
                            .exclusive = options.exclusive,
                            .initial = {*options.initial}});
  return {states[0], last[0]};
}

}  // namespace

std::vector<OpCase> scan_cases() {
  const Tolerance sums = sums_of_scans();
  const double infinity = std::numeric_limits<double>::infinity();
  std::vector<OpCase> rows;
  add_rows(rows, {"cumsum",
                  of_one<sg::cumsum>,
                  of_numbers(0, [](double a, double b) { return a + b; }),
                  scalar_calls(values({})),
                  {},
                  sums});
  add_rows(rows, {"cumprod",
                  of_one<sg::cumprod>,
                  of_numbers(1, [](double a, double b) { return a * b; }),
                  scalar_calls(values({}, -1.5, 1.5)),
                  {},
                  sums});
  add_rows(rows, {"cummax", of_one<sg::cummax>,
                  of_numbers(-infinity, [](double a, double b) { return std::max(a, b); }),
                  scalar_calls(distinct({}))});
  add_rows(rows, {"cummin", of_one<sg::cummin>,
                  of_numbers(infinity, [](double a, double b) { return std::min(a, b); }),
                  scalar_calls(distinct({}))});
  rows.push_back(with_indices("cummax", sg::cummax, 1));
  rows.push_back(with_indices("cummin", sg::cummin, -1));
  add_rows(rows, {"logcumsumexp",
                  of_one<sg::logcumsumexp>,
                  of_numbers(-infinity, log_sum_exp),
                  scalar_calls(values({})),
                  {},
                  sums});
  const Scan linear{"linear_scan",
                    of_two<sg::linear_scan>,
                    of_actions(0, 2, zero),
                    scalar_calls(values({}, -1, 1), 2),
                    {"linear_scan_backward"},
                    sums};
  const Scan products_of_matrices{"matmul_scan",   of_one<sg::matmul_scan>,  of_actions(2, 1, unit),
                                  matrix_calls(0), {"matmul_scan_backward"}, sums};
  const Scan affine{"affine_scan",   of_two<sg::affine_scan>,  of_actions(2, 2, zero),
                    matrix_calls(2), {"affine_scan_backward"}, sums};
  for (const Scan& scan : {linear, products_of_matrices, affine}) add_rows(rows, scan);
  rows.push_back(with_broadcast("linear_scan.broadcast", linear,
                                {{{1, 1}, {1, 1}},
                                 {{1}, {0, 3}},
                                 {{5, 1}, {2, 5, 3}},
                                 {{2, 4, 3}, {4, 1}},
                                 {{2, 1}, {1, 3}},
                                 {{13, 1}, {50, 13, 32}}}));
  rows.push_back(with_broadcast("affine_scan.broadcast", affine,
                                {{{1, 1, 1, 1}, {1, 1, 1, 1}},
                                 {{1, 2, 2}, {0, 3, 1, 2}},
                                 {{4, 2, 2}, {2, 4, 3, 2}},
                                 {{2, 3, 2, 2}, {3, 1, 2}},
                                 {{2, 1, 2, 2}, {1, 3, 2, 2}},
                                 {{13, 8, 8}, {20, 13, 10, 8}}}));
  Scan scaled = products_of_matrices;
  scaled.name = "matmul_scan_scaled";
  scaled.run = scaled_products;
  scaled.covers = {"matmul_scan_scaled_backward"};
  const std::size_t first_scaled = rows.size();
  add_rows(rows, scaled);
  for (std::size_t i = first_scaled; i < rows.size(); ++i) {
    rows[i].reference = [plain = rows[i].reference](const Arrays& in) {
      Arrays out = plain(in);
      for (Array& states : out) normalise(states);
      return out;
    };
  }
  // monoid_scan of 1×1 score matrices, whose product is a sum; test_monoid_scan.cpp has larger
  // ones.
  const Scan scores{"monoid_scan",
                    scores_of_order_1,
                    of_numbers(0, [](double a, double b) { return a + b; }),
                    scalar_calls(values({})),
                    {},
                    sums};
  const std::size_t first_score = rows.size();
  add_rows(rows, scores);
  for (std::size_t i = first_score; i < rows.size(); ++i) rows[i].twice_differentiable = false;
  Scan given = products_of_matrices;  // associative_scan, of the same operation
  given.name = "associative_scan";
  given.run = products;
  given.covers = {};
  given.tolerance.stores_intermediates = true;  // its products are tensors of the dtype
  given.needs_initial = true;
  add_rows(rows, given);
  return rows;
}
