#include <scangrad/autograd/grad_mode.h>
#include <scangrad/ops/frontend.h>
#include <scangrad/ops/matmul.h>
#include <scangrad/ops/reduce.h>
#include <scangrad/ops/shape.h>

#include <utility>

namespace scangrad {
namespace {

thread_local Float32Matmul mode_of_thread = Float32Matmul::full;

/// Both operands have rank ≥ 2.
Tensor matrix_product(const Tensor& a, const Tensor& b) {
  const Shape& sa = a.shape();
  const Shape& sb = b.shape();
  const std::int64_t m = sa[a.rank() - 2], k = sa.back(), n = sb.back();
  check<ShapeError>(k == sb[b.rank() - 2], "matmul: lhs {} and rhs {} do not match: {} != {}", sa,
                    sb, k, sb[b.rank() - 2]);
  // A left operand with batches times one matrix is a single tall product.
  if (b.rank() == 2 && a.rank() > 2) {
    const std::int64_t rows = sa.slice(0, a.rank() - 1).numel();
    const Tensor flat = matrix_product(reshape(a, {rows, k}), b);
    return reshape(flat, with_matrix(sa.slice(0, a.rank() - 2), m, n));
  }
  const Shape batch =
      broadcast_shapes("matmul", sa.slice(0, a.rank() - 2), sb.slice(0, b.rank() - 2));
  Tensor y = empty(with_matrix(batch, m, n), a.options());
  if (y.numel() > 0 && k == 0) {
    backend(y.device()).fill(y, 0);
  } else if (y.numel() > 0) {
    const auto folded = [&](const Tensor& t, std::int64_t rows, std::int64_t columns) {
      const auto guard = no_grad();
      return reshape(expand(t, with_matrix(batch, rows, columns)), {batch.numel(), rows, columns});
    };
    kernel_for("matmul", y.device(), &Kernels::matmul)(folded(y, m, n), folded(a, m, k),
                                                       folded(b, k, n), float32_matmul());
  }
  return record("matmul", {a, b}, y, {a, b}, [mode = float32_matmul()](const Backward& context) {
    const Float32MatmulMode same(mode);
    const Tensor& g = context.grad();
    const Tensor& a = context.saved[0];
    const Tensor& b = context.saved[1];
    return Tensors{
        context.needs[0] ? sum_to(matrix_product(g, transpose(b, -1, -2)), a.shape()) : Tensor{},
        context.needs[1] ? sum_to(matrix_product(transpose(a, -1, -2), g), b.shape()) : Tensor{}};
  });
}

/// x (rows, in), weight (out, in), bias (out) or undefined → (rows, out). Both gradients are plain
/// products too, and the weight's comes out in its own layout.
Tensor linear_rows(const Tensor& x, const Tensor& weight, const Tensor& bias) {
  Tensor y;
  {
    const auto guard = no_grad();
    y = matrix_product(x, transpose(weight, 0, 1));
    if (bias.defined() && y.numel() > 0) {
      backend(y.device()).add_in_place(y, expand_view(bias, y.shape()));
    }
  }
  const auto mode = float32_matmul();
  return record("linear", {x, weight, bias}, y, {x, weight}, [mode](const Backward& context) {
    const Float32MatmulMode same(mode);
    const Tensor& g = context.grad();  // (rows, out)
    return Tensors{
        context.needs[0] ? matrix_product(g, context.saved[1]) : Tensor{},
        context.needs[1] ? matrix_product(transpose(g, 0, 1), context.saved[0]) : Tensor{},
        context.needs[2] ? sum(g, {0}) : Tensor{}};
  });
}

}  // namespace

Float32Matmul float32_matmul() { return mode_of_thread; }
Float32MatmulMode::Float32MatmulMode(Float32Matmul mode)
    : previous_(std::exchange(mode_of_thread, mode)) {}
Float32MatmulMode::~Float32MatmulMode() { mode_of_thread = previous_; }

Tensor matmul(const Tensor& a, const Tensor& b) {
  check_same_device("matmul", a, b);
  check_same_dtype("matmul", a, b);
  check_dtype("matmul", a, NumberTypes{});
  check<ShapeError>(a.rank() > 0 && b.rank() > 0,
                    "matmul: lhs {} and rhs {} must have at least one dimension; use mul",
                    a.shape(), b.shape());
  const Tensor lhs = a.rank() == 1 ? unsqueeze(a, 0) : a;
  const Tensor rhs = b.rank() == 1 ? unsqueeze(b, 1) : b;
  Tensor y = matrix_product(lhs, rhs);
  if (a.rank() == 1) y = squeeze(y, -2);
  if (b.rank() == 1) y = squeeze(y, -1);
  return y;
}

Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias) {
  check_same_device("linear", x, weight);
  check_same_dtype("linear", x, weight);
  check_dtype("linear", x, FloatTypes{});
  check<ShapeError>(x.rank() > 0 && weight.rank() == 2 && x.shape().back() == weight.size(1),
                    "linear: input {} does not end in the columns of weight {}, which is (out, in)",
                    x.shape(), weight.shape());
  const std::int64_t in = weight.size(1), out = weight.size(0);
  if (bias.defined()) {
    check_same_device("linear", x, bias);
    check_same_dtype("linear", x, bias);
    check<ShapeError>(bias.shape() == Shape{out}, "linear: bias {} does not have shape [{}]",
                      bias.shape(), out);
  }
  Shape shape = x.shape();
  shape[x.rank() - 1] = out;
  const std::int64_t rows = x.shape().slice(0, x.rank() - 1).numel();
  return reshape(linear_rows(reshape(x, {rows, in}), weight, bias), shape);
}

}  // namespace scangrad
