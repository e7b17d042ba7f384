#include <scangrad/autograd/grad_mode.h>
#include <scangrad/ops/elementwise.h>
#include <scangrad/ops/frontend.h>
#include <scangrad/ops/index.h>
#include <scangrad/ops/shape.h>

namespace scangrad {
namespace {

/// Indices as the kernels read them.
Tensor as_indices(const char* op, const Tensor& index) {
  check<DTypeError>(is_integer(index.dtype()), "{}: indices must be i64 or i32, not {}; use cast",
                    op, index.dtype());
  return contiguous(cast(index, DType::i64));
}

/// bf16 is summed in f32: one index may come thousands of times.
DType sum_dtype(const Tensor& x) { return x.dtype() == DType::bf16 ? DType::f32 : x.dtype(); }

Tensor add_rows(IndexCheck where, const Tensor& index, const Tensor& input, std::int64_t size);

/// (outer, n, inner) → (outer, k, inner): the rows that `index` (k) names.
Tensor select_rows(IndexCheck where, const Tensor& input, const Tensor& index) {
  check_same_device(where.op, input, index);
  const Tensor x = contiguous(input);
  const std::int64_t size = x.shape()[1];
  Tensor y = empty({x.shape()[0], index.numel(), x.shape()[2]}, x.options());
  if (y.numel() > 0) {
    kernel_for(where.op, x.device(), &Kernels::index_select)(y, x, index, where);
  }
  return record(where.op, {x}, y, {index}, [where, size](const Backward& b) {
    return Tensors{add_rows(where, b.saved[0], b.grad(), size)};
  });
}

/// (outer, k, inner) → (outer, size, inner): each row added to zeros where `index` says, the
/// adjoint of `select_rows`.
Tensor add_rows(IndexCheck where, const Tensor& index, const Tensor& input, std::int64_t size) {
  Tensor y;
  {
    const auto guard = no_grad();
    const Tensor x = contiguous(cast(input, sum_dtype(input)));
    y = zeros({x.shape()[0], size, x.shape()[2]}, x.options());
    if (x.numel() > 0) {
      kernel_for(where.op, x.device(), &Kernels::index_add)(y, index, x, where);
    }
    y = cast(y, input.dtype());
  }
  return record("index_add", {input}, y, {index}, [where](const Backward& b) {
    return Tensors{select_rows(where, b.grad(), b.saved[0])};
  });
}

/// `index` against x: the same rank, and no larger along the dimensions that it does not index.
void check_index_shape(const char* op, const Tensor& x, int dim, const Tensor& index) {
  bool fits = x.rank() == index.rank();
  for (int i = 0; fits && i < x.rank(); ++i) fits = i == dim || index.shape()[i] <= x.shape()[i];
  check<ShapeError>(fits, "{}: an index {} does not fit {} along dimension {}", op, index.shape(),
                    x.shape(), dim);
}

/// x + src where `index` says; all are checked and `index` has src's shape.
Tensor scatter_sum(IndexCheck where, const Tensor& x, int dim, const Tensor& index,
                   const Tensor& src) {
  Tensor y = empty(x.shape(), {sum_dtype(x), x.device()});
  raw_copy(y, x);
  if (index.numel() > 0) {
    const auto guard = no_grad();
    const Tensor terms = contiguous(cast(src, y.dtype()));
    kernel_for(where.op, x.device(), &Kernels::scatter_add)(y, dim, index, terms, where);
  }
  y = cast(y, x.dtype());
  return record(where.op, {x, src}, y, {index}, [dim](const Backward& b) {
    return Tensors{b.grad(), b.needs[1] ? gather(b.grad(), dim, b.saved[0]) : Tensor{}};
  });
}

}  // namespace

Tensor gather(const Tensor& x, std::int64_t dim, const Tensor& index) {
  if (x.rank() == 0 && index.rank() == 0) {
    return reshape(gather(reshape(x, {1}), dim, reshape(index, {1})), {});
  }
  const int at = normalize_dim("gather", dim, x.rank());
  check_same_device("gather", x, index);
  check_index_shape("gather", x, at, index);
  const Tensor positions = as_indices("gather", index);
  Tensor y = empty(index.shape(), x.options());
  if (y.numel() > 0) {
    kernel_for("gather", x.device(), &Kernels::gather)(y, x, at, positions, {"gather", "entries"});
  }
  return record("gather", {x}, y, {positions}, [at, shape = x.shape()](const Backward& b) {
    return Tensors{scatter_add(zeros(shape, b.grad().options()), at, b.saved[0], b.grad())};
  });
}

Tensor scatter_add(const Tensor& x, std::int64_t dim, const Tensor& index, const Tensor& src) {
  if (x.rank() == 0 && index.rank() == 0) {
    return reshape(scatter_add(reshape(x, {1}), dim, reshape(index, {1}), reshape(src, {1})), {});
  }
  const int at = normalize_dim("scatter_add", dim, x.rank());
  check_same_device("scatter_add", x, index);
  check_same_device("scatter_add", x, src);
  check_same_dtype("scatter_add", x, src);
  check_dtype("scatter_add", x, NumberTypes{});
  check_index_shape("scatter_add", x, at, index);
  check_index_shape("scatter_add", src, -1, index);
  Tensor used = src;
  for (int i = 0; i < src.rank(); ++i) used = slice(used, i, 0, index.shape()[i]);
  return scatter_sum({"scatter_add", "entries"}, x, at, as_indices("scatter_add", index), used);
}

Tensor one_hot(const Tensor& indices, std::int64_t classes) {
  check<ValueError>(classes > 0, "one_hot: {} classes are not enough", classes);
  const Tensor index = unsqueeze(as_indices("one_hot", indices), -1);
  Shape shape = indices.shape();
  shape.push_back(classes);
  const TensorOptions options{DType::i64, indices.device()};
  return scatter_sum({"one_hot", "classes"}, zeros(shape, options), indices.rank(), index,
                     ones(index.shape(), options));
}

Tensor embedding(const Tensor& indices, const Tensor& weight) {
  check<ShapeError>(weight.rank() == 2, "embedding: weight {} is not a matrix of rows",
                    weight.shape());
  const Tensor index = as_indices("embedding", indices);
  Shape shape = indices.shape();
  shape.push_back(weight.shape()[1]);
  const Tensor rows = select_rows({"embedding", "rows"}, unsqueeze(weight, 0), index);
  return reshape(rows, shape);
}

Tensor index_select(const Tensor& x, std::int64_t dim, const Tensor& index) {
  check<ShapeError>(x.rank() > 0 && index.rank() == 1,
                    "index_select: x {} must have dimensions and the index {} exactly one",
                    x.shape(), index.shape());
  const int at = normalize_dim("index_select", dim, x.rank());
  const Tensor positions = as_indices("index_select", index);
  Shape shape = x.shape();
  shape[at] = index.numel();
  return reshape(
      select_rows({"index_select", "entries"}, reshape(x, around(x.shape(), at)), positions),
      shape);
}

}  // namespace scangrad
