#include <scangrad/ops/frontend.h>
#include <scangrad/ops/random.h>
#include <scangrad/ops/shape.h>

namespace scangrad {
namespace {

Generator& chosen(Generator* generator) {
  return generator != nullptr ? *generator : default_generator();
}

Tensor random(const char* op, RandomKernel* Kernels::*entry, const Shape& shape,
              const TensorOptions& options, Scalars scalars, Generator* generator) {
  Tensor out = empty(shape, options);
  check_dtype(op, out, FloatTypes{});
  if (out.numel() == 0) return out;
  kernel_for(op, out.device(), entry)(out, scalars, chosen(generator).advance(out.numel()));
  return out;
}

/// x with the mask of `state`: linear in x, so that it is its own backward too.
Tensor masked(const Tensor& input, double p, PhiloxState state) {
  const Tensor x = contiguous(input);
  Tensor y = empty_like(x);
  if (y.numel() > 0) kernel_for("dropout", x.device(), &Kernels::dropout)(y, x, p, state);
  return record("dropout", {x}, y, {},
                [p, state](const Backward& b) { return Tensors{masked(b.grad(), p, state)}; });
}

}  // namespace

Tensor uniform(const Shape& shape, const TensorOptions& options, double low, double high,
               Generator* generator) {
  check<ValueError>(low <= high, "uniform: low {} is above high {}", low, high);
  return random("uniform", &Kernels::uniform, shape, options, {low, high}, generator);
}

Tensor randn(const Shape& shape, const TensorOptions& options, Generator* generator) {
  return random("randn", &Kernels::normal, shape, options, {0, 1}, generator);
}

Tensor normal(const Shape& shape, double mean, double std, const TensorOptions& options,
              Generator* generator) {
  check<ValueError>(std >= 0, "normal: the standard deviation {} is negative", std);
  return random("normal", &Kernels::normal, shape, options, {mean, std}, generator);
}

Tensor randint(std::int64_t low, std::int64_t high, const Shape& shape,
               const TensorOptions& options, Generator* generator) {
  const auto range = static_cast<std::uint64_t>(high) - static_cast<std::uint64_t>(low);
  check<ValueError>(low < high && range <= std::uint64_t{1} << 32,
                    "randint: the range from {} to {} must hold 1 to 2^32 integers", low, high);
  Tensor out = empty(shape, options);
  check_dtype("randint", out, TypeList<std::int32_t, std::int64_t>{});
  if (out.numel() == 0) return out;
  kernel_for("randint", out.device(), &Kernels::randint)(out, low, range,
                                                         chosen(generator).advance(out.numel()));
  return out;
}

Tensor dropout(const Tensor& x, double p, bool training, Generator* generator) {
  check<ValueError>(p >= 0 && p <= 1, "dropout: the probability {} is not between 0 and 1", p);
  check_dtype("dropout", x, FloatTypes{});
  if (!training || p == 0 || x.numel() == 0) return x;
  return masked(x, p, chosen(generator).advance(x.numel()));
}

}  // namespace scangrad
