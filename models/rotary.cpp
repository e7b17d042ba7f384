#include <scangrad/autograd/grad_mode.h>
#include <scangrad/core/format.h>
#include <scangrad/models/rotary.h>
#include <scangrad/ops/elementwise.h>
#include <scangrad/ops/join.h>
#include <scangrad/ops/shape.h>

#include <algorithm>
#include <cmath>

namespace scangrad {

void check_rotary(std::int64_t d) {
  check<ValueError>(d % 2 == 0, "Rotary: heads of size {} cannot be split into pairs", d);
}

Rotary::Rotary(std::int64_t d, bool scaled) : d_(d), scaled_(scaled) { check_rotary(d); }

void Rotary::make_tables(std::int64_t length, const TensorOptions& options) {
  const bool made = cos_.defined() && cos_.size(0) >= length && cos_.dtype() == options.dtype &&
                    cos_.device() == options.device;
  if (made) return;
  // Doubling, so that one token after another costs no more in all than the longest does.
  if (cos_.defined()) length = std::max(length, 2 * cos_.size(0));
  std::vector<double> cosines, sines;
  for (std::int64_t t = 0; t < length; ++t) {
    for (const int sign : {1, -1}) {  // queries, keys
      for (std::int64_t two_i = 0; two_i < d_; two_i += 2) {
        const double zeta = (two_i + 0.4 * d_) / (1.4 * d_);
        const double scale = scaled_ ? std::pow(zeta, sign * t / 512.0) : 1.0;
        const double angle = t * std::pow(10000.0, -static_cast<double>(two_i) / d_);
        cosines.insert(cosines.end(), 2, scale * std::cos(angle));
        sines.insert(sines.end(), {-scale * std::sin(angle), scale * std::sin(angle)});
      }
    }
  }
  const auto table = [&](const std::vector<double>& values) {
    return to(cast(from<double>(values, {length, 2, 1, d_}), options.dtype), options.device);
  };
  const auto guard = no_grad();
  cos_ = table(cosines);
  sin_ = table(sines);
}

Tensor Rotary::forward(const Tensor& x, std::int64_t start) {
  const std::int64_t end = start + x.size(1);
  make_tables(end, x.options());
  const Tensor swapped = flatten(flip(unflatten(x, -1, {d_ / 2, 2}), {-1}), -2);
  return x * slice(cos_, 0, start, end) + swapped * slice(sin_, 0, start, end);
}

}  // namespace scangrad
