#include <scangrad/ops/elementwise.h>
#include <scangrad/tests/ops/op_case.h>

#include <algorithm>
#include <array>
#include <cmath>

namespace sg = scangrad;
using reference::map;
using sg::Tensor;
using sg::Tensors;

namespace {

const std::vector<sg::DType> floats = {sg::f64, sg::f32, sg::bf16};
const std::vector<sg::DType> numbers = {sg::f64, sg::f32, sg::bf16, sg::i32, sg::i64};

sg::DType as_bool(sg::DType) { return sg::bool_; }

/// y = f(x).
sg::TensorFunction with(Tensor (*f)(const Tensor&)) {
  return [f](const Tensors& in) { return Tensors{f(in[0])}; };
}
/// y = f(a, b).
sg::TensorFunction with(Tensor (*f)(const Tensor&, const Tensor&)) {
  return [f](const Tensors& in) { return Tensors{f(in[0], in[1])}; };
}

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }
double normal_cdf(double x) { return 0.5 * std::erfc(-x / std::sqrt(2.0)); }
double normal_density(double x) { return std::exp(-x * x / 2) / std::sqrt(2 * std::acos(-1.0)); }
double gelu_tanh(double x) {
  return 0.5 * x * (1 + std::tanh(std::sqrt(2 / std::acos(-1.0)) * (x + 0.044715 * x * x * x)));
}
/// d gelu_tanh / dx by the product and chain rules.
double gelu_tanh_slope(double x) {
  const double c = std::sqrt(2 / std::acos(-1.0));
  const double t = std::tanh(c * (x + 0.044715 * x * x * x));
  return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * c * (1 + 3 * 0.044715 * x * x);
}

void add_unary(std::vector<OpCase>& rows) {
  const auto any = unary_inputs();
  const auto positive = unary_inputs(0.3, 3);
  const auto kink_at_zero = unary_inputs(-2, 2, {0});
  const auto row = [&](const char* name, Tensor (*f)(const Tensor&), double (*expected)(double),
                       const std::vector<Operands>& inputs, const std::vector<sg::DType>& dtypes) {
    rows.push_back({.name = name,
                    .op = with(f),
                    .reference = map(expected),
                    .inputs = inputs,
                    .dtypes = dtypes});
  };
  row(
      "neg", sg::neg, [](double x) { return -x; }, any, numbers);
  row(
      "abs", sg::abs, [](double x) { return std::abs(x); }, kink_at_zero, numbers);
  row(
      "sign", sg::sign, [](double x) { return double(x > 0) - double(x < 0); }, kink_at_zero,
      numbers);
  row(
      "square", sg::square, [](double x) { return x * x; }, any, numbers);
  row(
      "reciprocal", sg::reciprocal, [](double x) { return 1 / x; }, positive, floats);
  row(
      "exp", sg::exp, [](double x) { return std::exp(x); }, any, floats);
  row(
      "log", sg::log, [](double x) { return std::log(x); }, positive, floats);
  row(
      "sqrt", sg::sqrt, [](double x) { return std::sqrt(x); }, positive, floats);
  row(
      "rsqrt", sg::rsqrt, [](double x) { return 1 / std::sqrt(x); }, positive, floats);
  row(
      "sin", sg::sin, [](double x) { return std::sin(x); }, any, floats);
  row(
      "cos", sg::cos, [](double x) { return std::cos(x); }, any, floats);
  row(
      "tanh", sg::tanh, [](double x) { return std::tanh(x); }, any, floats);
  row(
      "erf", sg::erf, [](double x) { return std::erf(x); }, any, floats);
  row("sigmoid", sg::sigmoid, sigmoid, any, floats);
  row(
      "relu", sg::relu, [](double x) { return std::max(x, 0.0); }, kink_at_zero, numbers);
  row(
      "silu", sg::silu, [](double x) { return x * sigmoid(x); }, any, floats);
  row(
      "gelu_erf", sg::gelu_erf, [](double x) { return x * normal_cdf(x); }, any, floats);
  row("gelu_tanh", sg::gelu_tanh, gelu_tanh, any, floats);
  row(
      "as_floating", sg::as_floating, [](double x) { return x; }, any, floats);
}

