#include <scangrad/core/format.h>
#include <scangrad/models/heads.h>
#include <scangrad/models/layer.h>
#include <scangrad/ops/elementwise.h>
#include <scangrad/ops/join.h>
#include <scangrad/ops/scan.h>
#include <scangrad/ops/shape.h>

namespace scangrad {

void check_heads(const char* layer, std::int64_t width, std::int64_t heads) {
  check<ValueError>(heads > 0 && width % heads == 0, "{}: width {} does not divide into {} heads",
                    layer, width, heads);
}

Tensors split_heads(const Tensor& x, std::int64_t parts, std::int64_t heads) {
  const Tensor all = unflatten(cast(x, state_dtype(x)), -1, {parts, heads, -1});
  Tensors result;
  for (std::int64_t i = 0; i < parts; ++i) result.push_back(transpose(select(all, 2, i), 1, 2));
  return result;
}

Tensor join_heads(const Tensor& x) { return flatten(transpose(x, 1, 2), -2); }

Tensor in_chunks(const Tensor& x, std::int64_t size) {
  const std::int64_t left_over = x.size(-2) % size;
  const Tensor whole = left_over == 0 ? x : pad(x, {0, 0, 0, size - left_over});
  return unflatten(whole, -2, {-1, size});
}

Tensor joined(const Tensor& chunks, std::int64_t length) {
  return slice(flatten(chunks, -3, -2), -2, 0, length);
}

ChunkDocuments chunk_documents(const Tensor& starts, std::int64_t size) {
  if (!starts.defined()) return {};
  // 0 for the document that goes on from the chunk before, then 1, 2, …
  const Tensor number =
      cumsum(in_chunks(unsqueeze(unsqueeze(cast(starts, DType::i64), 1), 3), size), -2);
  const Tensor last = slice(number, -2, size - 1);
  return {.apart = ne(number, transpose(number, -1, -2)),
          .begun = gt(number, 0.0),
          .ended = ne(number, last),
          .begins = gt(last, 0.0)};
}

Tensor hide(const Tensor& x, const Tensor& mask) {
  return mask.defined() ? masked_fill(x, mask, 0) : x;
}

}  // namespace scangrad
