#pragma once
// Internal: what the mixers with heads share. Included by models/*.cpp only, never installed.
#include <scangrad/core/tensor.h>

#include <cstdint>

namespace scangrad {

/// Throws ValueError naming `layer` where `heads` do not divide the width.
void check_heads(const char* layer, std::int64_t width, std::int64_t heads);
/// Columns in `parts` × `heads` blocks, (B, T, parts · heads · d), as `parts` tensors
/// (B, heads, T, d) of the states' dtype.
Tensors split_heads(const Tensor& x, std::int64_t parts, std::int64_t heads);
/// (B, heads, T, d) → (B, T, heads · d).
Tensor join_heads(const Tensor& x);

// A sequence cut into chunks: matrix products within each, a scan from one to the next. Recurrences
// whose state is a matrix take one step a chunk so, and the work stays linear in the length.

/// (…, T, d) → (…, ⌈T/size⌉, size, d), the last chunk filled up with zeros.
Tensor in_chunks(const Tensor& x, std::int64_t size);
/// The first `length` tokens again: (…, chunks, size, d) → (…, length, d).
Tensor joined(const Tensor& chunks, std::int64_t length);

/// What documents keep from one another within a chunk, as masks, true where nothing is to be seen;
/// all undefined where documents are not told apart. A chunk hands on its last document alone.
struct ChunkDocuments {
  Tensor apart;   ///< (B, 1, chunks, size, size): of two tokens, that their documents differ
  Tensor begun;   ///< (B, 1, chunks, size, 1): of a token, that its document begins in its chunk
  Tensor ended;   ///< (B, 1, chunks, size, 1): of a token, that its document ends in its chunk
  Tensor begins;  ///< (B, 1, chunks, 1, 1): that any document begins in the chunk
};
/// Of `starts`, (B, T) bool or undefined, in chunks of `size` tokens.
ChunkDocuments chunk_documents(const Tensor& starts, std::int64_t size);
/// x with zeros where the mask, if there is one, is true.
Tensor hide(const Tensor& x, const Tensor& mask);

}  // namespace scangrad