/// Operations with parameters.
void add_parametric(std::vector<OpCase>& rows) {
  const auto row = [&](const char* name, Tensor (*f)(const Tensor&), double (*expected)(double),
                       const std::vector<Operands>& inputs,
                       const std::vector<sg::DType>& dtypes = floats) {
    rows.push_back({.name = name,
                    .op = with(f),
                    .reference = map(expected),
                    .inputs = inputs,
                    .dtypes = dtypes});
  };
  const auto any = unary_inputs();
  row(
      "gelu.erf", [](const Tensor& x) { return sg::gelu(x); },
      [](double x) { return x * normal_cdf(x); }, any);
  row(
      "gelu.tanh", [](const Tensor& x) { return sg::gelu(x, sg::Gelu::tanh); }, gelu_tanh, any);
  row(
      "elu.default", [](const Tensor& x) { return sg::elu(x); },
      [](double x) { return x > 0 ? x : std::expm1(x); }, unary_inputs(-2, 2, {0}));
  row(
      "elu.alpha", [](const Tensor& x) { return sg::elu(x, 0.7); },
      [](double x) { return x > 0 ? x : 0.7 * std::expm1(x); }, unary_inputs(-2, 2, {0}));
  row(
      "softplus.default", [](const Tensor& x) { return sg::softplus(x); },
      [](double x) { return std::log1p(std::exp(x)); }, any);
  row(
      "softplus.beta", [](const Tensor& x) { return sg::softplus(x, 3.0); },
      [](double x) { return std::log1p(std::exp(3 * x)) / 3; }, any);
  row(
      "clamp", [](const Tensor& x) { return sg::clamp(x, -1, 1); },
      [](double x) { return std::clamp(x, -1.0, 1.0); }, unary_inputs(-2, 2, {-1, 1}), numbers);
  row(
      "add.number", [](const Tensor& x) { return 3 - (x - 1.0) + 2.0; },
      [](double x) { return 6 - x; }, any, numbers);
  row(
      "mul.number", [](const Tensor& x) { return -2.0 * x; }, [](double x) { return -2 * x; }, any,
      numbers);
  row(
      "div.number", [](const Tensor& x) { return 1.0 / x + x / 4.0; },
      [](double x) { return 1 / x + x / 4; }, unary_inputs(0.3, 3));
  row(
      "add_scalar", [](const Tensor& x) { return sg::add_scalar(x, 3); },
      [](double x) { return x + 3; }, any, numbers);
  row(
      "mul_scalar", [](const Tensor& x) { return sg::mul_scalar(x, -3); },
      [](double x) { return x * -3; }, any, numbers);
  row(
      "pow_scalar.third", [](const Tensor& x) { return sg::pow_scalar(x, 3); },
      [](double x) { return x * x * x; }, any);
  row(
      "pow.fraction", [](const Tensor& x) { return sg::pow(x, -1.5); },
      [](double x) { return std::pow(x, -1.5); }, unary_inputs(0.3, 3));
}

void add_binary(std::vector<OpCase>& rows) {
  const auto row = [&](const char* name, Tensor (*f)(const Tensor&, const Tensor&),
                       double (*expected)(double, double), const std::vector<Operands>& inputs,
                       const std::vector<sg::DType>& dtypes) {
    rows.push_back({.name = name,
                    .op = with(f),
                    .reference = map(expected),
                    .inputs = inputs,
                    .dtypes = dtypes});
  };
  const auto any = binary_inputs();
  const auto no_ties = binary_inputs(distinct({}), distinct({}));
  const auto divisor = binary_inputs(values({}), values({}, 0.5, 3));
  row(
      "add", sg::add, [](double a, double b) { return a + b; }, any, numbers);
  row(
      "sub", sg::sub, [](double a, double b) { return a - b; }, any, numbers);
  row(
      "mul", sg::mul, [](double a, double b) { return a * b; }, any, numbers);
  row(
      "div", sg::div, [](double a, double b) { return a / b; }, divisor, floats);
  row(
      "pow.tensors", sg::pow, [](double a, double b) { return std::pow(a, b); },
      binary_inputs(values({}, 0.3, 3), values({})), floats);
  row(
      "maximum", sg::maximum, [](double a, double b) { return std::max(a, b); }, no_ties, numbers);
  row(
      "minimum", sg::minimum, [](double a, double b) { return std::min(a, b); }, no_ties, numbers);

  // The fused backward of an activation: its gradient g and the saved output or input.
  row(
      "tanh_backward", sg::tanh_backward, [](double g, double y) { return g * (1 - y * y); }, any,
      floats);
  row(
      "sigmoid_backward", sg::sigmoid_backward, [](double g, double y) { return g * y * (1 - y); },
      any, floats);
  row(
      "relu_backward", sg::relu_backward, [](double g, double y) { return y > 0 ? g : 0; },
      binary_inputs(values({}), values({}, -2, 2, {0})), numbers);
  row(
      "silu_backward", sg::silu_backward,
      [](double g, double x) { return g * sigmoid(x) * (1 + x * (1 - sigmoid(x))); }, any, floats);
  row(
      "gelu_erf_backward", sg::gelu_erf_backward,
      [](double g, double x) { return g * (normal_cdf(x) + x * normal_density(x)); }, any, floats);
  row(
      "gelu_tanh_backward", sg::gelu_tanh_backward,
      [](double g, double x) { return g * gelu_tanh_slope(x); }, any, floats);
}

