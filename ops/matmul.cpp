#include <scangrad/autograd/grad_mode.h>
#include <scangrad/ops/elementwise.h>
#include <scangrad/ops/frontend.h>
#include <scangrad/ops/matmul.h>
#include <scangrad/ops/reduce.h>
#include <scangrad/ops/shape.h>

#include <utility>

namespace scangrad {
namespace {

thread_local Float32Matmul mode_of_thread = Float32Matmul::full;

/// y ← a b, added to y where `accumulate`; the batches of a and b, both of rank ≥ 2, broadcast to
/// those of y.
void multiply(const Tensor& y, const Tensor& a, const Tensor& b, bool accumulate) {
  if (y.numel() == 0) return;
  const std::int64_t m = y.size(-2), k = a.size(-1), n = y.size(-1);
  if (k == 0) {
    if (!accumulate) backend(y.device()).fill(y, 0);
    return;
  }
  const auto guard = no_grad();
  const Shape batch = y.shape().slice(0, y.rank() - 2);
  const auto folded = [&](const Tensor& t, std::int64_t rows, std::int64_t columns) {
    return reshape(expand(t, with_matrix(batch, rows, columns)), {batch.numel(), rows, columns});
  };
  kernel_for("matmul", y.device(), &Kernels::matmul)(folded(y, m, n), folded(a, m, k),
                                                     folded(b, k, n), float32_matmul(), accumulate);
}

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
  multiply(y, a, b, false);
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

/// The weight's gradient gᵀ x, in its own layout and dtype, from the output's gradient and the
/// input that was saved.
Tensor weight_gradient(const Backward& context, DType dtype) {
  const Tensor turned = transpose(context.grad(), 0, 1);  // (out, rows)
  const Tensor& x = context.saved[0];                     // (rows, in)
  if (context.create_graph) return matrix_product(cast(turned, dtype), cast(x, dtype));
  const Tensor& into = context.into[1];
  if (into.defined()) {
    multiply(into, turned, x, true);
    return context.added(1);
  }
  const Tensor gradient = empty({turned.size(0), x.size(1)}, {dtype, x.device()});
  multiply(gradient, turned, x, false);
  return gradient;
}

/// x (rows, in), weight (out, in), bias (out) or undefined → (rows, out).
Tensor linear_rows(const Tensor& x, const Tensor& weight, const Tensor& bias) {
  const Tensor w = cast(weight, x.dtype());
  Tensor y;
  {
    const auto guard = no_grad();
    y = matrix_product(x, transpose(w, 0, 1));
    if (bias.defined() && y.numel() > 0) {
      backend(y.device()).add_in_place(y, expand_view(cast(bias, y.dtype()), y.shape()));
    }
  }
  // Not w, the weight itself is the node's input: its gradient is never rounded to w's dtype.
  return record("linear", {x, weight, bias}, y, {x, w},
                [mode = float32_matmul(), dtype = weight.dtype()](const Backward& context) {
                  const Float32MatmulMode same(mode);
                  const Tensor& g = context.grad();  // (rows, out)
                  return Tensors{context.needs[0] ? matrix_product(g, context.saved[1]) : Tensor{},
                                 context.needs[1] ? weight_gradient(context, dtype) : Tensor{},
                                 context.needs[2] ? cast(sum(g, {0}), dtype) : Tensor{}};
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
  const bool mixed = x.dtype() == DType::bf16 && weight.dtype() == DType::f32;
  if (!mixed) check_same_dtype("linear", x, weight);
  check_dtype("linear", x, FloatTypes{});
  check<ShapeError>(x.rank() > 0 && weight.rank() == 2 && x.shape().back() == weight.size(1),
                    "linear: input {} does not end in the columns of weight {}, which is (out, in)",
                    x.shape(), weight.shape());
  const std::int64_t in = weight.size(1), out = weight.size(0);
  if (bias.defined()) {
    check_same_device("linear", x, bias);
    check_same_dtype("linear", weight, bias);
    check<ShapeError>(bias.shape() == Shape{out}, "linear: bias {} does not have shape [{}]",
                      bias.shape(), out);
  }
  Shape shape = x.shape();
  shape[x.rank() - 1] = out;
  const std::int64_t rows = x.shape().slice(0, x.rank() - 1).numel();
  return reshape(linear_rows(reshape(x, {rows, in}), weight, bias), shape);
}

}  // namespace scangrad
