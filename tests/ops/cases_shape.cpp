#include <scangrad/ops/shape.h>
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

/// Rank 3 throughout; the large one has two threads' work.
std::vector<Operands> rank_three() {
  std::vector<Operands> calls;
  for (const Shape& shape :
       std::vector<Shape>{{1, 1, 1}, {2, 0, 3}, {0, 1, 2}, {2, 3, 2}, {3, 1, 4}, {29, 31, 37}}) {
    calls.push_back({values(shape)});
  }
  return calls;
}

/// The result's element at `index` is x's at from(index).
reference::Function rearranged(const std::function<Shape(const Shape&)>& shape,
                               const std::function<Shape(const Shape&, const Shape&)>& from) {
  return [=](const Arrays& in) {
    Array y(shape(in[0].shape));
    reference::for_each_index(
        y.shape, [&](const Shape& index) { y.at(index) = in[0].at(from(index, in[0].shape)); });
    return Arrays{y};
  };
}

/// The same elements in the same order under another shape.
reference::Function same_order(const std::function<Shape(const Shape&)>& shape) {
  return [=](const Arrays& in) {
    Array y(shape(in[0].shape));
    y.values = in[0].values;
    return Arrays{y};
  };
}

Shape same(const Shape& shape) { return shape; }

}  // namespace

std::vector<OpCase> shape_cases() {
  std::vector<OpCase> rows;
  const auto row = [&](const char* name, Tensor (*f)(const Tensor&),
                       const reference::Function& expected) {
    rows.push_back({.name = name,
                    .op = [f](const Tensors& in) { return Tensors{f(in[0])}; },
                    .reference = expected,
                    .inputs = rank_three(),
                    .dtypes = any_dtype});
  };
  row(
      "reshape.flat", [](const Tensor& x) { return sg::reshape(x, {x.numel()}); },
      same_order([](const Shape& s) { return Shape{s.numel()}; }));
  row(
      "reshape.regrouped",
      [](const Tensor& x) {
        return sg::reshape(x, {x.shape()[0] * x.shape()[1], 1, x.shape()[2]});
      },
      same_order([](const Shape& s) {
        return Shape{s[0] * s[1], 1, s[2]};
      }));
  row(
      "flatten", [](const Tensor& x) { return sg::flatten(x, 1); }, same_order([](const Shape& s) {
        return Shape{s[0], s[1] * s[2]};
      }));
  row(
      "unflatten",
      [](const Tensor& x) {
        return sg::unflatten(x, 1, {1, -1, 1});
      },
      same_order([](const Shape& s) {
        return Shape{s[0], 1, s[1], 1, s[2]};
      }));
  row(
      "unsqueeze", [](const Tensor& x) { return sg::unsqueeze(x, -1); },
      same_order([](const Shape& s) {
        return Shape{s[0], s[1], s[2], 1};
      }));
  row(
      "squeeze", [](const Tensor& x) { return sg::squeeze(sg::unsqueeze(x, 1), 1); },
      same_order(same));
  row("clone", sg::clone, same_order(same));
  row(
      "contiguous", [](const Tensor& x) { return sg::contiguous(sg::transpose(x, 0, 2)); },
      rearranged(
          [](const Shape& s) {
            return Shape{s[2], s[1], s[0]};
          },
          [](const Shape& i, const Shape&) {
            return Shape{i[2], i[1], i[0]};
          }));
  row(
      "to", [](const Tensor& x) { return sg::to(x, x.device()); }, same_order(same));
  row(
      "transpose", [](const Tensor& x) { return sg::transpose(x, 0, -1); },
      rearranged(
          [](const Shape& s) {
            return Shape{s[2], s[1], s[0]};
          },
          [](const Shape& i, const Shape&) {
            return Shape{i[2], i[1], i[0]};
          }));
  row(
      "permute",
      [](const Tensor& x) {
        return sg::permute(x, {1, 2, 0});
      },
      rearranged(
          [](const Shape& s) {
            return Shape{s[1], s[2], s[0]};
          },
          [](const Shape& i, const Shape&) {
            return Shape{i[2], i[0], i[1]};
          }));
  // A new dimension in front, and one of size 1 grown.
  row(
      "expand",
      [](const Tensor& x) {
        return sg::expand(sg::unsqueeze(x, 1), {2, -1, 3, -1, -1});
      },
      rearranged(
          [](const Shape& s) {
            return Shape{2, s[0], 3, s[1], s[2]};
          },
          [](const Shape& i, const Shape&) {
            return Shape{i[1], i[3], i[4]};
          }));
  row(
      "slice.steps", [](const Tensor& x) { return sg::slice(x, 1, 1, {}, 2); },
      rearranged(
          [](const Shape& s) {
            return Shape{s[0], s[1] / 2, s[2]};
          },
          [](const Shape& i, const Shape&) {
            return Shape{i[0], 1 + 2 * i[1], i[2]};
          }));
  row(
      "slice.negative", [](const Tensor& x) { return sg::slice(x, -1, -2, 100); },
      rearranged(
          [](const Shape& s) {
            return Shape{s[0], s[1], std::min<std::int64_t>(s[2], 2)};
          },
          [](const Shape& i, const Shape& s) {
            return Shape{i[0], i[1], std::max<std::int64_t>(s[2] - 2, 0) + i[2]};
          }));
  row(
      "select", [](const Tensor& x) { return sg::select(x, 2, -1); },
      rearranged(
          [](const Shape& s) {
            return Shape{s[0], s[1]};
          },
          [](const Shape& i, const Shape& s) {
            return Shape{i[0], i[1], s[2] - 1};
          }));
  return rows;
}
