#include <scangrad/ops/reduce.h>
#include <scangrad/ops/shape.h>
#include <scangrad/tests/ops/op_case.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace sg = scangrad;
using reference::reduction;

namespace {

double total(const std::vector<double>& v) { return std::accumulate(v.begin(), v.end(), 0.0); }
double average(const std::vector<double>& v) { return total(v) / static_cast<double>(v.size()); }

sg::DType sum_dtype(sg::DType dtype) { return sg::is_floating(dtype) ? dtype : sg::i64; }

/// Terms of ±2 may cancel: the sum's rounding is that of its largest partial sum.
const Tolerance sum_of_all{[](const sg::Tensors& in) { return double(in[0].numel()); }, 2};
/// A mean's terms are 1/n of that: nothing to add to the absolute bound.
const Tolerance mean_of_all{sum_of_all.terms, 0};

/// Ranges of some length along dimension 1: an empty one has no largest element.
std::vector<Operands> never_empty_ranges(Operand of) {
  std::vector<Operands> calls;
  for (const sg::Shape& shape : std::vector<sg::Shape>{
           {1, 1, 1}, {2, 3, 0}, {0, 2, 3}, {2, 3, 2}, {3, 1, 4}, {29, 31, 37}}) {
    of.shape = shape;
    calls.push_back({of});
  }
  return calls;
}

std::vector<Operands> with_rank_three() {
  std::vector<Operands> calls;
  for (const sg::Shape& shape : std::vector<sg::Shape>{
           {1, 1, 1}, {2, 0, 3}, {0, 1, 2}, {2, 3, 2}, {3, 1, 4}, {29, 31, 37}}) {
    calls.push_back({values(shape)});
  }
  return calls;
}

double largest(const std::vector<double>& v) { return *std::max_element(v.begin(), v.end()); }
double smallest(const std::vector<double>& v) { return *std::min_element(v.begin(), v.end()); }
double first_largest(const std::vector<double>& v) {
  return static_cast<double>(std::max_element(v.begin(), v.end()) - v.begin());
}
double first_smallest(const std::vector<double>& v) {
  return static_cast<double>(std::min_element(v.begin(), v.end()) - v.begin());
}

/// Values and places.
reference::Function both(const reference::Function& values, const reference::Function& places) {
  return [=](const reference::Arrays& in) {
    return reference::Arrays{values(in)[0], places(in)[0]};
  };
}

std::vector<OpCase> extreme_cases() {
  const std::vector<sg::DType> numbers = {sg::f64, sg::f32, sg::bf16, sg::i32, sg::i64};
  const auto to_i64 = [](sg::DType) { return sg::i64; };
  std::vector<OpCase> rows;
  const auto row = [&](const char* name, sg::TensorFunction op, reference::Function expected,
                       const std::vector<std::string>& covers) {
    rows.push_back({.name = name,
                    .op = std::move(op),
                    .reference = std::move(expected),
                    .inputs = never_empty_ranges(distinct({}, -9, 9)),
                    .covers = covers,
                    .dtypes = numbers});
  };
  row("amax", [](const sg::Tensors& in) { return sg::Tensors{sg::amax(in[0], {1})}; },
      reduction({1}, false, largest), {});
  row("amin", [](const sg::Tensors& in) { return sg::Tensors{sg::amin(in[0], {1}, true)}; },
      reduction({1}, true, smallest), {});
  row("amax.first",
      [](const sg::Tensors& in) { return sg::Tensors{sg::amax(sg::transpose(in[0], 0, 1), {0})}; },
      reduction({1}, false, largest), {});
  row("max",
      [](const sg::Tensors& in) {
        const auto [values, indices] = sg::max(in[0], 1);
        return sg::Tensors{values, indices};
      },
      both(reduction({1}, false, largest), reduction({1}, false, first_largest)), {"max_along"});
  row("min",
      [](const sg::Tensors& in) {
        const auto [values, indices] = sg::min(in[0], -2, true);
        return sg::Tensors{values, indices};
      },
      both(reduction({1}, true, smallest), reduction({1}, true, first_smallest)), {"min_along"});
  row("argmax", [](const sg::Tensors& in) { return sg::Tensors{sg::argmax(in[0], 1)}; },
      reduction({1}, false, first_largest), {});
  rows.back().differentiable = false;
  rows.back().result_dtype = to_i64;
  row("argmin", [](const sg::Tensors& in) { return sg::Tensors{sg::argmin(in[0], 1, true)}; },
      reduction({1}, true, first_smallest), {});
  rows.back().differentiable = false;
  rows.back().result_dtype = to_i64;
  std::vector<Operands> whole;
  for (const sg::Shape& shape :
       std::vector<sg::Shape>{{}, {1}, {5}, {3, 4}, {2, 1, 4}, {137, 257}}) {
    whole.push_back({distinct(shape, -9, 9)});
  }
  row("max.all", [](const sg::Tensors& in) { return sg::Tensors{sg::max(in[0])}; },
      reduction({}, false, largest), {});
  rows.back().inputs = whole;
  rows.back().refuses_empty = true;
  row("min.all", [](const sg::Tensors& in) { return sg::Tensors{sg::min(in[0])}; },
      reduction({}, false, smallest), {});
  rows.back().inputs = whole;
  rows.back().refuses_empty = true;
  return rows;
}

/// Composed of several operations, each of which rounds to the dtype.
const Tolerance composed{[](const sg::Tensors&) { return 1.0; }, 2, true};

std::vector<OpCase> composed_cases() {
  std::vector<OpCase> rows;
  const auto row = [&](const char* name, sg::TensorFunction op,
                       const std::function<double(const std::vector<double>&)>& f,
                       const Operand& of) {
    rows.push_back({.name = name,
                    .op = std::move(op),
                    .reference = reduction({1}, false, f),
                    .inputs = never_empty_ranges(of),
                    .tolerance = composed});
  };
  // A correction below 1 is defined for one value too; 0 and 1 are in test_reduce.cpp.
  row(
      "var", [](const sg::Tensors& in) { return sg::Tensors{sg::var(in[0], {1}, 0.5)}; },
      [](const std::vector<double>& v) {
        double squares = 0;
        for (double x : v) squares += (x - average(v)) * (x - average(v));
        return squares / (static_cast<double>(v.size()) - 0.5);
      },
      values({}));
  row(
      "logsumexp", [](const sg::Tensors& in) { return sg::Tensors{sg::logsumexp(in[0], {1})}; },
      [](const std::vector<double>& v) {
        double sum = 0;
        for (double x : v) sum += std::exp(x);
        return std::log(sum);
      },
      values({}));
  const auto power_norm = [](double p) {
    return [p](const std::vector<double>& v) {
      double sum = 0;
      for (double x : v) sum += std::pow(std::abs(x), p);
      return std::pow(sum, 1 / p);
    };
  };
  const Operand off_zero = values({}, -2, 2, {0});  // where |x| has no derivative
  row(
      "norm", [](const sg::Tensors& in) { return sg::Tensors{sg::norm(in[0], 2, {1})}; },
      power_norm(2), off_zero);
  row(
      "norm.one", [](const sg::Tensors& in) { return sg::Tensors{sg::norm(in[0], 1, {1})}; },
      power_norm(1), off_zero);
  row(
      "norm.three", [](const sg::Tensors& in) { return sg::Tensors{sg::norm(in[0], 3, {1})}; },
      power_norm(3), off_zero);
  row(
      "norm.infinity",
      [](const sg::Tensors& in) {
        return sg::Tensors{sg::norm(in[0], std::numeric_limits<double>::infinity(), {1})};
      },
      largest, distinct({}, 1, 9));
  return rows;
}

std::vector<OpCase> truth_cases() {
  std::vector<OpCase> rows;
  const auto row = [&](const char* name, sg::TensorFunction op, const reference::Function& f) {
    std::vector<Operands> inputs;
    for (const sg::Shape& shape : std::vector<sg::Shape>{
             {1, 1, 1}, {2, 0, 3}, {0, 1, 2}, {2, 3, 2}, {3, 1, 4}, {290, 4, 37}}) {
      inputs.push_back({indices(shape, 2)});
    }
    rows.push_back({.name = name,
                    .op = std::move(op),
                    .reference = f,
                    .inputs = inputs,
                    .dtypes = {sg::i64},
                    .result_dtype = [](sg::DType) { return sg::bool_; },
                    .differentiable = false});
  };
  row(
      "any", [](const sg::Tensors& in) { return sg::Tensors{sg::any(in[0], {1})}; },
      reduction({1}, false, [](const std::vector<double>& v) -> double {
        return std::any_of(v.begin(), v.end(), [](double x) { return x != 0; });
      }));
  row(
      "all", [](const sg::Tensors& in) { return sg::Tensors{sg::all(in[0], {1}, true)}; },
      reduction({1}, true, [](const std::vector<double>& v) -> double {
        return std::all_of(v.begin(), v.end(), [](double x) { return x != 0; });
      }));
  return rows;
}

}  // namespace

