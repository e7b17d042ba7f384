#include <scangrad/autograd/grad_mode.h>
#include <scangrad/ops/elementwise.h>
#include <scangrad/ops/frontend.h>
#include <scangrad/ops/functors.h>
#include <scangrad/ops/reduce.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <type_traits>

namespace scangrad {
namespace {

// What backward reads; the names are those of elementwise.def.
enum class Saved { none, x, y, inputs };

using UnaryGradient = Tensor (*)(const Tensor& g, const Tensor& saved, double a, double b);
using BinaryGradients = Tensors (*)(const Backward& context, const Tensor& g, const Tensor& a,
                                    const Tensor& b);

template <class Types>
constexpr bool floats_only = std::is_same_v<Types, FloatTypes>;  // others are cast to f32

template <class Types>
Tensor unary(const char* op, UnaryKernel* Kernels::*entry, Types types, const Tensor& input,
             Scalars scalars, Saved save, UnaryGradient gradient) {
  const bool whole = std::trunc(scalars.a) == scalars.a && std::trunc(scalars.b) == scalars.b;
  const bool widens = is_integer(input.dtype()) && (floats_only<Types> || !whole);
  const Tensor x = widens ? as_floating(input) : input;
  check_dtype(op, x, types);
  Tensor y = empty(x.shape(), x.options());
  if (y.numel() > 0) kernel_for(op, x.device(), entry)(y, x, scalars);
  const Tensors saved = save == Saved::none ? Tensors{Tensor{}} : Tensors{save == Saved::x ? x : y};
  return record(op, {x}, y, saved, [gradient, scalars](const Backward& b) {
    return Tensors{gradient(b.grad(), b.saved[0], scalars.a, scalars.b)};
  });
}

template <class Types>
Tensor predicate(const char* op, UnaryKernel* Kernels::*entry, Types types, const Tensor& x) {
  check_dtype(op, x, types);
  Tensor y = empty(x.shape(), {DType::bool_, x.device()});
  if (y.numel() > 0) kernel_for(op, x.device(), entry)(y, x, {});
  return y;
}

template <class Types>
Tensor binary(const char* op, BinaryKernel* Kernels::*entry, Types types, const Tensor& lhs,
              const Tensor& rhs, Saved save, BinaryGradients gradients) {
  check_same_device(op, lhs, rhs);
  DType dtype = promote(lhs, rhs);
  if (floats_only<Types> && is_integer(dtype)) dtype = DType::f32;
  const Tensor a = cast(lhs, dtype), b = cast(rhs, dtype);
  check_dtype(op, a, types);
  const Shape shape = broadcast_shapes(op, a.shape(), b.shape());
  Tensor y = empty(shape, a.options());
  if (y.numel() > 0) {
    kernel_for(op, y.device(), entry)(y, expand_view(a, shape), expand_view(b, shape));
  }
  const Tensors saved = save == Saved::inputs ? Tensors{a, b} : Tensors{Tensor{}, Tensor{}};
  const Shape shape_a = a.shape(), shape_b = b.shape();
  return record(op, {a, b}, y, saved, [gradients, shape_a, shape_b](const Backward& context) {
    Tensors grads = gradients(context, context.grad(), context.saved[0], context.saved[1]);
    if (grads[0].defined()) grads[0] = sum_to(grads[0], shape_a);
    if (grads[1].defined()) grads[1] = sum_to(grads[1], shape_b);
    return grads;
  });
}

template <class Types>
Tensor comparison(const char* op, BinaryKernel* Kernels::*entry, Types types, const Tensor& lhs,
                  const Tensor& rhs) {
  check_same_device(op, lhs, rhs);
  const auto guard = no_grad();
  const DType dtype = promote(lhs, rhs);
  const Tensor a = cast(lhs, dtype), b = cast(rhs, dtype);
  check_dtype(op, a, types);
  const Shape shape = broadcast_shapes(op, a.shape(), b.shape());
  Tensor y = empty(shape, {DType::bool_, a.device()});
  if (y.numel() > 0) {
    kernel_for(op, y.device(), entry)(y, expand_view(a, shape), expand_view(b, shape));
  }
  return y;
}

/// How a bound that lies between two integers becomes one, for a comparison with integers.
enum class Between { none, up, down };

/// x against a number, as the numbers compare, whether or not x's dtype has that number; `plain` is
/// the comparison of two doubles.
Tensor against(Tensor (*compare)(const Tensor&, const Tensor&), bool (*plain)(double, double),
               Between between, const Tensor& x, double value) {
  if (!is_integer(x.dtype())) {
    const DType dtype = is_floating(x.dtype()) ? x.dtype() : DType::f32;
    return compare(x, full({}, value, {dtype, x.device()}));
  }
  const double bound = between == Between::up     ? std::ceil(value)
                       : between == Between::down ? std::floor(value)
                                                  : value;
  if (std::trunc(bound) != bound || !fits(x.dtype(), bound)) {  // the same for every integer
    return full(x.shape(), plain(0, value), {DType::bool_, x.device()});
  }
  return compare(x, full({}, bound, x.options()));
}

/// The gradient of what does not depend on x: zeros in the shape of g, without their memory.
Tensor nothing(const Tensor& g) { return expand_view(full({}, 0, g.options()), g.shape()); }

/// a's share of the gradient of max(a, b): all where it is larger, half at ties.
Tensor tie_share(const Tensor& a, const Tensor& b) {
  return cast(gt(a, b), a.dtype()) + cast(eq(a, b), a.dtype()) * 0.5;
}

/// d elu/dx: 1 above 0, else alpha eˣ.
Tensor elu_slope(const Tensor& x, double alpha) {
  const Tensor below = clamp(x, -std::numeric_limits<double>::infinity(), 0);
  return where(gt(x, 0.0), full({}, 1, x.options()), exp(below) * alpha);
}

// Second derivatives of the activations, for gradients of their fused backward.
Tensor silu_curvature(const Tensor& x) {
  const Tensor s = sigmoid(x);
  return s * (1.0 - s) * (2.0 + x * (1.0 - s * 2.0));
}
Tensor gelu_erf_curvature(const Tensor& x) {
  return exp(square(x) * -0.5) * (2.0 - square(x)) * functors::inverse_sqrt_2pi;
}
Tensor gelu_tanh_curvature(const Tensor& x) {
  using namespace functors;
  const Tensor t = tanh((x + x * square(x) * gelu_cubic) * sqrt_2_over_pi);
  const Tensor sech2 = 1.0 - square(t);
  const Tensor slope = (1.0 + square(x) * (3 * gelu_cubic)) * sqrt_2_over_pi;
  const Tensor bend = x * (6 * gelu_cubic * sqrt_2_over_pi);
  return sech2 * (slope + x * (bend * 0.5 - t * square(slope)));
}

}  // namespace

#define SCANGRAD_UNARY_BODY(name, Types, saved, scalars, ...)                    \
  return unary(                                                                  \
      #name, &Kernels::name, Types{}, input, scalars, Saved::saved,              \
      []([[maybe_unused]] const Tensor& g, [[maybe_unused]] const Tensor& saved, \
         [[maybe_unused]] double a, [[maybe_unused]] double b) -> Tensor { return __VA_ARGS__; });

#define SCANGRAD_UNARY(name, F, Types, saved, ...)                    \
  Tensor name(const Tensor& input) {                                  \
    SCANGRAD_UNARY_BODY(name, Types, saved, (Scalars{}), __VA_ARGS__) \
  }
#define SCANGRAD_UNARY_1(name, F, Types, saved, ...)                   \
  Tensor name(const Tensor& input, double p) {                         \
    SCANGRAD_UNARY_BODY(name, Types, saved, (Scalars{p}), __VA_ARGS__) \
  }
#define SCANGRAD_UNARY_2(name, F, Types, saved, ...)                      \
  Tensor name(const Tensor& input, double p, double q) {                  \
    SCANGRAD_UNARY_BODY(name, Types, saved, (Scalars{p, q}), __VA_ARGS__) \
  }
#define SCANGRAD_PREDICATE(name, F, Types) \
  Tensor name(const Tensor& x) { return predicate(#name, &Kernels::name, Types{}, x); }
#define SCANGRAD_BINARY(name, F, Types, saved, gradient_a, gradient_b)                     \
  Tensor name(const Tensor& lhs, const Tensor& rhs) {                                      \
    return binary(#name, &Kernels::name, Types{}, lhs, rhs, Saved::saved,                  \
                  [](const Backward& context, [[maybe_unused]] const Tensor& g,            \
                     [[maybe_unused]] const Tensor& a, [[maybe_unused]] const Tensor& b) { \
                    return Tensors{context.needs[0] ? Tensor(gradient_a) : Tensor{},       \
                                   context.needs[1] ? Tensor(gradient_b) : Tensor{}};      \
                  });                                                                      \
  }
#define SCANGRAD_COMPARISON(name, F, Types)                      \
  Tensor name(const Tensor& lhs, const Tensor& rhs) {            \
    return comparison(#name, &Kernels::name, Types{}, lhs, rhs); \
  }
#include <scangrad/ops/elementwise.def>

Tensor gelu(const Tensor& x, Gelu form) { return form == Gelu::erf ? gelu_erf(x) : gelu_tanh(x); }

Tensor add(const Tensor& x, double value) { return add_scalar(cast(x, promote(x, value)), value); }
Tensor mul(const Tensor& x, double value) { return mul_scalar(cast(x, promote(x, value)), value); }
Tensor div(const Tensor& x, double value) { return mul_scalar(as_floating(x), 1.0 / value); }
Tensor pow(const Tensor& a, double exponent) { return pow_scalar(a, exponent); }

#define SCANGRAD_AGAINST(name, Plain, between)                                                 \
  Tensor name(const Tensor& x, double value) {                                                 \
    return against(                                                                            \
        name, [](double a, double b) { return functors::Plain{}(a, b); }, Between::between, x, \
        value);                                                                                \
  }
SCANGRAD_AGAINST(eq, Equal, none)
SCANGRAD_AGAINST(ne, NotEqual, none)
SCANGRAD_AGAINST(lt, Less, up)  // x < 2.5 is x < 3
SCANGRAD_AGAINST(le, LessEqual, down)
SCANGRAD_AGAINST(gt, Greater, down)
SCANGRAD_AGAINST(ge, GreaterEqual, up)
#undef SCANGRAD_AGAINST

DType promote(const Tensor& x, double value) {
  if (is_floating(x.dtype())) return x.dtype();
  const bool whole = is_integer(x.dtype()) && std::trunc(value) == value && fits(x.dtype(), value);
  return whole ? x.dtype() : DType::f32;
}

DType promote(const Tensor& a, const Tensor& b) {
  const auto category = [](DType dtype) { return is_floating(dtype) ? 2 : is_integer(dtype); };
  // A 0-d tensor widens a tensor with dimensions only into a higher category, as in PyTorch.
  const bool a_scalar = a.rank() == 0 && b.rank() > 0, b_scalar = b.rank() == 0 && a.rank() > 0;
  if (a_scalar && category(a.dtype()) <= category(b.dtype())) return b.dtype();
  if (b_scalar && category(b.dtype()) <= category(a.dtype())) return a.dtype();
  return std::max(a.dtype(), b.dtype());
}

Tensor as_floating(const Tensor& x) { return is_floating(x.dtype()) ? x : cast(x, DType::f32); }

Tensor cast(const Tensor& x, DType dtype) {
  if (x.dtype() == dtype) return x;
  Tensor y = empty(x.shape(), {dtype, x.device()});
  raw_copy(y, x);
  if (!is_floating(dtype)) return y;
  const DType original = x.dtype();
  return record("cast", {x}, y, {},
                [original](const Backward& b) { return Tensors{cast(b.grad(), original)}; });
}

Tensor where(const Tensor& condition, const Tensor& lhs, const Tensor& rhs) {
  check_dtype("where", condition, TypeList<bool>{});
  check_same_device("where", condition, lhs);
  check_same_device("where", lhs, rhs);
  const DType dtype = promote(lhs, rhs);
  const Tensor a = cast(lhs, dtype), b = cast(rhs, dtype);
  const Shape shape =
      broadcast_shapes("where", condition.shape(), broadcast_shapes("where", a.shape(), b.shape()));
  Tensor y = empty(shape, a.options());
  if (y.numel() > 0) {
    kernel_for("where", y.device(), &Kernels::where)(y, expand_view(condition, shape),
                                                     expand_view(a, shape), expand_view(b, shape));
  }
  const Shape shape_a = a.shape(), shape_b = b.shape();
  return record("where", {a, b}, y, {condition}, [shape_a, shape_b](const Backward& context) {
    const Tensor& g = context.grad();
    const Tensor zero = full({}, 0, g.options());
    return Tensors{context.needs[0] ? sum_to(where(context.saved[0], g, zero), shape_a) : Tensor{},
                   context.needs[1] ? sum_to(where(context.saved[0], zero, g), shape_b) : Tensor{}};
  });
}

Tensor masked_fill(const Tensor& x, const Tensor& mask, double value) {
  check_dtype("masked_fill", mask, TypeList<bool>{});
  return where(mask, full({}, value, x.options()), x);
}

}  // namespace scangrad
