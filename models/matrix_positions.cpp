#include <scangrad/core/format.h>
#include <scangrad/models/layer.h>
#include <scangrad/models/matrix_positions.h>
#include <scangrad/models/mru_schemes.h>
#include <scangrad/ops/creation.h>
#include <scangrad/ops/elementwise.h>
#include <scangrad/ops/matmul.h>
#include <scangrad/ops/scan.h>
#include <scangrad/ops/shape.h>

namespace scangrad {

std::int64_t matrix_position_chunks(std::int64_t width, std::int64_t heads, std::int64_t n) {
  check<ValueError>(n >= 2, "MatrixPositions: chunks of {} dimensions cannot turn; 2 is the least",
                    n);
  check<ValueError>(heads > 0 && width % (heads * n) == 0,
                    "MatrixPositions: width {} does not divide into {} heads of chunks of {}",
                    width, heads, n);
  return width / n;
}

MatrixPositions::MatrixPositions(std::int64_t width, std::int64_t heads, std::int64_t n,
                                 Generator& generator)
    : n_(n),
      chunks_(matrix_position_chunks(width, heads, n)),
      w_pos_(width, chunks_ * mru_scheme("cayley").element_count(n), 0, generator) {
  register_module("w_pos", w_pos_);
}

Tensor MatrixPositions::initial_state(std::int64_t batch) const {
  const Tensor one = eye(n_, {state_dtype(w_pos_.weight), w_pos_.weight.device()});
  return contiguous(expand(one, {chunks_, batch, n_, n_}));
}

Tensor MatrixPositions::forward(const Tensor& x, const Tensor& queries_keys, Tensor& state,
                                const Tensor& starts) const {
  const Tensor elements = cast(w_pos_.forward(x), state_dtype(x));
  const Tensor m = mru_scheme("cayley").matrices(
      permute(unflatten(elements, -1, {chunks_, -1}), {2, 0, 1, 3}), n_);
  const ScanResult h =
      matmul_scan(m, {.dim = 2, .initial = state, .resets = starts});  // (chunks, B, T, n, n)
  state = h.last;
  const Tensor rows = permute(unflatten(flatten(queries_keys, -2), -1, {chunks_, n_}),
                              {3, 0, 1, 2, 4});  // (chunks, B, T, 2, n)
  const Tensor turned = matmul(cast(rows, state_dtype(x)), transpose(h.states, -1, -2));
  return reshape(permute(cast(turned, x.dtype()), {1, 2, 3, 0, 4}), queries_keys.shape());
}

}  // namespace scangrad
