#include <scangrad/ops/frontend.h>
#include <scangrad/ops/index.h>
#include <scangrad/ops/shape.h>

namespace scangrad {
namespace {

/// The first k along `dim` in sorted order.
ValuesIndices sorted(const char* op, const Tensor& input, std::int64_t k, std::int64_t dim,
                     bool descending) {
  const int at = normalize_dim(op, dim, input.rank());
  const Tensor rows = contiguous(transpose(input.detach(), at, -1));
  Shape shape = rows.shape();
  shape[shape.rank() - 1] = k;
  Tensor values = empty(shape, rows.options());
  Tensor indices = empty(shape, {DType::i64, rows.device()});
  if (values.numel() > 0) {
    const std::int64_t n = rows.size(-1), count = rows.numel() / n;
    kernel_for(op, rows.device(), &Kernels::sort)(reshape(values, {count, k}),
                                                  reshape(indices, {count, k}),
                                                  reshape(rows, {count, n}), descending);
  }
  values = contiguous(transpose(values, at, -1));
  indices = contiguous(transpose(indices, at, -1));
  record(
      op, {input}, Tensors{values, indices}, {indices},
      [at, original = input.shape()](const Backward& b) {
        return Tensors{scatter_add(zeros(original, b.grad().options()), at, b.saved[0], b.grad())};
      });
  return {values, indices};
}

}  // namespace

ValuesIndices sort(const Tensor& x, std::int64_t dim, bool descending) {
  if (x.rank() == 0) return {x, zeros({}, {DType::i64, x.device()})};
  return sorted("sort", x, x.size(dim), dim, descending);
}

ValuesIndices topk(const Tensor& x, std::int64_t k, std::int64_t dim, bool largest) {
  check<ShapeError>(x.rank() > 0, "topk: a scalar has no dimensions");
  check<ValueError>(0 <= k && k <= x.size(dim), "topk: {} of dimension {} of shape {} do not exist",
                    k, dim, x.shape());
  return sorted("topk", x, k, dim, largest);
}

}  // namespace scangrad
