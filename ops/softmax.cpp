#include <scangrad/autograd/grad_mode.h>
#include <scangrad/ops/elementwise.h>
#include <scangrad/ops/frontend.h>
#include <scangrad/ops/reduce.h>
#include <scangrad/ops/shape.h>
#include <scangrad/ops/softmax.h>

namespace scangrad {
namespace {

/// rows(x) with dimension `dim` of x as its last one.
template <class Rows>
Tensor along_last(const char* op, const Tensor& x, std::int64_t dim, Rows&& rows) {
  check_dtype(op, x, FloatTypes{});
  const int at = normalize_dim(op, dim, x.rank());
  if (x.rank() == 0) return reshape(rows(reshape(x, {1})), {});
  if (at == x.rank() - 1) return rows(contiguous(x));
  return transpose(rows(contiguous(transpose(x, at, -1))), at, -1);
}

/// out = kernel(g, y) over rows: a fused backward.
Tensor fused_backward(const char* op, RowBackwardKernel* Kernels::*entry, const Tensor& g,
                      const Tensor& y) {
  Tensor out = empty_like(y);
  if (y.numel() > 0) kernel_for(op, y.device(), entry)(out, contiguous(g), y);
  return out;
}

/// Gradient of x from that of y = softmax(x) over the last dimension.
Tensor softmax_gradient(const Backward& b, const Tensor& y) {
  const Tensor& g = b.grad();
  if (b.create_graph) return y * (g - sum(g * y, {-1}, true));
  return fused_backward("softmax_backward", &Kernels::softmax_backward, g, y);
}

}  // namespace

Tensor softmax(const Tensor& input, std::int64_t dim) {
  return along_last("softmax", input, dim, [](const Tensor& x) {
    Tensor y = empty_like(x);
    if (y.numel() > 0) kernel_for("softmax", x.device(), &Kernels::softmax)(y, x);
    return record("softmax", {x}, y, {y},
                  [](const Backward& b) { return Tensors{softmax_gradient(b, b.saved[0])}; });
  });
}

Tensor masked_softmax(const Tensor& input, const Tensor& mask, bool causal) {
  check_dtype("masked_softmax", input, FloatTypes{});
  check<ShapeError>(input.rank() >= 2, "masked_softmax: x {} must have at least two dimensions",
                    input.shape());
  const bool additive = mask.defined() && mask.dtype() != DType::bool_;
  if (mask.defined()) {
    check_same_device("masked_softmax", input, mask);
    if (additive) check_same_dtype("masked_softmax", input, mask);
    check<ShapeError>(
        broadcast_shapes("masked_softmax", mask.shape(), input.shape()) == input.shape(),
        "masked_softmax: mask {} does not broadcast to {}", mask.shape(), input.shape());
  }
  const Tensor x = contiguous(input);
  Tensor y = empty_like(x);
  if (y.numel() > 0) {
    kernel_for("masked_softmax", x.device(), &Kernels::masked_softmax)(
        y, x, mask.defined() ? expand_view(mask, x.shape()) : mask, causal);
  }
  const Shape mask_shape = mask.defined() ? mask.shape() : Shape{};
  return record("masked_softmax", {x, additive ? mask : Tensor{}}, y, {y},
                [mask_shape](const Backward& b) {
                  const Tensor dx = softmax_gradient(b, b.saved[0]);
                  return Tensors{dx, b.needs[1] ? sum_to(dx, mask_shape) : Tensor{}};
                });
}

Tensor log_softmax(const Tensor& input, std::int64_t dim) {
  return along_last("log_softmax", input, dim, [](const Tensor& x) {
    Tensor y = empty_like(x);
    if (y.numel() > 0) kernel_for("log_softmax", x.device(), &Kernels::log_softmax)(y, x);
    return record("log_softmax", {x}, y, {y}, [](const Backward& b) {
      const Tensor& g = b.grad();
      const Tensor& y = b.saved[0];
      if (b.create_graph) return Tensors{g - exp(y) * sum(g, {-1}, true)};
      return Tensors{fused_backward("log_softmax_backward", &Kernels::log_softmax_backward, g, y)};
    });
  });
}

}  // namespace scangrad
