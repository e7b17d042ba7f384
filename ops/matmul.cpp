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

/// Whether y ← x wᵀ + bias was done by one kernel; where `before` is defined the sum goes there,
/// and its GELU (tanh) to y.
bool fused_linear(const Tensor& y, const Tensor& before, const Tensor& x, const Tensor& w,
                  const Tensor& bias) {
  LinearKernel* const kernel = kernels(y.device()).linear;
  return kernel != nullptr && y.numel() > 0 && x.numel() > 0 && x.is_contiguous() &&
         w.is_contiguous() && (!bias.defined() || bias.is_contiguous()) &&
         kernel(y, before, x, w, bias, float32_matmul());
}

/// x (rows, in), w (out, in), bias (out) or undefined, all of one dtype → (rows, out).
Tensor affine(const Tensor& x, const Tensor& w, const Tensor& bias) {
  const auto guard = no_grad();
  const Tensor y = empty({x.size(0), w.size(0)}, x.options());
  if (bias.defined() && fused_linear(y, {}, x, w, bias)) return y;
  multiply(y, x, transpose(w, 0, 1), false);
  if (bias.defined() && y.numel() > 0) {
    backend(y.device()).add_in_place(y, expand_view(bias, y.shape()));
  }
  return y;
}

Tensor cast_if_any(const Tensor& bias, DType dtype) {
  return bias.defined() ? cast(bias, dtype) : bias;
}

/// The gradient gᵀ x of a weight, input i of its node, in the weight's layout and dtype: x (rows,
/// in) was multiplied by it, g (rows, out) is the gradient of the product.
Tensor weight_gradient(const Backward& context, std::size_t i, const Tensor& g, const Tensor& x,
                       DType dtype) {
  const Tensor turned = transpose(g, 0, 1);
  if (context.create_graph) return matrix_product(cast(turned, dtype), cast(x, dtype));
  const Tensor& into = context.into[i];
  if (into.defined()) {
    multiply(into, turned, x, true);
    return context.added(i);
  }
  const Tensor gradient = empty({g.size(1), x.size(1)}, {dtype, x.device()});
  multiply(gradient, turned, x, false);
  return gradient;
}

/// x (rows, in), weight (out, in), bias (out) or undefined → (rows, out).
Tensor linear_rows(const Tensor& x, const Tensor& weight, const Tensor& bias) {
  const Tensor w = cast(weight, x.dtype());
  const Tensor y = affine(x, w, cast_if_any(bias, x.dtype()));
  // Not w, the weight itself is the node's input: its gradient is never rounded to w's dtype.
  return record("linear", {x, weight, bias}, y, {x, w},
                [mode = float32_matmul(), dtype = weight.dtype()](const Backward& context) {
                  const Float32MatmulMode same(mode);
                  const Tensor& g = context.grad();  // (rows, out)
                  return Tensors{context.needs[0] ? matrix_product(g, context.saved[1]) : Tensor{},
                                 context.needs[1]
                                     ? weight_gradient(context, 1, g, context.saved[0], dtype)
                                     : Tensor{},
                                 context.needs[2] ? cast(sum(g, {0}), dtype) : Tensor{}};
                });
}

/// What lies between the two products of feed_forward: h = x wᵀ + bias and a = GELU(h).
struct Hidden {
  Tensor h, a;  // (rows, hidden)
};

Hidden hidden_of(const Tensor& x, const Tensor& w, const Tensor& bias, Gelu form) {
  const auto guard = no_grad();
  if (form == Gelu::tanh) {
    Hidden fused{empty({x.size(0), w.size(0)}, x.options()), {}};
    fused.a = empty_like(fused.h);
    if (fused_linear(fused.a, fused.h, x, w, bias)) return fused;
  }
  const Tensor h = affine(x, w, bias);
  return {h, gelu(h, form)};
}

/// The gradient of h from that of the output, g (rows, out), and where `dbias` is asked for the sum
/// of its rows.
Tensor hidden_gradient(const Tensor& g, const Tensor& w, const Tensor& h, Gelu form,
                       Tensor* dbias) {
  if (form == Gelu::tanh && !grad_enabled() && g.numel() > 0 && h.numel() > 0) {
    GeluLinearBackwardKernel* const kernel = kernels(h.device()).gelu_linear_backward;
    const Tensor dh = empty_like(h);
    const Tensor total = dbias ? empty({h.size(1)}, h.options()) : Tensor{};
    if (kernel != nullptr && w.is_contiguous() &&
        kernel(dh, total, contiguous(g), w, h, float32_matmul())) {
      if (dbias) *dbias = total;
      return dh;
    }
  }
  const Tensor da = matrix_product(g, w);
  const Tensor dh = form == Gelu::erf ? gelu_erf_backward(da, h) : gelu_tanh_backward(da, h);
  if (dbias) *dbias = sum(dh, {0});
  return dh;
}

