#pragma once
#include <scangrad/core/tensor.h>

// Elementwise operations, y_i = f(x_i): any shape; two operands broadcast as in NumPy and promote
// to the wider dtype (a 0-d tensor does not widen within its category). A number is an integer to
// an integer tensor that can hold it, and makes others f32; bool tensors are f32 beside a number.
// Differentiable to any order unless said otherwise. All but the predicates, and what has such a
// number, throw DTypeError for bool tensors.
namespace scangrad {

Tensor neg(const Tensor& x);         ///< −x
Tensor abs(const Tensor& x);         ///< |x|; derivative 0 at 0
Tensor sign(const Tensor& x);        ///< −1, 0 or 1
Tensor square(const Tensor& x);      ///< x²
Tensor reciprocal(const Tensor& x);  ///< 1/x
Tensor exp(const Tensor& x);         ///< eˣ
Tensor log(const Tensor& x);         ///< ln x
Tensor sqrt(const Tensor& x);        ///< √x
Tensor rsqrt(const Tensor& x);       ///< 1/√x
Tensor sin(const Tensor& x);         ///< sin x
Tensor cos(const Tensor& x);         ///< cos x
Tensor tanh(const Tensor& x);        ///< tanh x
Tensor erf(const Tensor& x);         ///< error function
Tensor sigmoid(const Tensor& x);     ///< 1/(1 + e⁻ˣ)
Tensor relu(const Tensor& x);        ///< max(x, 0); derivative 0 at 0
Tensor silu(const Tensor& x);        ///< x σ(x)

/// Which form of GELU.
enum class Gelu { erf, tanh };
/// x Φ(x), exact (erf) or by the tanh approximation. Hendrycks and Gimpel 2016.
Tensor gelu(const Tensor& x, Gelu form = Gelu::erf);
Tensor gelu_erf(const Tensor& x);
Tensor gelu_tanh(const Tensor& x);
/// x for x > 0, else alpha (eˣ − 1). Clevert et al. 2015.
Tensor elu(const Tensor& x, double alpha = 1.0);
/// log(1 + e^{beta x}) / beta.
Tensor softplus(const Tensor& x, double beta = 1.0);
/// min(max(x, low), high); derivative 1 inside, bounds included. Integers stay integers unless a
/// bound has a fraction.
Tensor clamp(const Tensor& x, double low, double high);

Tensor add(const Tensor& a, const Tensor& b);
Tensor sub(const Tensor& a, const Tensor& b);
Tensor mul(const Tensor& a, const Tensor& b);
/// a / b; integers are divided as f32.
Tensor div(const Tensor& a, const Tensor& b);
/// aᵇ.
Tensor pow(const Tensor& a, const Tensor& b);
Tensor pow(const Tensor& a, double exponent);
/// The larger of the two; at ties each gets half of the gradient.
Tensor maximum(const Tensor& a, const Tensor& b);
Tensor minimum(const Tensor& a, const Tensor& b);

Tensor add(const Tensor& x, double value);
Tensor mul(const Tensor& x, double value);
/// x / value; integers are divided as f32.
Tensor div(const Tensor& x, double value);

Tensor add_scalar(const Tensor& x, double value);
Tensor mul_scalar(const Tensor& x, double value);
Tensor pow_scalar(const Tensor& x, double exponent);

// The fused backward of the activations, in one pass: from the output's gradient g and the output y
// or input x that was saved. Operations like the others, with gradients of their own.
Tensor tanh_backward(const Tensor& g, const Tensor& y);       ///< g (1 − y²)
Tensor sigmoid_backward(const Tensor& g, const Tensor& y);    ///< g y (1 − y)
Tensor relu_backward(const Tensor& g, const Tensor& y);       ///< y > 0 ? g : 0
Tensor silu_backward(const Tensor& g, const Tensor& x);       ///< g σ(x) (1 + x (1 − σ(x)))
Tensor gelu_erf_backward(const Tensor& g, const Tensor& x);   ///< g (Φ(x) + x φ(x))
Tensor gelu_tanh_backward(const Tensor& g, const Tensor& x);  ///< the same of the approximation

inline Tensor operator-(const Tensor& x) { return neg(x); }
inline Tensor operator+(const Tensor& a, const Tensor& b) { return add(a, b); }
inline Tensor operator-(const Tensor& a, const Tensor& b) { return sub(a, b); }
inline Tensor operator*(const Tensor& a, const Tensor& b) { return mul(a, b); }
inline Tensor operator/(const Tensor& a, const Tensor& b) { return div(a, b); }
inline Tensor operator+(const Tensor& x, double value) { return add(x, value); }
inline Tensor operator+(double value, const Tensor& x) { return add(x, value); }
inline Tensor operator-(const Tensor& x, double value) { return add(x, -value); }
inline Tensor operator-(double value, const Tensor& x) { return add(neg(x), value); }
inline Tensor operator*(const Tensor& x, double value) { return mul(x, value); }
inline Tensor operator*(double value, const Tensor& x) { return mul(x, value); }
inline Tensor operator/(const Tensor& x, double value) { return div(x, value); }
inline Tensor operator/(double value, const Tensor& x) { return mul(reciprocal(x), value); }

// To bool, without gradient.
Tensor eq(const Tensor& a, const Tensor& b);  ///< a = b
Tensor ne(const Tensor& a, const Tensor& b);  ///< a ≠ b
Tensor lt(const Tensor& a, const Tensor& b);  ///< a < b
Tensor le(const Tensor& a, const Tensor& b);  ///< a ≤ b
Tensor gt(const Tensor& a, const Tensor& b);  ///< a > b
Tensor ge(const Tensor& a, const Tensor& b);  ///< a ≥ b
// A number may lie between the values of a's dtype, or beyond: the answer is right all the same.
Tensor eq(const Tensor& a, double b);
Tensor ne(const Tensor& a, double b);
Tensor lt(const Tensor& a, double b);
Tensor le(const Tensor& a, double b);
Tensor gt(const Tensor& a, double b);
Tensor ge(const Tensor& a, double b);
Tensor logical_and(const Tensor& a, const Tensor& b);
Tensor logical_or(const Tensor& a, const Tensor& b);
Tensor logical_not(const Tensor& x);
Tensor isfinite(const Tensor& x);  ///< neither infinite nor NaN
Tensor isnan(const Tensor& x);

/// condition ? a : b, elementwise; condition is bool; all three broadcast.
Tensor where(const Tensor& condition, const Tensor& a, const Tensor& b);
/// x with `value` where the (broadcast) mask is true.
Tensor masked_fill(const Tensor& x, const Tensor& mask, double value);

/// The dtype two operands promote to.
DType promote(const Tensor& a, const Tensor& b);
DType promote(const Tensor& x, double value);
/// x, or as f32 where it is no floating-point tensor.
Tensor as_floating(const Tensor& x);
/// x as another dtype; x itself where it has it already. The gradient is cast back.
Tensor cast(const Tensor& x, DType dtype);

// In place: no history of their own, and an error where backward needs the old values. x may be a
// view of the same memory. A call that throws has changed nothing. Throw GradError on a leaf that
// requires its gradient, unless under no_grad(), and DTypeError where an integer tensor would have
// to take fractions (copy_ cuts them off).
void add_(Tensor& target, const Tensor& x, double scale = 1.0);  ///< target += scale · x
void mul_(Tensor& target, double value);                         ///< target *= value
void copy_(Tensor& target, const Tensor& x);                     ///< target = x, converted
void zero_(Tensor& target);                                      ///< target = 0

}  // namespace scangrad
