#include <scangrad/core/format.h>
#include <scangrad/models/mru.h>
#include <scangrad/ops/creation.h>
#include <scangrad/ops/elementwise.h>
#include <scangrad/ops/matmul.h>
#include <scangrad/ops/random.h>
#include <scangrad/ops/reduce.h>
#include <scangrad/ops/shape.h>

#include <cmath>

namespace scangrad {

std::int64_t mru_order(const MruConfig& config) {
  const std::int64_t state = config.state_size > 0 ? config.state_size : config.width;
  check<ValueError>(config.heads > 0 && state % config.heads == 0,
                    "Mru: state size {} does not divide into {} heads", state, config.heads);
  const std::int64_t per_head = state / config.heads;
  const std::int64_t n = std::llround(std::sqrt(static_cast<double>(per_head)));
  check<ValueError>(n > 0 && n * n == per_head,
                    "Mru: a head's state of {} ({} over {} heads) is not a square matrix", per_head,
                    state, config.heads);
  check<ValueError>(config.width % (config.heads * n) == 0,
                    "Mru: width {} does not divide into {} heads of {} rows", config.width,
                    config.heads, n);
  return n;
}

void check_mru(const MruConfig& config) {
  mru_order(config);
  mru_scheme(config.scheme);
  check<ValueError>(config.normalize == "none" || config.normalize == "frobenius",
                    "Mru: there is no normalize \"{}\"; there are none, frobenius",
                    config.normalize);
}

Mru::Mru(const MruConfig& config, Generator& generator)
    : heads_(config.heads),
      order_(mru_order(config)),
      scheme_(mru_scheme(config.scheme)),
      normalize_(config.normalize == "frobenius"),
      w_in_(config.width, heads_ * scheme_.element_count(order_), 0, generator),
      w_down_(normal({heads_, order_, config.width / (heads_ * order_)}, 0,
                     0.02 * std::sqrt(static_cast<double>(order_)), {}, &generator)),
      w_out_(config.width, config.width, config.out_std, generator),
      element_dropout_(config.dropout),
      output_dropout_(config.dropout) {
  check_mru(config);
  register_module("w_in", w_in_);
  register_parameter("w_down", w_down_);
  register_module("w_out", w_out_);
  register_module("element_dropout", element_dropout_);
  register_module("output_dropout", output_dropout_);
}

Tensor Mru::elements(const Tensor& x) const {
  const Tensor elements = cast(element_dropout_.forward(w_in_.forward(x)), state_dtype(x));
  // Heads outermost: the first pass over the elements writes so, each sequence's matrices then lie
  // one after another for the scan, and W_down is one tall product per head.
  return permute(unflatten(elements, -1, {heads_, -1}), {2, 0, 1, 3});
}

Tensor Mru::output(const Tensor& states, const Tensor& like) const {
  const std::int64_t batch = like.size(0), length = like.size(1);
  const Tensor rows = reshape(states, {heads_, batch * length * order_, order_});
  const Tensor down = matmul(cast(rows, like.dtype()), cast(w_down_, like.dtype()));
  const Tensor y = permute(unflatten(down, 1, {batch, length, order_}), {1, 2, 0, 3, 4});
  return output_dropout_.forward(w_out_.forward(flatten(y, 2)));
}

ScanResult Mru::scan(const Tensor& elements, const Tensor& initial, const Tensor& starts) const {
  const ScanOptions options{.dim = 2, .initial = initial, .resets = starts};
  const Float32MatmulMode exact(Float32Matmul::full);  // long products grow what M lacks
  if (!normalize_) {
    return scheme_.form
               ? form_scan(unflatten(elements, -1, {order_, order_}), *scheme_.form, options)
               : matmul_scan(scheme_.matrices(elements, order_), options);
  }
  // The direction of H alone is read, so its exponent need not be kept.
  const ScaledScanResult scaled = matmul_scan_scaled(scheme_.matrices(elements, order_), options);
  const Tensor squares = sum(square(scaled.states), {-2, -1}, true);
  const Tensor safe = masked_fill(squares, eq(squares, 0.0), 1.0);  // a zero state stays 0
  return {scaled.states * rsqrt(safe / static_cast<double>(order_)), scaled.last};
}

Tensor Mru::forward(const Tensor& x, const Tensor& starts) {
  return output(scan(elements(x), {}, starts).states, x);
}

Tensor Mru::log10_state_norm(const Tensor& x, const Tensor& starts) {
  const Float32MatmulMode exact(Float32Matmul::full);
  const ScaledScanResult h =
      matmul_scan_scaled(scheme_.matrices(elements(x), order_), {.dim = 2, .resets = starts});
  const Tensor squares = cast(sum(square(h.states), {-2, -1}), DType::f64);
  // ‖2^e S‖ = 2^e ‖S‖
  return max(cast(h.exponents, DType::f64) * std::log10(2.0) +
             log(squares) * (0.5 / std::log(10.0)));
}

LayerState Mru::initial_state(std::int64_t batch) const {
  const Tensor one = eye(order_, {state_dtype(w_in_.weight), w_in_.weight.device()});
  return {contiguous(expand(one, {heads_, batch, order_, order_}))};
}

Tensor Mru::step(const Tensor& x, LayerState& state, const Tensor& starts) {
  const auto [read, last] = scan(elements(x), state[0], starts);
  state = {last};
  return output(read, x);
}

}  // namespace scangrad