/// x (rows, in), w1 (hidden, in), w2 (out, hidden) → (rows, out).
Tensor feed_forward_rows(const Tensor& x, const Tensor& weight1, const Tensor& bias1,
                         const Tensor& weight2, const Tensor& bias2, Gelu form) {
  const Tensor w1 = cast(weight1, x.dtype()), w2 = cast(weight2, x.dtype());
  const Tensor b1 = cast_if_any(bias1, x.dtype());
  const Hidden hidden = hidden_of(x, w1, b1, form);
  const Tensor y = affine(hidden.a, w2, cast_if_any(bias2, x.dtype()));
  return record(
      "feed_forward", {x, weight1, bias1, weight2, bias2}, y, {x, w1, b1, w2, hidden.h, hidden.a},
      [form, mode = float32_matmul(), dtype = weight1.dtype()](const Backward& context) {
        const Float32MatmulMode same(mode);
        const Tensor& g = context.grad();
        const Tensor &x = context.saved[0], &w1 = context.saved[1], &w2 = context.saved[3];
        // h and a have no history.
        const bool again = context.create_graph;
        const Tensor h = again ? linear_rows(x, w1, context.saved[2]) : context.saved[4];
        const Tensor a = again ? gelu(h, form) : context.saved[5];
        Tensors grads(5);
        if (context.needs[3]) grads[3] = weight_gradient(context, 3, g, a, dtype);
        if (context.needs[4]) grads[4] = cast(sum(g, {0}), dtype);
        if (!context.needs[0] && !context.needs[1] && !context.needs[2]) return grads;
        Tensor dbias;
        const Tensor dh = hidden_gradient(g, w2, h, form, context.needs[2] ? &dbias : nullptr);
        if (context.needs[0]) grads[0] = matrix_product(dh, w1);
        if (context.needs[1]) grads[1] = weight_gradient(context, 1, dh, x, dtype);
        if (context.needs[2]) grads[2] = cast(dbias, dtype);
        return grads;
      });
}

/// Throws unless `linear` can be done; `weight` and `bias` are of one dtype.
void check_linear(const char* op, const Tensor& x, const Shape& input, const Tensor& weight,
                  const Tensor& bias) {
  check_same_device(op, x, weight);
  const bool mixed = x.dtype() == DType::bf16 && weight.dtype() == DType::f32;
  if (!mixed) check_same_dtype(op, x, weight);
  check_dtype(op, x, FloatTypes{});
  check<ShapeError>(input.rank() > 0 && weight.rank() == 2 && input.back() == weight.size(1),
                    "{}: input {} does not end in the columns of weight {}, which is (out, in)", op,
                    input, weight.shape());
  if (!bias.defined()) return;
  check_same_device(op, x, bias);
  check_same_dtype(op, weight, bias);
  check<ShapeError>(bias.shape() == Shape{weight.size(0)}, "{}: bias {} does not have shape [{}]",
                    op, bias.shape(), weight.size(0));
}

/// (…, n) as (rows, n).
Tensor as_rows(const Tensor& x) {
  return reshape(x, {x.shape().slice(0, x.rank() - 1).numel(), x.size(-1)});
}
/// The shape of x with another last size.
Shape with_last(const Tensor& x, std::int64_t size) {
  Shape shape = x.shape();
  shape[x.rank() - 1] = size;
  return shape;
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
  check_linear("linear", x, x.shape(), weight, bias);
  return reshape(linear_rows(as_rows(x), weight, bias), with_last(x, weight.size(0)));
}

Tensor feed_forward(const Tensor& x, const Tensor& weight1, const Tensor& bias1,
                    const Tensor& weight2, const Tensor& bias2, Gelu form) {
  check_linear("feed_forward", x, x.shape(), weight1, bias1);
  check_linear("feed_forward", x, with_last(x, weight1.size(0)), weight2, bias2);
  check_same_dtype("feed_forward", weight1, weight2);
  const Tensor y = feed_forward_rows(as_rows(x), weight1, bias1, weight2, bias2, form);
  return reshape(y, with_last(x, weight2.size(0)));
}

}  // namespace scangrad
