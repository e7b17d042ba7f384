#include <scangrad/autograd/grad_mode.h>
#include <scangrad/ops/creation.h>
#include <scangrad/ops/elementwise.h>
#include <scangrad/ops/frontend.h>
#include <scangrad/ops/join.h>
#include <scangrad/ops/linalg.h>
#include <scangrad/ops/matmul.h>
#include <scangrad/ops/reduce.h>
#include <scangrad/ops/shape.h>

#include <algorithm>

namespace scangrad {
namespace {

Tensor triangle(const char* op, TriangleKernel* Kernels::*entry, const Tensor& input,
                std::int64_t diagonal, Tensor (*again)(const Tensor&, std::int64_t)) {
  check<ShapeError>(input.rank() >= 2, "{}: x {} must have at least two dimensions", op,
                    input.shape());
  const Tensor x = contiguous(input);
  Tensor y = empty_like(x);
  // Beyond the corners diagonals are all alike, and i + diagonal must not overflow.
  const std::int64_t m = x.shape()[x.rank() - 2], n = x.shape().back();
  if (x.numel() > 0) kernel_for(op, x.device(), entry)(y, x, std::clamp(diagonal, -m, n));
  return record(op, {x}, y, {}, [again, diagonal](const Backward& b) {
    return Tensors{again(b.grad(), diagonal)};
  });
}

/// Where a diagonal lies: dimensions, first entry, count.
struct Diagonal {
  int rows, columns;
  std::int64_t row, column, count;
};

/// The view of diagonal `d` of x's memory, without history.
Tensor view_of(const Tensor& x, const Diagonal& d) {
  Shape shape;
  Strides strides;
  for (int dim = 0; dim < x.rank(); ++dim) {
    if (dim == d.rows || dim == d.columns) continue;
    shape.push_back(x.shape()[dim]);
    strides.push_back(x.strides()[dim]);
  }
  const std::int64_t down = x.strides()[d.rows], right = x.strides()[d.columns];
  shape.push_back(d.count);
  strides.push_back(down + right);
  return x.as_strided(shape, strides,
                      x.offset() + (d.count > 0 ? d.row * down + d.column * right : 0));
}

Tensor diagonal_scatter(const Tensor& g, const Shape& shape, const Diagonal& d);

Tensor diagonal_view(const Tensor& x, const Diagonal& d) {
  const Shape shape = x.shape();
  return record("diagonal", {x}, view_of(x, d), {}, [shape, d](const Backward& b) {
    return Tensors{diagonal_scatter(b.grad(), shape, d)};
  });
}

/// Zeros of `shape` with g on the diagonal: the adjoint of the view.
Tensor diagonal_scatter(const Tensor& g, const Shape& shape, const Diagonal& d) {
  Tensor out = zeros(shape, g.options());
  if (g.numel() > 0) raw_copy(view_of(out, d), g);
  return record("diagonal_scatter", {g}, out, {},
                [d](const Backward& b) { return Tensors{diagonal_view(b.grad(), d)}; });
}

void check_vectors(const char* op, const Tensor& a, const Tensor& b) {
  check<ShapeError>(a.rank() == 1 && b.rank() == 1, "{}: {} and {} must be vectors", op, a.shape(),
                    b.shape());
}

/// The matrices (rows, columns) of x, broadcast to `batch` in one dimension; not copied where there
/// is one for all.
Tensor matrices_of(const Tensor& x, const Shape& batch) {
  const std::int64_t rows = x.size(-2), columns = x.size(-1);
  if (x.numel() == rows * columns) {
    return expand(reshape(contiguous(x), {rows, columns}), {batch.numel(), rows, columns});
  }
  return reshape(contiguous(expand(x, with_matrix(batch, rows, columns))),
                 {batch.numel(), rows, columns});
}

void check_square_matrices(const char* op, const Tensor& a) {
  check_dtype(op, a, TypeList<float, double>{});
  check<ShapeError>(a.rank() >= 2 && a.shape()[a.rank() - 2] == a.shape().back(),
                    "{}: a {} must be (..., n, n)", op, a.shape());
}

}  // namespace

Tensor tril(const Tensor& x, std::int64_t diagonal) {
  return triangle("tril", &Kernels::tril, x, diagonal, tril);
}
Tensor triu(const Tensor& x, std::int64_t diagonal) {
  return triangle("triu", &Kernels::triu, x, diagonal, triu);
}

Tensor diagonal(const Tensor& x, std::int64_t offset, std::int64_t dim1, std::int64_t dim2) {
  check<ShapeError>(x.rank() >= 2, "diagonal: x {} must have at least two dimensions", x.shape());
  const int rows = normalize_dim("diagonal", dim1, x.rank());
  const int columns = normalize_dim("diagonal", dim2, x.rank());
  check<IndexError>(rows != columns, "diagonal: dimension {} is given twice", dim1);
  const std::int64_t column = std::clamp<std::int64_t>(offset, 0, x.shape()[columns]);
  const std::int64_t row = -std::clamp<std::int64_t>(offset, -x.shape()[rows], 0);
  const std::int64_t count =
      std::max<std::int64_t>(0, std::min(x.shape()[rows] - row, x.shape()[columns] - column));
  return diagonal_view(x, {rows, columns, row, column, count});
}

Tensor diag_embed(const Tensor& x) {
  check<ShapeError>(x.rank() >= 1, "diag_embed: x is a scalar and has no dimensions");
  const std::int64_t n = x.shape().back();
  const int rank = x.rank();
  return diagonal_scatter(x, with_matrix(x.shape().slice(0, rank - 1), n, n),
                          {rank - 1, rank, 0, 0, n});
}

Tensor outer(const Tensor& a, const Tensor& b) {
  check_vectors("outer", a, b);
  return unsqueeze(a, 1) * unsqueeze(b, 0);
}

Tensor dot(const Tensor& a, const Tensor& b) {
  check_vectors("dot", a, b);
  check<ShapeError>(a.shape() == b.shape(), "dot: {} and {} are not of one size", a.shape(),
                    b.shape());
  return sum(a * b);
}

Tensor solve(const Tensor& a, const Tensor& b) {
  check_same_device("solve", a, b);
  check_same_dtype("solve", a, b);
  check_dtype("solve", a, TypeList<float, double>{});
  const bool matrices = a.rank() >= 2 && b.rank() >= 2;
  const std::int64_t n = matrices ? a.shape().back() : 0;
  check<ShapeError>(matrices && a.shape()[a.rank() - 2] == n && b.shape()[b.rank() - 2] == n,
                    "solve: a {} and b {} must be (..., n, n) and (..., n, m)", a.shape(),
                    b.shape());
  const Shape batch =
      broadcast_shapes("solve", a.shape().slice(0, a.rank() - 2), b.shape().slice(0, b.rank() - 2));
  const std::int64_t m = b.shape().back();
  Tensor x = empty(with_matrix(batch, n, m), a.options());
  if (x.numel() > 0) {
    const auto guard = no_grad();
    kernel_for("solve", x.device(), &Kernels::solve)(reshape(x, {batch.numel(), n, m}),
                                                     matrices_of(a, batch), matrices_of(b, batch));
  }
  const Shape shape_b = b.shape();
  return record("solve", {a, b}, x, {a, x}, [shape_b](const Backward& context) {
    // da = −db xᵀ with aᵀ db = g.
    const Tensor& x = context.saved[1];
    const Tensor db = solve(transpose(context.saved[0], -1, -2), context.grad());
    const Tensor da = context.needs[0] ? -matmul(db, transpose(x, -1, -2)) : Tensor{};
    return Tensors{context.needs[0] ? sum_to(da, context.saved[0].shape()) : da,
                   context.needs[1] ? sum_to(db, shape_b) : Tensor{}};
  });
}

Tensor inverse(const Tensor& a) {
  check_square_matrices("inverse", a);
  return solve(a, eye(a.shape().back(), a.options()));
}

SignLogDet slogdet(const Tensor& a) {
  check_square_matrices("slogdet", a);
  const Shape batch = a.shape().slice(0, a.rank() - 2);
  if (a.numel() == 0) {  // no matrices, or of order 0, whose determinant is 1
    const Tensor none = sum(a, {-2, -1});
    return {ones_like(none), none};
  }
  SignLogDet result{empty(batch, a.options()), empty(batch, a.options())};
  kernel_for("slogdet", a.device(), &Kernels::slogdet)(result.sign, result.logabsdet,
                                                       contiguous(a.detach()));
  record("slogdet", {a}, result.logabsdet, {a, result.sign}, [](const Backward& context) {
    const Tensor& a = context.saved[0];
    SlogdetBackwardKernel* const fused = kernels(a.device()).slogdet_backward;
    if (fused != nullptr && !context.create_graph) {
      const Tensor da = empty(a.shape(), a.options());
      if (fused(da, contiguous(a), contiguous(context.grad()))) return Tensors{da};
    }
    // A singular matrix has no inverse, and where g is 0 needs none.
    const Tensor unused = logical_and(eq(context.saved[1], 0.0), eq(context.grad(), 0.0));
    const auto each = [](const Tensor& x) { return unsqueeze(unsqueeze(x, -1), -1); };
    const Tensor safe = where(each(unused), eye(a.shape().back(), a.options()), a);
    return Tensors{each(context.grad()) * transpose(inverse(safe), -1, -2)};
  });
  return result;
}

Tensor det(const Tensor& a) {
  check_square_matrices("det", a);
  const Tensor value = [&] {
    const auto guard = no_grad();
    const SignLogDet parts = slogdet(a);
    return parts.sign * exp(parts.logabsdet);
  }();
  return record("det", {a}, value, {a}, [](const Backward& context) {
    const Tensor& a = context.saved[0];
    const Tensor scale = context.grad() * det(a);
    return Tensors{unsqueeze(unsqueeze(scale, -1), -1) * transpose(inverse(a), -1, -2)};
  });
}

Tensor matrix_exp(const Tensor& a) {
  check_square_matrices("matrix_exp", a);
  const Tensor y = empty(a.shape(), a.options());
  if (y.numel() > 0) {
    kernel_for("matrix_exp", a.device(), &Kernels::matrix_exp)(y, contiguous(a.detach()));
  }
  return record("matrix_exp", {a}, y, {a}, [](const Backward& context) {
    const Tensor& a = context.saved[0];
    MatrixExpBackwardKernel* const fused = kernels(a.device()).matrix_exp_backward;
    if (fused != nullptr && !context.create_graph && a.numel() > 0) {
      const Tensor da = empty(a.shape(), a.options());
      if (fused(da, contiguous(a), contiguous(context.grad()))) return Tensors{da};
    }
    const Tensor at = transpose(a, -1, -2);
    const std::int64_t n = at.shape().back();
    const Tensor upper = cat({at, context.grad()}, -1);
    const Tensor lower = cat({zeros_like(at), at}, -1);
    const Tensor block = matrix_exp(cat({upper, lower}, -2));  // (…, 2n, 2n)
    return Tensors{slice(slice(block, -2, 0, n), -1, n)};
  });
}

}  // namespace scangrad
