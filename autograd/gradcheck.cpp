#include <scangrad/autograd/engine.h>
#include <scangrad/autograd/grad_mode.h>
#include <scangrad/autograd/gradcheck.h>
#include <scangrad/core/backend.h>
#include <scangrad/core/format.h>
#include <scangrad/core/random.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

namespace scangrad {
namespace {

using Values = std::vector<double>;

/// The same values and, unless elements share memory, the same strides, in memory of its own: the
/// check changes elements one by one.
Tensor private_copy(const Tensor& x) {
  bool overlaps = false;
  for (int i = 0; i < x.rank(); ++i) overlaps |= x.strides()[i] == 0 && x.shape()[i] > 1;
  Tensor copy = empty_like(x);
  if (!overlaps && !x.is_contiguous()) {
    const auto count = static_cast<std::int64_t>(x.storage()->bytes() / size_of(x.dtype()));
    copy = zeros({count}, x.options()).as_strided(x.shape(), x.strides(), x.offset());
  }
  raw_copy(copy, x);
  return copy.requires_grad_(x.requires_grad());
}

/// Row-major element i of x, as a 0-d view of its memory.
Tensor element(const Tensor& x, std::int64_t i) {
  std::int64_t offset = x.offset();
  for (int dim = x.rank() - 1; dim >= 0; --dim) {
    offset += i % x.shape()[dim] * x.strides()[dim];
    i /= x.shape()[dim];
  }
  return x.as_strided({}, {}, offset);
}

/// Row-major position i as an index: `[1,2]`.
Shape index_of(std::int64_t i, const Shape& shape) {
  Shape index = shape;
  for (int dim = shape.rank() - 1; dim >= 0; --dim) {
    index[dim] = i % shape[dim];
    i /= shape[dim];
  }
  return index;
}

Values random_values(std::int64_t n, Generator& generator) {
  const PhiloxState state = generator.advance(n);
  Values values(static_cast<std::size_t>(n));
  for (std::int64_t i = 0; i < n; ++i) {
    values[static_cast<std::size_t>(i)] = 2.0 * philox_uniform(philox_word(state, i)) - 1.0;
  }
  return values;
}

double dot(const Values& a, const Values& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

/// f at its inputs: f64 outputs only, for the others (indices, masks) have no derivatives.
class Checked {
 public:
  Checked(const char* op, const TensorFunction& f, const Tensors& inputs,
          const GradcheckOptions& options)
      : op_(op), f_(f), options_(options), generator_(options.seed) {
    for (const Tensor& x : inputs) {
      const bool constant = !x.defined() || !x.requires_grad();
      check<DTypeError>(constant || x.dtype() == DType::f64,
                        "{}: input {} is {}; only f64 is precise enough for central differences",
                        op, inputs_.size(), constant ? DType::f64 : x.dtype());
      if (!constant) wanted_.push_back(inputs_.size());
      inputs_.push_back(constant ? x : private_copy(x));
    }
    check<ValueError>(!wanted_.empty(), "{}: no input requires its gradient", op);
  }

  void run() {
    outputs_ = evaluate();
    check_alone();
    if (options_.directions > 0) {
      for (int i = 0; i < options_.directions; ++i) check_direction();
    } else {
      for (std::size_t i = 0; i < wanted_.size(); ++i) check_jacobian(i);
    }
  }

 private:
  const Tensor& input(std::size_t i) const { return inputs_[wanted_[i]]; }

  Tensors evaluate() const {
    const auto guard = enable_grad();
    Tensors outputs;
    for (const Tensor& y : f_(inputs_)) {
      if (!y.defined() || !is_floating(y.dtype())) continue;
      check<DTypeError>(y.dtype() == DType::f64, "{}: the function's output {} is {}, not f64", op_,
                        outputs.size(), y.dtype());
      outputs.push_back(y);
    }
    check<ValueError>(!outputs.empty(), "{}: the function has no f64 output", op_);
    return outputs;
  }

  std::vector<Values> evaluate_values() const {
    std::vector<Values> values;
    for (const Tensor& y : evaluate()) values.push_back(y.to_vector<double>());
    return values;
  }

  /// Gradients, by the inputs `targets`, of the outputs weighted with `weights`; 0 where unused.
  std::vector<Values> gradients(const std::vector<Values>& weights, const Tensors& targets) const {
    Tensors outputs, grads;
    for (std::size_t k = 0; k < outputs_.size(); ++k) {
      if (!outputs_[k].requires_grad()) continue;
      outputs.push_back(outputs_[k]);
      grads.push_back(from<double>(weights[k], outputs_[k].shape(), outputs_[k].device()));
    }
    Tensors result(targets.size());
    if (!outputs.empty()) {
      result = grad(outputs, targets,
                    {.grad_outputs = grads, .retain_graph = true, .allow_unused = true});
    }
    std::vector<Values> values;
    for (std::size_t i = 0; i < targets.size(); ++i) {
      values.push_back(result[i].defined()
                           ? result[i].to_vector<double>()
                           : Values(static_cast<std::size_t>(targets[i].numel()), 0.0));
    }
    return values;
  }

  Tensors targets() const {
    Tensors all;
    for (std::size_t i = 0; i < wanted_.size(); ++i) all.push_back(input(i));
    return all;
  }

  std::vector<Values> random_weights() {
    std::vector<Values> weights;
    for (const Tensor& y : outputs_) weights.push_back(random_values(y.numel(), generator_));
    return weights;
  }

  bool close(double analytic, double numeric, double scale) const {
    if (std::isnan(analytic) || std::isnan(numeric)) return false;
    return std::abs(analytic - numeric) <= options_.atol + options_.rtol * scale;
  }

  /// Whatever gradients are asked for, each is the same (a backward that skips what is not needed
  /// may skip too much).
  void check_alone() {
    const std::vector<Values> weights = random_weights();
    const std::vector<Values> together = gradients(weights, targets());
    for (std::size_t i = 0; i < wanted_.size(); ++i) {
      const Values alone = gradients(weights, {input(i)})[0];
      for (std::size_t e = 0; e < alone.size(); ++e) {
        const bool both_nan = std::isnan(alone[e]) && std::isnan(together[i][e]);
        check<GradError>(both_nan || close(alone[e], together[i][e], std::abs(alone[e])),
                         "{}: the gradient of input {} at {} is {} alone, {} with the others'", op_,
                         wanted_[i], index_of(static_cast<std::int64_t>(e), input(i).shape()),
                         alone[e], together[i][e]);
      }
    }
  }

  void check_jacobian(std::size_t i) {
    const Tensor x = input(i);
    // numeric[e][k][j] = d output k, element j / d x, element e
    std::vector<std::vector<Values>> numeric;
    const Values values = x.to_vector<double>();
    for (std::int64_t e = 0; e < x.numel(); ++e) {
      const double value = values[static_cast<std::size_t>(e)];
      const double h = options_.step * std::max(1.0, std::abs(value));
      const auto at = [&](double shifted) {
        backend(x.device()).fill(element(x, e), shifted);
        return evaluate_values();
      };
      std::vector<Values> above = at(value + h);
      const std::vector<Values> below = at(value - h);
      backend(x.device()).fill(element(x, e), value);
      for (std::size_t k = 0; k < above.size(); ++k) {
        for (std::size_t j = 0; j < above[k].size(); ++j) {
          above[k][j] = (above[k][j] - below[k][j]) / (2 * h);
        }
      }
      numeric.push_back(std::move(above));
    }
    for (std::size_t k = 0; k < outputs_.size(); ++k) {
      for (std::int64_t j = 0; j < outputs_[k].numel(); ++j) {
        std::vector<Values> weights;
        for (const Tensor& y : outputs_) {
          weights.emplace_back(static_cast<std::size_t>(y.numel()), 0.0);
        }
        weights[k][static_cast<std::size_t>(j)] = 1;
        const Values analytic = gradients(weights, {x})[0];
        for (std::size_t e = 0; e < analytic.size(); ++e) {
          const double n = numeric[e][k][static_cast<std::size_t>(j)];
          check<GradError>(close(analytic[e], n, std::max(std::abs(analytic[e]), std::abs(n))),
                           "{}: d output {} at {} / d input {} at {}: analytic {}, numeric {}", op_,
                           k, index_of(j, outputs_[k].shape()), wanted_[i],
                           index_of(static_cast<std::int64_t>(e), x.shape()), analytic[e], n);
        }
      }
    }
  }

  /// vᵀ J u, u of length 1, from the gradients and from a step along u of all inputs at once. Its
  /// scale is ‖Jᵀ v‖, which bounds it: a sum of many terms may cancel.
  void check_direction() {
    const std::vector<Values> v = random_weights();
    const std::vector<Values> grads = gradients(v, targets());
    std::vector<Values> u, x;
    double length = 0, scale = 0, analytic = 0;
    for (std::size_t i = 0; i < wanted_.size(); ++i) {
      u.push_back(random_values(input(i).numel(), generator_));
      x.push_back(input(i).to_vector<double>());
      length += dot(u[i], u[i]);
      scale += dot(grads[i], grads[i]);
    }
    for (std::size_t i = 0; i < wanted_.size(); ++i) {
      for (double& value : u[i]) value /= std::sqrt(length);
      analytic += dot(grads[i], u[i]);
    }
    const auto along = [&](double h) {
      for (std::size_t i = 0; i < wanted_.size(); ++i) {
        Values shifted = x[i];
        for (std::size_t e = 0; e < shifted.size(); ++e) shifted[e] += h * u[i][e];
        raw_copy(input(i), from<double>(shifted, input(i).shape(), input(i).device()));
      }
      const std::vector<Values> outputs = evaluate_values();
      double sum = 0;
      for (std::size_t k = 0; k < outputs.size(); ++k) sum += dot(outputs[k], v[k]);
      return sum;
    };
    const double above = along(options_.step), below = along(-options_.step);
    along(0);
    const double numeric = (above - below) / (2 * options_.step);
    check<GradError>(close(analytic, numeric, std::sqrt(scale)),
                     "{}: along a random direction: analytic {}, numeric {} (gradient's norm {})",
                     op_, analytic, numeric, std::sqrt(scale));
  }

  const char* op_;
  const TensorFunction& f_;
  GradcheckOptions options_;
  Generator generator_;
  Tensors inputs_;
  std::vector<std::size_t> wanted_;  // which inputs' gradients are checked
  Tensors outputs_;
};

}  // namespace

void gradcheck(const TensorFunction& f, const Tensors& inputs, const GradcheckOptions& options) {
  Checked("gradcheck", f, inputs, options).run();
}

void gradgradcheck(const TensorFunction& f, const Tensors& inputs,
                   const GradcheckOptions& options) {
  const auto guard = enable_grad();
  const auto differentiable = [](const Tensors& outputs) {
    Tensors result;
    for (const Tensor& y : outputs) {
      if (y.defined() && y.requires_grad()) result.push_back(y);
    }
    return result;
  };
  // The arguments of f's gradients: its inputs, then the gradients of its outputs.
  Tensors arguments = inputs;
  Generator generator(options.seed + 1);
  for (const Tensor& y : differentiable(f(inputs))) {
    Tensor g = from<double>(random_values(y.numel(), generator), y.shape(), y.device());
    arguments.push_back(g.requires_grad_(true));
  }
  const std::size_t count = inputs.size();
  check<ValueError>(arguments.size() > count,
                    "gradgradcheck: no output depends on an input that requires its gradient");
  const auto gradients = [&f, &differentiable, count](const Tensors& all) {
    const auto middle = all.begin() + static_cast<std::ptrdiff_t>(count);
    Tensors wanted;
    for (auto x = all.begin(); x != middle; ++x) {
      if (x->defined() && x->requires_grad()) wanted.push_back(*x);
    }
    Tensors result = grad(
        differentiable(f(Tensors(all.begin(), middle))), wanted,
        {.grad_outputs = Tensors(middle, all.end()), .create_graph = true, .allow_unused = true});
    for (std::size_t i = 0; i < result.size(); ++i) {
      if (!result[i].defined()) result[i] = zeros_like(wanted[i]);
    }
    return result;
  };
  Checked("gradgradcheck", gradients, arguments, options).run();
}

}  // namespace scangrad
