#include <scangrad/ops/join.h>
#include <scangrad/tests/ops/op_case.h>

#include <algorithm>

namespace sg = scangrad;
using reference::Array;
using reference::Arrays;
using sg::Shape;
using sg::Tensors;

namespace {

const std::vector<sg::DType> any_dtype = {sg::f64, sg::f32, sg::bf16, sg::i32, sg::i64};

std::vector<Operands> rank_three() {
  std::vector<Operands> calls;
  for (const Shape& shape :
       std::vector<Shape>{{1, 1, 1}, {2, 0, 3}, {0, 1, 2}, {2, 3, 2}, {3, 2, 4}, {29, 31, 37}}) {
    calls.push_back({values(shape)});
  }
  return calls;
}

/// The result's element at `index` is x's at from(index), or `value` where that lies outside.
reference::Function rearranged(const std::function<Shape(const Shape&)>& shape,
                               const std::function<Shape(const Shape&, const Shape&)>& from,
                               double value = 0) {
  return [=](const Arrays& in) {
    Array y(shape(in[0].shape), value);
    reference::for_each_index(y.shape, [&](const Shape& index) {
      const Shape source = from(index, in[0].shape);
      for (int dim = 0; dim < source.rank(); ++dim) {
        if (source[dim] < 0 || source[dim] >= in[0].shape[dim]) return;
      }
      y.at(index) = in[0].at(source);
    });
    return Arrays{y};
  };
}

Shape same(const Shape& shape) { return shape; }

/// Entries start … start + size of dimension 1.
Array part(const Array& x, std::int64_t start, std::int64_t size) {
  Array y({x.shape[0], size, x.shape[2]});
  reference::for_each_index(y.shape, [&](const Shape& i) {
    y.at(i) = x.at({i[0], start + i[1], i[2]});
  });
  return y;
}

/// Pieces of `size` along dimension 1; one empty piece of nothing.
Arrays pieces(const Array& x, std::int64_t size) {
  Arrays parts;
  for (std::int64_t at = 0; at < x.shape[1]; at += size) {
    parts.push_back(part(x, at, std::min(size, x.shape[1] - at)));
  }
  if (parts.empty()) parts.push_back(part(x, 0, 0));
  return parts;
}

/// Three operands that differ along dimension 1.
std::vector<Operands> triples(bool one_shape) {
  std::vector<Operands> calls;
  for (const Shape& s :
       std::vector<Shape>{{1, 1, 1}, {2, 0, 3}, {0, 1, 2}, {2, 3, 2}, {3, 1, 4}, {29, 31, 37}}) {
    const std::int64_t more = one_shape ? 0 : 1;
    calls.push_back(
        {values(s), values({s[0], s[1] + more, s[2]}), values({s[0], s[1] + 2 * more, s[2]})});
  }
  return calls;
}

Arrays cat_reference(const Arrays& in) {
  std::int64_t total = 0, start = 0;
  for (const Array& x : in) total += x.shape[1];
  Array y({in[0].shape[0], total, in[0].shape[2]});
  for (const Array& x : in) {
    reference::for_each_index(x.shape, [&](const Shape& i) {
      y.at({i[0], start + i[1], i[2]}) = x.at(i);
    });
    start += x.shape[1];
  }
  return {y};
}

Arrays stack_reference(const Arrays& in) {
  Shape shape = in[0].shape;
  shape.push_back(static_cast<std::int64_t>(in.size()));
  Array y(shape);
  reference::for_each_index(shape, [&](const Shape& i) {
    y.at(i) = in[static_cast<std::size_t>(i[3])].at({i[0], i[1], i[2]});
  });
  return {y};
}

}  // namespace

std::vector<OpCase> join_cases() {
  std::vector<OpCase> rows;
  const auto row = [&](const char* name, const sg::TensorFunction& op,
                       const reference::Function& expected, const std::vector<Operands>& calls) {
    rows.push_back(
        {.name = name, .op = op, .reference = expected, .inputs = calls, .dtypes = any_dtype});
  };
  row(
      "cat", [](const Tensors& in) { return Tensors{sg::cat(in, 1)}; }, cat_reference,
      triples(false));
  row(
      "stack", [](const Tensors& in) { return Tensors{sg::stack(in, -1)}; }, stack_reference,
      triples(true));
  row(
      "split.size", [](const Tensors& in) { return sg::split(in[0], 2, 1); },
      [](const Arrays& in) { return pieces(in[0], 2); }, rank_three());
  row(
      "split.sizes",
      [](const Tensors& in) {
        return sg::split(in[0], std::vector<std::int64_t>{0, in[0].size(1)}, 1);
      },
      [](const Arrays& in) {
        return Arrays{part(in[0], 0, 0), part(in[0], 0, in[0].shape[1])};
      },
      rank_three());
  row(
      "chunk", [](const Tensors& in) { return sg::chunk(in[0], 2, 1); },
      [](const Arrays& in) {
        return pieces(in[0], std::max<std::int64_t>(1, (in[0].shape[1] + 1) / 2));
      },
      rank_three());
  row(
      "repeat",
      [](const Tensors& in) {
        return Tensors{sg::repeat(in[0], {2, 1, 3, 2})};
      },
      rearranged(
          [](const Shape& s) {
            return Shape{2, s[0], 3 * s[1], 2 * s[2]};
          },
          [](const Shape& i, const Shape& s) {
            return Shape{i[1], i[2] % s[1], i[3] % s[2]};
          }),
      rank_three());
  row(
      "flip",
      [](const Tensors& in) {
        return Tensors{sg::flip(in[0], {0, -1})};
      },
      rearranged(same,
                 [](const Shape& i, const Shape& s) {
                   return Shape{s[0] - 1 - i[0], i[1], s[2] - 1 - i[2]};
                 }),
      rank_three());
  row(
      "roll",
      [](const Tensors& in) {
        return Tensors{sg::roll(in[0], {1, -2}, {0, 2})};
      },
      rearranged(same,
                 [](const Shape& i, const Shape& s) {
                   return Shape{(i[0] + s[0] - 1) % s[0], i[1], (i[2] + 2) % s[2]};
                 }),
      rank_three());
  row(
      "pad",
      [](const Tensors& in) {
        return Tensors{sg::pad(in[0], {1, -1, 2, 0}, 3)};
      },
      rearranged(
          [](const Shape& s) {
            return Shape{s[0], s[1] + 2, s[2]};
          },
          [](const Shape& i, const Shape&) {
            return Shape{i[0], i[1] - 2, i[2] - 1};
          },
          3),
      rank_three());
  return rows;
}
