#include <scangrad/autograd/grad_mode.h>
#include <scangrad/ops/elementwise.h>
#include <scangrad/ops/frontend.h>
#include <scangrad/ops/index.h>
#include <scangrad/ops/random.h>
#include <scangrad/ops/shape.h>

#include <limits>

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

Tensor randint(std::int64_t low, std::int64_t high, const Shape& shape, const IndexOptions& options,
               Generator* generator) {
  const auto range = static_cast<std::uint64_t>(high) - static_cast<std::uint64_t>(low);
  check<ValueError>(low < high && range <= std::uint64_t{1} << 32,
                    "randint: the range from {} to {} must hold 1 to 2^32 integers", low, high);
  Tensor out = empty(shape, {options.dtype, options.device});
  check_dtype("randint", out, TypeList<std::int32_t, std::int64_t>{});
  using Narrow = std::numeric_limits<std::int32_t>;
  check<ValueError>(
      options.dtype != DType::i32 || (low >= Narrow::min() && high - 1 <= Narrow::max()),
      "randint: not all integers from {} to {} are values of i32", low, high);
  if (out.numel() == 0) return out;
  kernel_for("randint", out.device(), &Kernels::randint)(out, low, range,
                                                         chosen(generator).advance(out.numel()));
  return out;
}

Tensor permutation(std::int64_t n, const IndexOptions& options, Generator* generator) {
  check<ValueError>(n >= 0, "permutation: the length {} is negative", n);
  const Tensor keys = empty({n}, {DType::i64, options.device});
  if (n > 0) {
    const PhiloxState state = chosen(generator).advance(2 * n);
    kernel_for("permutation", keys.device(), &Kernels::random_bits)(keys, state);
  }
  // Stable: (key, index) orders even equal keys the same way everywhere.
  return cast(sort(keys).indices, options.dtype);
}

// The n smallest of E_i / p_i, with E_i exponential, are a draw without replacement in proportion
// to p; their logarithms, so that no p is too small to divide by. Efraimidis and Spirakis:
// "Weighted random sampling with a reservoir" (2006).
Tensor multinomial(const Tensor& probs, std::int64_t n, Generator* generator) {
  const auto guard = no_grad();
  check_dtype("multinomial", probs, FloatTypes{});
  check<ShapeError>(probs.rank() > 0, "multinomial: a scalar is no row of probabilities");
  const std::int64_t classes = probs.size(-1);
  check<ValueError>(0 < n && n <= classes, "multinomial: {} draws from {} classes", n, classes);
  const Tensor p = cast(probs, DType::f64);
  check<ValueError>(all(logical_and(ge(p, 0.0), isfinite(p))).item<bool>(),
                    "multinomial: a probability is negative or not finite");
  // 24 random bits would leave events below 6e-8 out: 48 bits, off 0 and 1 by half a step.
  const Tensor coarse = uniform(p.shape(), p.options(), 0, 1, generator);
  const Tensor fine = uniform(p.shape(), p.options(), 0, 1, generator);
  const Tensor u = coarse + fine * 0x1p-24 + 0x1p-49;
  const Tensor keys = log(p) - log(-log(u));  // the largest first; never where p is 0
  const ValuesIndices drawn = n == 1 ? max(keys, -1, true) : topk(keys, n);
  check<ValueError>(all(isfinite(drawn.values)).item<bool>(),
                    "multinomial: a row has fewer than {} probabilities above 0", n);
  return drawn.indices;
}

Tensor dropout(const Tensor& x, double p, bool training, Generator* generator) {
  check<ValueError>(p >= 0 && p <= 1, "dropout: the probability {} is not between 0 and 1", p);
  check_dtype("dropout", x, FloatTypes{});
  if (!training || p == 0 || x.numel() == 0) return x;
  return masked(x, p, chosen(generator).advance(x.numel()));
}

}  // namespace scangrad
