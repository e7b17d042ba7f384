#pragma once
#include <scangrad/core/bfloat16.h>
#include <scangrad/ops/scan_functors.h>
#include <scangrad/ops/vector_math.h>

#include <cmath>

// The scalar functions of the elementwise operations, shared by every backend. T is the compute
// type: float for bf16 tensors, the element type otherwise.
namespace scangrad::functors {

inline constexpr double inverse_sqrt_2pi = 0.39894228040143267794;
inline constexpr double two_over_sqrt_pi = 1.12837916709551257390;
inline constexpr double sqrt_2_over_pi = 0.79788456080286535588;
inline constexpr double gelu_cubic = 0.044715;

// ---- one operand

#define SCANGRAD_FUNCTOR(Name, ...)       \
  struct Name {                           \
    template <class T>                    \
    SCANGRAD_FN T operator()(T x) const { \
      __VA_ARGS__                         \
    }                                     \
  };

SCANGRAD_FUNCTOR(Neg, return -x;)
SCANGRAD_FUNCTOR(Abs, return x < T(0) ? -x : x;)
SCANGRAD_FUNCTOR(Sign, return x > T(0) ? T(1) : x < T(0) ? T(-1) : x;)  // NaN stays NaN
SCANGRAD_FUNCTOR(Square, return x * x;)
SCANGRAD_FUNCTOR(Reciprocal, return T(1) / x;)
SCANGRAD_FUNCTOR(Exp, return math::exp(x);)
SCANGRAD_FUNCTOR(Log, return std::log(x);)
SCANGRAD_FUNCTOR(Sqrt, return std::sqrt(x);)
SCANGRAD_FUNCTOR(Rsqrt, return T(1) / std::sqrt(x);)
SCANGRAD_FUNCTOR(Sin, return std::sin(x);)
SCANGRAD_FUNCTOR(Cos, return std::cos(x);)
SCANGRAD_FUNCTOR(Tanh, return math::tanh(x);)
SCANGRAD_FUNCTOR(Erf, return math::erf(x);)
SCANGRAD_FUNCTOR(Sigmoid, return T(1) / (T(1) + math::exp(-x));)
SCANGRAD_FUNCTOR(Relu, return x < T(0) ? T(0) : x;)  // NaN stays NaN
SCANGRAD_FUNCTOR(Silu, return x / (T(1) + math::exp(-x));)
/// x Φ(x). Hendrycks and Gimpel: "Gaussian error linear units" (2016).
SCANGRAD_FUNCTOR(GeluErf, return x * math::normal(x).cdf;)
/// The paper's approximation, as in GPT-2.
SCANGRAD_FUNCTOR(GeluTanh, const T u = T(sqrt_2_over_pi) * (x + T(gelu_cubic) * x * x * x);
                 return T(0.5) * x * (T(1) + math::tanh(u));)
#undef SCANGRAD_FUNCTOR

struct IsFinite {
  template <class T>
  SCANGRAD_FN bool operator()(T x) const {
    return x - x == T(0);
  }
};
struct IsNan {
  template <class T>
  SCANGRAD_FN bool operator()(T x) const {
    return x != x;
  }
};
struct LogicalNot {
  template <class T>
  SCANGRAD_FN bool operator()(T x) const {
    return x == T(0);
  }
};

// ---- one operand and parameters

#define SCANGRAD_FUNCTOR(Name, ...)                                                   \
  struct Name {                                                                       \
    template <class T>                                                                \
    SCANGRAD_FN T operator()(T x, [[maybe_unused]] T a, [[maybe_unused]] T b) const { \
      __VA_ARGS__                                                                     \
    }                                                                                 \
  };
SCANGRAD_FUNCTOR(AddScalar, return x + a;)
SCANGRAD_FUNCTOR(MulScalar, return x * a;)
SCANGRAD_FUNCTOR(PowScalar, return std::pow(x, a);)
/// Clevert, Unterthiner, Hochreiter: "Exponential linear units" (2015).
SCANGRAD_FUNCTOR(Elu, return x > T(0) ? x : a * math::expm1(x);)
/// log(1 + exp(a x)) / a, without overflow.
SCANGRAD_FUNCTOR(Softplus, const T u = x * a; const T above = u > T(0) ? u : T(0);
                 return (above + math::log1p_unit(math::exp(-std::fabs(u)))) / a;)
SCANGRAD_FUNCTOR(Clamp, return x < a ? a : x > b ? b : x;)  // NaN stays NaN
#undef SCANGRAD_FUNCTOR

// ---- two operands

#define SCANGRAD_FUNCTOR(Name, ...)            \
  struct Name {                                \
    template <class T>                         \
    SCANGRAD_FN T operator()(T a, T b) const { \
      __VA_ARGS__                              \
    }                                          \
  };
SCANGRAD_FUNCTOR(Add, return a + b;)
SCANGRAD_FUNCTOR(Sub, return a - b;)
SCANGRAD_FUNCTOR(Mul, return a * b;)
SCANGRAD_FUNCTOR(Div, return a / b;)
SCANGRAD_FUNCTOR(Pow, return std::pow(a, b);)
SCANGRAD_FUNCTOR(Maximum, return scan_functors::Largest::combine(a, b);)  // NaN wins
SCANGRAD_FUNCTOR(Minimum, return scan_functors::Smallest::combine(a, b);)

// Backward of the activations: a is the output's gradient, b the input or output that was saved.
SCANGRAD_FUNCTOR(TanhBackward, return a * (T(1) - b * b);)
SCANGRAD_FUNCTOR(SigmoidBackward, return a * b * (T(1) - b);)
SCANGRAD_FUNCTOR(ReluBackward, return b > T(0) ? a : T(0);)
SCANGRAD_FUNCTOR(SiluBackward, const T s = T(1) / (T(1) + math::exp(-b));
                 return a * s * (T(1) + b * (T(1) - s));)
SCANGRAD_FUNCTOR(GeluErfBackward, const math::Normal<T> normal = math::normal(b);
                 return a * (normal.cdf + b * normal.pdf);)
SCANGRAD_FUNCTOR(GeluTanhBackward,
                 const T t = math::tanh(T(sqrt_2_over_pi) * (b + T(gelu_cubic) * b * b * b));
                 const T slope = T(sqrt_2_over_pi) * (T(1) + T(3 * gelu_cubic) * b * b);
                 return a * T(0.5) * (T(1) + t + b * (T(1) - t * t) * slope);)
#undef SCANGRAD_FUNCTOR

#define SCANGRAD_FUNCTOR(Name, expression)        \
  struct Name {                                   \
    template <class T>                            \
    SCANGRAD_FN bool operator()(T a, T b) const { \
      return expression;                          \
    }                                             \
  };
SCANGRAD_FUNCTOR(Equal, a == b)
SCANGRAD_FUNCTOR(NotEqual, a != b)
SCANGRAD_FUNCTOR(Less, a < b)
SCANGRAD_FUNCTOR(LessEqual, a <= b)
SCANGRAD_FUNCTOR(Greater, a > b)
SCANGRAD_FUNCTOR(GreaterEqual, a >= b)
SCANGRAD_FUNCTOR(LogicalAnd, a != T(0) && b != T(0))
SCANGRAD_FUNCTOR(LogicalOr, a != T(0) || b != T(0))
#undef SCANGRAD_FUNCTOR

}  // namespace scangrad::functors
