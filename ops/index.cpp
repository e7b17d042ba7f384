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

/// x as (outer, n, inner) around dimension `dim`.
Shape around(const Shape& shape, int dim) {
  return {shape.slice(0, dim).numel(), shape[dim], shape.slice(dim + 1, shape.rank()).numel()};
}

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
  const Tensor x = contiguous(input);
  Tensor y = zeros({x.shape()[0], size, x.shape()[2]}, x.options());
  if (x.numel() > 0) {
    kernel_for(where.op, x.device(), &Kernels::index_add)(y, index, x, where);
  }
  return record("index_add", {x}, y, {index}, [where](const Backward& b) {
    return Tensors{select_rows(where, b.grad(), b.saved[0])};
  });
}

}  // namespace

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