void add_comparisons(std::vector<OpCase>& rows) {
  const auto row = [&](const std::string& name, const sg::TensorFunction& f,
                       const reference::Function& expected, const std::vector<Operands>& inputs,
                       const std::vector<sg::DType>& dtypes) {
    rows.push_back({.name = name,
                    .op = f,
                    .reference = expected,
                    .inputs = inputs,
                    .dtypes = dtypes,
                    .result_dtype = as_bool,
                    .differentiable = false});
  };
  struct Comparison {
    const char* name;
    Tensor (*tensors)(const Tensor&, const Tensor&);
    Tensor (*number)(const Tensor&, double);
    bool (*expected)(double, double);
  };
  const Comparison comparisons[] = {
      {"eq", sg::eq, sg::eq, [](double a, double b) { return a == b; }},
      {"ne", sg::ne, sg::ne, [](double a, double b) { return a != b; }},
      {"lt", sg::lt, sg::lt, [](double a, double b) { return a < b; }},
      {"le", sg::le, sg::le, [](double a, double b) { return a <= b; }},
      {"gt", sg::gt, sg::gt, [](double a, double b) { return a > b; }},
      {"ge", sg::ge, sg::ge, [](double a, double b) { return a >= b; }},
  };
  // As integers these values are −2 … 2: every comparison meets ties.
  const auto any = binary_inputs(values({}, -2.9, 2.9), values({}, -2.9, 2.9));
  for (const Comparison& c : comparisons) {
    row(c.name, with(c.tensors), map(std::function<double(double, double)>(c.expected)), any,
        numbers);
    row(
        c.name + std::string(".number"),
        [f = c.number](const Tensors& in) { return Tensors{f(in[0], 1.0)}; },
        map([f = c.expected](double x) { return double(f(x, 1.0)); }), unary_inputs(-2.9, 2.9),
        numbers);
  }
  const auto masks = binary_inputs(mask({}), mask({}));
  row("logical_and", with(sg::logical_and), map([](double a, double b) { return double(a && b); }),
      masks, {sg::f64});
  row("logical_or", with(sg::logical_or), map([](double a, double b) { return double(a || b); }),
      masks, {sg::f64});
  row("logical_and.numbers", with(sg::logical_and),
      map([](double a, double b) { return double(a && b); }), any, numbers);
  row("logical_not", with(sg::logical_not), map([](double a) { return double(!a); }),
      unary_inputs(-2.9, 2.9), numbers);
  // −710 … 710 gives e^x both finite values and infinities in bf16 and f32, none in f64.
  row(
      "isfinite", [](const Tensors& in) { return Tensors{sg::isfinite(sg::exp(in[0]))}; },
      [](const reference::Arrays& in) { return map([](double) { return 1.0; })(in); },
      unary_inputs(-80, 80), floats);
  row("isfinite.not",
      [](const Tensors& in) { return Tensors{sg::isfinite(sg::exp(in[0] * 1000.0))}; },
      map([](double x) { return double(x < 0); }), unary_inputs(-2, 2, {0}), {sg::f32, sg::bf16});
  row(
      "isnan", [](const Tensors& in) { return Tensors{sg::isnan(sg::sqrt(in[0]))}; },
      map([](double x) { return double(x < 0); }), unary_inputs(), floats);
}

