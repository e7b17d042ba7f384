#include <scangrad/ops/creation.h>
#include <scangrad/ops/frontend.h>

#include <algorithm>
#include <cmath>

namespace scangrad {

Tensor arange(double start, double end, double step, const TensorOptions& options) {
  check<ValueError>(step != 0 && std::isfinite((end - start) / step),
                    "arange: from {} to {} in steps of {} is no finite range", start, end, step);
  const double count = std::max(std::ceil((end - start) / step), 0.0);
  check<ValueError>(count == 0 || (fits(options.dtype, start) &&
                                   fits(options.dtype, std::fma(count - 1, step, start))),
                    "arange: from {} to {} there are values beyond {}", start, end, options.dtype);
  Tensor out = empty({convert<std::int64_t>(count)}, options);
  check_dtype("arange", out, NumberTypes{});
  if (out.numel() > 0) {
    kernel_for("arange", out.device(), &Kernels::arange)(out, start, step);
  }
  return out;
}

Tensor eye(std::int64_t n, const TensorOptions& options) {
  Tensor out = zeros({n, n}, options);
  backend(out.device()).fill(out.as_strided({n}, {n + 1}, 0), 1);
  return out;
}

}  // namespace scangrad
