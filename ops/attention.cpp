#include <scangrad/ops/attention.h>
#include <scangrad/ops/elementwise.h>
#include <scangrad/ops/frontend.h>
#include <scangrad/ops/matmul.h>
#include <scangrad/ops/random.h>
#include <scangrad/ops/shape.h>
#include <scangrad/ops/softmax.h>

#include <cmath>

namespace scangrad {
namespace {

constexpr const char* op = "scaled_dot_product_attention";

}  // namespace

Tensor scaled_dot_product_attention(const Tensor& q, const Tensor& k, const Tensor& v,
                                    const AttentionOptions& options) {
  for (const Tensor* t : {&q, &k, &v}) {
    check_dtype(op, *t, FloatTypes{});
    check_same_dtype(op, q, *t);
    check_same_device(op, q, *t);
  }
  const bool matrices = q.rank() >= 2 && k.rank() >= 2 && v.rank() >= 2;
  check<ShapeError>(matrices && q.shape().back() == k.shape().back() &&
                        k.shape()[k.rank() - 2] == v.shape()[v.rank() - 2],
                    "{}: q {}, k {} and v {} must be (..., T, d), (..., S, d) and (..., S, e)", op,
                    q.shape(), k.shape(), v.shape());
  const double width = static_cast<double>(q.shape().back());
  const double scale = options.scale.value_or(1 / std::sqrt(width));
  // Scaling q costs d/S of what scaling the scores would.
  const Tensor scores = matmul(q * scale, transpose(k, -1, -2));  // (…, T, S)
  const Tensor seen = masked_softmax(scores, options.mask, options.causal);
  return matmul(dropout(seen, options.dropout, true, options.generator), v);
}

}  // namespace scangrad