void add_selection(std::vector<OpCase>& rows) {
  std::vector<Operands> inputs;
  for (const auto& [m, a, b] :
       std::vector<std::array<sg::Shape, 3>>{{{{}, {}, {}}},
                                             {{{1}, {1}, {1}}},
                                             {{{0}, {1}, {0}}},
                                             {{{3, 4}, {3, 4}, {3, 4}}},
                                             {{{3, 1}, {1, 4}, {}}},
                                             {{{4}, {3, 1}, {2, 1, 1}}},
                                             {{{137, 257}, {137, 257}, {257}}}}) {
    inputs.push_back({mask(m), values(a), values(b)});
  }
  rows.push_back({.name = "where",
                  .op = [](const Tensors& in) { return Tensors{sg::where(in[0], in[1], in[2])}; },
                  .reference = map([](double m, double a, double b) { return m != 0 ? a : b; }),
                  .inputs = inputs,
                  .dtypes = numbers});
  rows.push_back(
      {.name = "masked_fill",
       .op = [](const Tensors& in) { return Tensors{sg::masked_fill(in[0], in[1], -7)}; },
       .reference = map([](double x, double m) { return m != 0 ? -7.0 : x; }),
       .inputs = binary_inputs(values({}), mask({})),
       .dtypes = numbers});
  rows.push_back({.name = "cast.integer",
                  .op = [](const Tensors& in) { return Tensors{sg::cast(in[0], sg::i32)}; },
                  .reference = map([](double x) { return std::trunc(x); }),
                  .inputs = unary_inputs(-100, 100),
                  .dtypes = numbers,
                  .result_dtype = [](sg::DType) { return sg::i32; },
                  .differentiable = false});
  rows.push_back({.name = "cast.f64",
                  .op = [](const Tensors& in) { return Tensors{sg::cast(in[0], sg::f64)}; },
                  .reference = map([](double x) { return x; }),
                  .inputs = unary_inputs(-100, 100),
                  .dtypes = numbers,
                  .result_dtype = [](sg::DType) { return sg::f64; }});
}

/// A copy with the same strides, unless elements share memory: what an operation may change.
Tensor editable(const Tensor& x) {
  bool overlaps = false;
  for (int dim = 0; dim < x.rank(); ++dim) overlaps |= x.strides()[dim] == 0 && x.shape()[dim] > 1;
  Tensor copy = sg::empty_like(x);
  if (!overlaps && !x.is_contiguous()) {
    const auto count = static_cast<std::int64_t>(x.storage()->bytes() / sg::size_of(x.dtype()));
    copy = sg::zeros({count}, x.options()).as_strided(x.shape(), x.strides(), x.offset());
  }
  sg::copy_(copy, x.detach());
  return copy;
}

void add_in_place(std::vector<OpCase>& rows) {
  const auto row = [&](const std::string& name, const sg::TensorFunction& f,
                       const reference::Function& expected, const std::vector<Operands>& inputs) {
    // scale · x is rounded to the target's dtype before it is added, and the sum may cancel.
    rows.push_back({.name = name,
                    .op = f,
                    .reference = expected,
                    .inputs = inputs,
                    .dtypes = numbers,
                    .tolerance = {[](const Tensors&) { return 2.0; }, 3, true},
                    .differentiable = false});
  };
  // The target has the result's shape; the other operand broadcasts to it.
  std::vector<Operands> inputs;
  for (const auto& [a, b] : std::vector<std::pair<sg::Shape, sg::Shape>>{{{}, {}},
                                                                         {{1}, {1}},
                                                                         {{0}, {1}},
                                                                         {{2, 0, 3}, {3}},
                                                                         {{3, 4}, {3, 4}},
                                                                         {{3, 4}, {3, 1}},
                                                                         {{2, 3, 2}, {}},
                                                                         {{137, 257}, {257}}}) {
    inputs.push_back({values(a), values(b)});
    for (Operand& operand : inputs.back()) operand.differentiable = false;
  }
  row(
      "add_",
      [](const Tensors& in) {
        Tensor x = editable(in[0]);
        sg::add_(x, in[1], 3);
        return Tensors{x};
      },
      map([](double a, double b) { return a + 3 * b; }), inputs);
  row(
      "copy_",
      [](const Tensors& in) {
        Tensor x = editable(in[0]);
        sg::copy_(x, in[1]);
        return Tensors{x};
      },
      map([](double, double b) { return b; }), inputs);
  row(
      "mul_",
      [](const Tensors& in) {
        Tensor x = editable(in[0]);
        sg::mul_(x, 3);
        return Tensors{x};
      },
      map([](double a) { return 3 * a; }), unary_inputs());
  row(
      "zero_",
      [](const Tensors& in) {
        Tensor x = editable(in[0]);
        sg::zero_(x);
        return Tensors{x};
      },
      map([](double) { return 0.0; }), unary_inputs());
}

}  // namespace

std::vector<OpCase> elementwise_cases() {
  std::vector<OpCase> rows;
  add_unary(rows);
  add_parametric(rows);
  add_binary(rows);
  add_comparisons(rows);
  add_selection(rows);
  add_in_place(rows);
  return rows;
}
