#include <scangrad/ops/reduce.h>
#include <scangrad/tests/ops/op_case.h>

#include <cmath>
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

std::vector<Operands> with_rank_three() {
  std::vector<Operands> calls;
  for (const sg::Shape& shape : std::vector<sg::Shape>{
           {1, 1, 1}, {2, 0, 3}, {0, 1, 2}, {2, 3, 2}, {3, 1, 4}, {29, 31, 37}}) {
    calls.push_back({values(shape)});
  }
  return calls;
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
  return rows;
}
