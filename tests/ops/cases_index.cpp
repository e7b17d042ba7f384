#include <scangrad/ops/index.h>
#include <scangrad/tests/ops/op_case.h>

#include <algorithm>
#include <cmath>
#include <numeric>

namespace sg = scangrad;
using reference::Array;
using reference::Arrays;
using sg::Shape;
using sg::Tensors;

namespace {

/// A sum has at most as many terms of size 2 as there are indices.
const Tolerance sums{[](const Tensors& in) { return static_cast<double>(in[1].numel()); }, 2};

/// `+` of the two makes g++ 12 warn of an overlap that cannot be.
std::string numbered(std::string name, int dim) { return name.append(std::to_string(dim)); }

/// in[0]'s slices along `dim` by the vector in[1].
Arrays picked(const Arrays& in, int dim) {
  Shape shape = in[0].shape;
  shape[dim] = in[1].numel();
  Array y(shape);
  reference::for_each_index(shape, [&](const Shape& index) {
    Shape from = index;
    from[dim] = static_cast<std::int64_t>(in[1][index[dim]]);
    y.at(index) = in[0].at(from);
  });
  return {y};
}

std::vector<OpCase> row_cases() {
  std::vector<OpCase> rows;
  rows.push_back({.name = "embedding",
                  .op = [](const Tensors& in) { return Tensors{sg::embedding(in[1], in[0])}; },
                  .reference =
                      [](const Arrays& in) {
                        Arrays y = picked(in, 0);
                        y[0].shape = in[1].shape;
                        y[0].shape.push_back(in[0].shape[1]);
                        return y;
                      },
                  .inputs = {{values({1, 1}), indices({1}, 1)},
                             {values({3, 2}), indices({}, 3)},
                             {values({3, 2}), indices({0, 4}, 3)},
                             {values({5, 4}), indices({2, 3}, 5)},
                             {values({4, 1}), indices({2, 1, 3}, 4)},
                             {values({150, 140}), indices({9, 30}, 150)}},
                  .covers = {"index_select", "index_add"},
                  .tolerance = sums});
  for (const int dim : {0, 1, 2}) {
    std::vector<Operands> inputs;
    for (const Shape& shape : std::vector<Shape>{{1, 1, 1}, {2, 3, 4}, {3, 1, 2}, {29, 31, 37}}) {
      inputs.push_back({values(shape), indices({5}, shape[dim])});
    }
    inputs.push_back({values({2, 3, 4}), indices({0}, 1)});
    inputs.push_back({values({300, 10, 10}), indices({100}, 10)});
    rows.push_back(
        {.name = numbered("index_select.", dim),
         .op = [dim](const Tensors& in) { return Tensors{sg::index_select(in[0], dim, in[1])}; },
         .reference = [dim](const Arrays& in) { return picked(in, dim); },
         .inputs = inputs,
         .tolerance = sums});
  }
  return rows;
}

std::vector<OpCase> element_cases() {
  std::vector<OpCase> rows;
  for (const int dim : {0, 1, 2}) {
    // x, index, and for scatter_add the terms: more than the index asks for.
    std::vector<Operands> inputs;
    const auto add = [&](const Shape& x, Shape index, std::int64_t count) {
      index[dim] = count;
      Shape source = index;
      source[0] += 1;
      inputs.push_back({values(x), indices(index, x[dim]), values(source)});
    };
    add({1, 1, 1}, {1, 1, 1}, 1);
    add({2, 3, 4}, {2, 3, 4}, 5);
    add({2, 3, 4}, {1, 2, 3}, 2);
    add({3, 2, 2}, {3, 2, 2}, 0);
    add({4, 1, 3}, {2, 1, 3}, 1);
    add({29, 31, 37}, {29, 30, 37}, 33);
    rows.push_back({.name = numbered("scatter_add.", dim),
                    .op =
                        [dim](const Tensors& in) {
                          return Tensors{sg::scatter_add(in[0], dim, in[1], in[2])};
                        },
                    .reference =
                        [dim](const Arrays& in) {
                          Array y = in[0];
                          reference::for_each_index(in[1].shape, [&](const Shape& index) {
                            Shape to = index;
                            to[dim] = static_cast<std::int64_t>(in[1].at(index));
                            y.at(to) += in[2].at(index);
                          });
                          return Arrays{y};
                        },
                    .inputs = inputs,
                    .tolerance = sums});
    for (Operands& operands : inputs) operands.pop_back();
    rows.push_back(
        {.name = numbered("gather.", dim),
         .op = [dim](const Tensors& in) { return Tensors{sg::gather(in[0], dim, in[1])}; },
         .reference =
             [dim](const Arrays& in) {
               Array y(in[1].shape);
               reference::for_each_index(y.shape, [&](const Shape& index) {
                 Shape from = index;
                 from[dim] = static_cast<std::int64_t>(in[1].at(index));
                 y.at(index) = in[0].at(from);
               });
               return Arrays{y};
             },
         .inputs = inputs,
         .tolerance = sums});
  }
  rows.push_back({.name = "one_hot",
                  .op = [](const Tensors& in) { return Tensors{sg::one_hot(in[0], 5)}; },
                  .reference =
                      [](const Arrays& in) {
                        Shape shape = in[0].shape;
                        shape.push_back(5);
                        Array y(shape);
                        for (std::int64_t i = 0; i < in[0].numel(); ++i) {
                          y[5 * i + static_cast<std::int64_t>(in[0][i])] = 1;
                        }
                        return Arrays{y};
                      },
                  .inputs = {{indices({}, 5)},
                             {indices({1}, 5)},
                             {indices({0, 2}, 5)},
                             {indices({3, 4}, 5)},
                             {indices({150, 140}, 5)}},
                  .dtypes = {sg::i64},
                  .differentiable = false});
  return rows;
}

/// The first k along dimension 1 in order, ties by place, and their places.
reference::Function ordered(std::function<std::int64_t(std::int64_t)> first, bool descending) {
  return [=](const Arrays& in) {
    const std::int64_t n = in[0].shape[1], k = first(n);
    Shape shape = in[0].shape;
    shape[1] = k;
    Array values(shape), places(shape);
    for (std::int64_t o = 0; o < shape[0]; ++o) {
      for (std::int64_t j = 0; j < shape[2]; ++j) {
        std::vector<std::int64_t> order(static_cast<std::size_t>(n));
        std::iota(order.begin(), order.end(), 0);
        std::stable_sort(order.begin(), order.end(), [&](std::int64_t a, std::int64_t b) {
          const double x = in[0].at({o, a, j}), y = in[0].at({o, b, j});
          return descending ? x > y : x < y;
        });
        for (std::int64_t i = 0; i < k; ++i) {
          places.at({o, i, j}) = static_cast<double>(order[static_cast<std::size_t>(i)]);
          values.at({o, i, j}) = in[0].at({o, order[static_cast<std::size_t>(i)], j});
        }
      }
    }
    return Arrays{values, places};
  };
}

std::vector<OpCase> sort_cases() {
  const std::vector<sg::DType> numbers = {sg::f64, sg::f32, sg::bf16, sg::i32, sg::i64};
  std::vector<Operands> inputs;
  for (const Shape& shape :
       std::vector<Shape>{{1, 1, 1}, {2, 0, 3}, {0, 4, 2}, {2, 3, 2}, {3, 5, 1}, {3, 300, 37}}) {
    inputs.push_back({distinct(shape, -9, 9)});
  }
  const auto two = [](std::int64_t n) { return std::min<std::int64_t>(n, 2); };
  const auto most = [](std::int64_t n) { return n - n / 4; };  // too many to keep by insertion
  const auto every = [](std::int64_t n) { return n; };
  std::vector<OpCase> rows;
  const auto row = [&](const char* name, sg::ValuesIndices (*f)(const sg::Tensor&),
                       const reference::Function& expected) {
    rows.push_back({.name = name,
                    .op =
                        [f](const Tensors& in) {
                          const auto [values, indices] = f(in[0]);
                          return Tensors{values, indices};
                        },
                    .reference = expected,
                    .inputs = inputs,
                    .dtypes = numbers});
  };
  row(
      "sort", [](const sg::Tensor& x) { return sg::sort(x, 1); }, ordered(every, false));
  row(
      "sort.descending", [](const sg::Tensor& x) { return sg::sort(x, -2, true); },
      ordered(every, true));
  row(
      "topk",
      [](const sg::Tensor& x) { return sg::topk(x, std::min<std::int64_t>(x.size(1), 2), 1); },
      ordered(two, true));
  row(
      "topk.smallest",
      [](const sg::Tensor& x) { return sg::topk(x, x.size(1) - x.size(1) / 4, 1, false); },
      ordered(most, false));
  return rows;
}

}  // namespace

std::vector<OpCase> index_cases() {
  std::vector<OpCase> rows;
  for (const auto& part : {row_cases(), element_cases(), sort_cases()}) {
    rows.insert(rows.end(), part.begin(), part.end());
  }
  return rows;
}