std::vector<OpCase> reduce_cases() {
  const std::vector<sg::DType> numbers = {sg::f64, sg::f32, sg::bf16, sg::i32, sg::i64};
  std::vector<OpCase> rows;
  rows.push_back({.name = "sum",
                  .op = [](const sg::Tensors& in) { return sg::Tensors{sg::sum(in[0])}; },
                  .reference = reduction({}, false, total),
                  .inputs = unary_inputs(),
                  .dtypes = numbers,
                  .result_dtype = sum_dtype,
                  .tolerance = sum_of_all});
  const std::vector<std::pair<std::string, sg::Dims>> choices = {
      {"first", {0}}, {"middle", {1}}, {"last", {-1}}, {"outer", {0, 2}}};
  for (const auto& [name, dims] : choices) {
    rows.push_back(
        {.name = "sum." + name,
         .op = [dims = dims](const sg::Tensors& in) { return sg::Tensors{sg::sum(in[0], dims)}; },
         .reference = reduction(dims, false, total),
         .inputs = with_rank_three(),
         .dtypes = numbers,
         .result_dtype = sum_dtype,
         .tolerance = sum_of_all});
  }
  rows.push_back(
      {.name = "sum.keepdim",
       .op = [](const sg::Tensors& in) { return sg::Tensors{sg::sum(in[0], {1}, true)}; },
       .reference = reduction({1}, true, total),
       .inputs = with_rank_three(),
       .tolerance = sum_of_all});
  rows.push_back({.name = "mean",
                  .op = [](const sg::Tensors& in) { return sg::Tensors{sg::mean(in[0])}; },
                  .reference = reduction({}, false, average),
                  .inputs = unary_inputs(),
                  .tolerance = mean_of_all});
  rows.push_back({.name = "mean.dims",
                  .op =
                      [](const sg::Tensors& in) {
                        return sg::Tensors{sg::mean(in[0], {0, -1})};
                      },
                  .reference = reduction({0, 2}, false, average),
                  .inputs = with_rank_three(),
                  .tolerance = mean_of_all});
  // Down to (3, 1): over an added dimension and over a broadcast one.
  rows.push_back({.name = "sum_to",
                  .op =
                      [](const sg::Tensors& in) {
                        return sg::Tensors{sg::sum_to(in[0], {in[0].shape()[1], 1})};
                      },
                  .reference =
                      [](const reference::Arrays& in) {
                        reference::Array y({in[0].shape[1], 1});
                        reference::for_each_index(in[0].shape, [&](const sg::Shape& i) {
                          y.at({i[1], 0}) += in[0].at(i);
                        });
                        return reference::Arrays{y};
                      },
                  .inputs = with_rank_three(),
                  .tolerance = sum_of_all});
  for (OpCase& row : extreme_cases()) rows.push_back(std::move(row));
  for (OpCase& row : composed_cases()) rows.push_back(std::move(row));
  for (OpCase& row : truth_cases()) rows.push_back(std::move(row));
  return rows;
}
