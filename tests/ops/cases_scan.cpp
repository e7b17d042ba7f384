// Rows for the scans. The reference is the definition, step by step.
#include <scangrad/ops/elementwise.h>
#include <scangrad/ops/matmul.h>
#include <scangrad/ops/matrix_form.h>
#include <scangrad/ops/reduce.h>
#include <scangrad/ops/scan.h>
#include <scangrad/ops/shape.h>
#include <scangrad/tests/ops/monoid_scans.h>
#include <scangrad/tests/ops/op_case.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace sg = scangrad;
using reference::Array;
using reference::Arrays;

namespace {

/// A scan along dimension 1, by definition: the states, and the last of each sequence. Elements are
/// in[0] and, if the scan has two operands, in[1], which then has the states' shape; the trailing
/// `own` dimensions are a step's block. Then come the initial state and the resets, of all the
/// dimensions before the last `own`, where the scan has them.
struct Definition {
  static constexpr int dim = 1;
  int own = 0, operands = 1;
  bool reverse = false, exclusive = false, has_initial = false, has_resets = false;
  std::function<std::vector<double>(const sg::Shape& block)> identity;
  std::function<std::vector<double>(const std::vector<double>& state, const double* a,
                                    const double* b, const sg::Shape& block)>
      step;

  Arrays operator()(const Arrays& in) const {
    const Array& shaped = in[static_cast<std::size_t>(operands - 1)];  // has the states' shape
    const int rank = shaped.shape.rank(), leading = rank - own;
    const sg::Shape block = shaped.shape.slice(leading, rank);
    sg::Shape last_shape = shaped.shape;
    last_shape.erase(dim);
    const std::int64_t steps = shaped.shape[dim], size = block.numel();
    const std::int64_t inner = shaped.shape.slice(dim + 1, leading).numel();
    const std::int64_t outer = shaped.shape.slice(0, dim).numel();
    const std::int64_t size_a =
        in[0].shape.slice(in[0].shape.rank() - own, in[0].shape.rank()).numel();
    Array states(shaped.shape), last(last_shape);
    const auto starts_segment = [&](std::int64_t o, std::int64_t t, std::int64_t i) {
      return has_resets && t < steps && in.back()[(o * steps + t) * inner + i] != 0;
    };
    for (std::int64_t o = 0; o < outer; ++o) {
      for (std::int64_t i = 0; i < inner; ++i) {
        const std::int64_t sequence = o * inner + i;
        std::vector<double> state = identity(block);
        for (std::int64_t j = 0; has_initial && j < size; ++j) {
          state[static_cast<std::size_t>(j)] =
              in[static_cast<std::size_t>(operands)][sequence * size + j];
        }
        for (std::int64_t k = 0; k < steps; ++k) {
          const std::int64_t t = reverse ? steps - 1 - k : k, at = (o * steps + t) * inner + i;
          if (starts_segment(o, reverse ? t + 1 : t, i)) state = identity(block);
          const auto put = [&] {
            for (std::int64_t j = 0; j < size; ++j) {
              states[at * size + j] = state[static_cast<std::size_t>(j)];
            }
          };
          if (exclusive) put();
          state = step(state, in[0].values.data() + at * size_a,
                       operands > 1 ? in[1].values.data() + at * size : nullptr, block);
          if (!exclusive) put();
        }
        for (std::int64_t j = 0; j < size; ++j) {
          last[sequence * size + j] = state[static_cast<std::size_t>(j)];
        }
      }
    }
    return {states, last};
  }
};

/// state · a (+ b), matrices; scalars are 1 × 1.
std::vector<double> act(const std::vector<double>& state, const double* a, const double* b,
                        const sg::Shape& block) {
  const std::int64_t p = block.empty() ? 1 : block[0], n = block.empty() ? 1 : block[1];
  std::vector<double> next(static_cast<std::size_t>(p * n));
  for (std::int64_t i = 0; i < p; ++i) {
    for (std::int64_t j = 0; j < n; ++j) {
      double total = b ? b[i * n + j] : 0;
      for (std::int64_t k = 0; k < n; ++k) {
        total += state[static_cast<std::size_t>(i * n + k)] * a[k * n + j];
      }
      next[static_cast<std::size_t>(i * n + j)] = total;
    }
  }
  return next;
}
std::vector<double> zero(const sg::Shape& block) {
  return std::vector<double>(static_cast<std::size_t>(block.numel()), 0.0);
}
std::vector<double> unit(const sg::Shape& block) {
  std::vector<double> state = zero(block);
  const std::int64_t n = block.empty() ? 1 : block[0];
  for (std::int64_t i = 0; i < n; ++i) state[static_cast<std::size_t>(i * (n + 1))] = 1;
  return state;
}

/// (…, T, …) shapes, scanned along dimension 1: empty in every way, single, and large.
const std::vector<sg::Shape> scalar_shapes = {{1, 1},    {0, 3},    {2, 0}, {2, 3, 0},   {2, 5},
                                              {1, 2, 3}, {2, 3, 2}, {3, 7}, {50, 13, 32}};

sg::Shape without_time(sg::Shape shape) {
  shape.erase(1);
  return shape;
}

/// What a row scans: the operands with no `initial`, all calls.
struct Scan {
  std::string name;
  std::function<sg::ScanResult(const sg::Tensors& in, const sg::ScanOptions&)> run;
  Definition definition;
  std::vector<Operands> calls;
  std::vector<std::string> covers = {};
  Tolerance tolerance = {};
  bool needs_initial = false;
};

/// `row` without the first state of an exclusive scan. Where that is an infinite identity it has no
/// finite differences, but the states after it have.
OpCase without_first(OpCase row, bool reverse) {
  row.name += ".after_first";
  row.differentiable = true;
  row.op = [op = row.op, reverse](const sg::Tensors& in) {
    sg::Tensors out = op(in);
    const std::int64_t steps = out[0].size(1);
    out[0] = reverse ? sg::slice(out[0], 1, 0, std::max<std::int64_t>(steps - 1, 0))
                     : sg::slice(out[0], 1, 1);
    return out;
  };
  row.reference = [reference = row.reference, reverse](const Arrays& in) {
    Arrays out = reference(in);
    sg::Shape shape = out[0].shape;
    shape[1] = std::max<std::int64_t>(shape[1] - 1, 0);
    Array rest(shape);
    reference::for_each_index(shape, [&](sg::Shape index) {
      double& to = rest.at(index);
      if (!reverse) ++index[1];
      to = out[0].at(index);
    });
    out[0] = rest;
    return out;
  };
  return row;
}

/// A row for each way to set reverse, exclusive and initial, and for resets (with an initial
/// state).
void add_rows(std::vector<OpCase>& rows, const Scan& scan) {
  for (const char* direction : {"", ".reverse"}) {
    for (const char* kind : {"", ".exclusive"}) {
      for (const char* start : {"", ".initial", ".resets"}) {
        Definition reference = scan.definition;
        reference.reverse = *direction;
        reference.exclusive = *kind;
        reference.has_initial = *start;
        reference.has_resets = start == std::string(".resets");
        if (scan.needs_initial && (!reference.has_initial || reference.has_resets)) continue;
        std::vector<Operands> calls = scan.calls;
        for (Operands& operands : calls) {
          if (!reference.has_initial) continue;
          Operand initial = operands.back();
          const sg::Shape shape = initial.shape;
          initial.shape = without_time(shape);
          operands.push_back(initial);
          if (reference.has_resets) {
            operands.push_back(mask(shape.slice(0, shape.rank() - reference.own)));
          }
        }
        // The identity of an exclusive scan's segments may be infinite.
        const bool differentiable = !reference.exclusive ||
                                    (reference.has_initial && !reference.has_resets) ||
                                    !std::isinf(reference.identity({1, 1})[0]);
        const auto op = [run = scan.run, reference](const sg::Tensors& in) {
          sg::ScanOptions options{
              .dim = 1, .reverse = reference.reverse, .exclusive = reference.exclusive};
          if (reference.has_initial) {
            options.initial = in[static_cast<std::size_t>(reference.operands)];
          }
          if (reference.has_resets) options.resets = in.back();
          const auto [states, last] = run(in, options);
          return sg::Tensors{states, last};
        };
        rows.push_back({.name = scan.name + direction + kind + start,
                        .op = op,
                        .reference = reference,
                        .inputs = calls,
                        .covers = scan.covers,
                        .tolerance = scan.tolerance,
                        .differentiable = differentiable});
        if (!differentiable && !reference.has_resets) {
          rows.push_back(without_first(rows.back(), reference.reverse));
        }
      }
    }
  }
}

/// The definition of a scan by a function of two numbers.
Definition of_numbers(double identity, double (*combine)(double, double)) {
  Definition d;
  d.identity = [identity](const sg::Shape&) { return std::vector<double>{identity}; };
  d.step = [combine](const std::vector<double>& state, const double* a, const double*,
                     const sg::Shape&) { return std::vector<double>{combine(state[0], *a)}; };
  return d;
}

/// The definition of h ← h a (+ b).
Definition of_actions(int own, int operands, std::vector<double> (*identity)(const sg::Shape&)) {
  Definition d;
  d.own = own;
  d.operands = operands;
  d.identity = identity;
  d.step = act;
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

/// What makes matrices near enough the identity for products of 13 to stay of order 1.
std::vector<Operands> element_calls() {
  std::vector<Operands> calls;
  for (const sg::Shape& shape : std::vector<sg::Shape>{{1, 1, 1, 1},
                                                       {0, 3, 2, 2},
                                                       {2, 4, 1, 1},
                                                       {2, 3, 3, 3},
                                                       {1, 2, 2, 2, 2},
                                                       {13, 13, 2, 8, 8}}) {
    calls.push_back({values(shape, -0.2, 0.2)});
  }
  return calls;
}
/// ops/matrix_form.h, element by element.
Array matrices_of(const Array& x, sg::MatrixForm form) {
  const std::int64_t n = x.shape.back();
  Array made(x.shape);
  for (std::int64_t at = 0; at < x.shape.numel(); at += n * n) {
    double mean = 0;
    for (std::int64_t i = 0; i < n; ++i) mean += x[at + i * n + i] / static_cast<double>(n);
    const auto root = [&](std::int64_t i) { return std::sqrt(std::exp(x[at + i * n + i] - mean)); };
    for (std::int64_t r = 0; r < n; ++r) {
      for (std::int64_t c = 0; c < n; ++c) {
        double& m = made[at + r * n + c];
        if (form == sg::MatrixForm::identity) {
          m = x[at + r * n + c] + (r == c);
          continue;
        }
        m = 0;
        for (std::int64_t k = 0; k <= std::min(r, c); ++k) {
          m += (k == r ? root(k) : x[at + r * n + k]) * (k == c ? root(k) : x[at + k * n + c]);
        }
      }
    }
  }
  return made;
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
  // T terms, which may cancel, in the accumulator's precision.
  const Tolerance sums{[](const sg::Tensors& in) { return double(in[0].shape()[1]); }, 4};
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
  // The matrices that a form makes of elements, and their scan.
  for (const sg::MatrixForm form : {sg::MatrixForm::identity, sg::MatrixForm::ldu}) {
    Scan formed = products_of_matrices;
    formed.name = "form_scan";
    formed.run = [form](const sg::Tensors& in, const sg::ScanOptions& options) {
      return sg::form_scan(in[0], form, options);
    };
    formed.covers = {"form_scan_backward"};
    formed.tolerance.stores_intermediates = true;  // where the matrices are a tensor of the dtype
    formed.calls = element_calls();
    const std::size_t first_formed = rows.size();
    add_rows(rows, formed);
    for (std::size_t i = first_formed; i < rows.size(); ++i) {
      rows[i].name += form == sg::MatrixForm::ldu ? ".ldu" : ".identity";
      rows[i].reference = [plain = rows[i].reference, form](const Arrays& in) {
        Arrays made = in;
        made[0] = matrices_of(in[0], form);
        return plain(made);
      };
    }
    rows.push_back(
        {.name = form == sg::MatrixForm::ldu ? "form_matrices.ldu" : "form_matrices.identity",
         .op =
             [form](const sg::Tensors& in) { return sg::Tensors{sg::form_matrices(in[0], form)}; },
         .reference = [form](const Arrays& in) { return Arrays{matrices_of(in[0], form)}; },
         .inputs = {{values({1, 1}, -1, 1)},
                    {values({3, 4, 4}, -1, 1)},
                    {values({2, 0, 2, 2}, -1, 1)},
                    {values({5, 3, 3}, -1, 1)},
                    {values({320, 8, 8}, -1, 1)}},
         .tolerance = formed.tolerance});
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
