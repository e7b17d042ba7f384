#pragma once
#include <scangrad/core/tensor.h>

#include <cstdint>
#include <functional>

namespace scangrad {

/// A function of tensors whose derivatives are checked. It must give the same result each time.
using TensorFunction = std::function<Tensors(const Tensors&)>;

/// The order of members is frozen.
struct GradcheckOptions {
  double step = 1e-5;  ///< h in (f(x + h) − f(x − h)) / 2h, times max(1, |x|)
  double rtol = 1e-6;  ///< relative to the larger of the two derivatives
  double atol = 1e-7;  ///< what rounding leaves of a derivative that is 0
  int directions = 0;  ///< 0: the full Jacobian; else so many random directions, for large inputs
  std::uint64_t seed = 0;  ///< of the random directions and output gradients
};

/// Compares the gradients of f with central differences: every output element by every element of
/// each input that requires its gradient (these must be f64; other inputs are constants), or, with
/// `directions`, vᵀ J u for random u and v. Strides of the inputs are kept. Also asks for each
/// input's gradient alone, which must not change it. An output that has no gradient must be
/// constant. Throws GradError that names the input, index, output and both derivatives.
void gradcheck(const TensorFunction& f, const Tensors& inputs,
               const GradcheckOptions& options = {});

/// The same of f's gradients, by the inputs and by random gradients of the outputs: checks the
/// second derivatives that `create_graph` gives.
void gradgradcheck(const TensorFunction& f, const Tensors& inputs,
                   const GradcheckOptions& options = {});

}  // namespace scangrad
