#include <scangrad/autograd/engine.h>
#include <scangrad/autograd/gradcheck.h>
#include <scangrad/core/backend.h>
#include <scangrad/core/error.h>
#include <scangrad/core/parallel.h>
#include <scangrad/core/random.h>
#include <scangrad/tests/ops/op_checks.h>
#include <scangrad/tests/support/devices.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <sstream>

namespace sg = scangrad;

namespace {

constexpr std::int64_t large = 2000;  // elements: from here on random directions, fewer layouts

enum class Layout { contiguous, transposed, stepped, expanded };
constexpr Layout dense_layouts[] = {Layout::contiguous, Layout::transposed, Layout::stepped};
constexpr Layout all_layouts[] = {Layout::contiguous, Layout::transposed, Layout::stepped,
                                  Layout::expanded};

const char* name_of(Layout layout) {
  constexpr const char* names[] = {"contiguous", "transposed", "stepped", "expanded"};
  return names[static_cast<int>(layout)];
}

/// Throws what the parts spell.
template <class... Parts>
[[noreturn]] void fail_check(const Parts&... parts) {
  std::ostringstream text;
  text.precision(17);
  (text << ... << parts);
  throw CheckFailure(text.str());
}

template <class... Parts>
void require(bool ok, const Parts&... parts) {
  if (!ok) fail_check(parts...);
}

std::string describe(const sg::Tensors& inputs) {
  std::string text;
  for (const sg::Tensor& x : inputs) {
    text += (text.empty() ? "" : ", ") + std::string(sg::name(x.dtype())) + to_string(x.shape());
  }
  return "(" + text + ")";
}

/// x's values in memory laid out otherwise; `expanded` repeats the first slice of each dimension.
sg::Tensor laid_out(const sg::Tensor& x, Layout layout) {
  if (x.rank() == 0 || layout == Layout::contiguous || x.numel() == 0) return x;
  const int rank = x.rank();
  if (layout == Layout::expanded) {
    return x.as_strided(x.shape(), sg::Strides::filled(rank, 0), x.offset());
  }
  sg::Tensor out;
  if (layout == Layout::transposed) {  // row-major in memory with the dimensions reversed
    sg::Shape reversed;
    for (int dim = rank - 1; dim >= 0; --dim) reversed.push_back(x.shape()[dim]);
    const sg::Strides strides = sg::contiguous_strides(reversed);
    sg::Strides back;
    for (int dim = rank - 1; dim >= 0; --dim) back.push_back(strides[dim]);
    out = sg::empty(reversed, x.options()).as_strided(x.shape(), back, 0);
  } else {
    sg::Shape wide = x.shape();
    wide[rank - 1] = 2 * wide[rank - 1] + 1;
    out = sg::full(wide, 77, x.options()).as_strided(x.shape(), sg::contiguous_strides(wide), 1);
    sg::Strides strides = sg::contiguous_strides(wide);
    strides[rank - 1] = 2;
    out = out.as_strided(x.shape(), strides, 1);
  }
  sg::raw_copy(out, x);
  return out.requires_grad_(x.requires_grad());
}

/// The operands of one call with the values operands in `dtype`, laid out, on `device`.
sg::Tensors inputs_of(const Operands& operands, sg::DType dtype, Layout layout,
                      sg::Device device = {}) {
  sg::Tensors inputs = make(operands);
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    sg::Tensor& x = inputs[i];
    const bool given = operands[i].kind > Operand::Kind::distinct;
    const bool wants_grad = x.requires_grad() && sg::is_floating(dtype);
    sg::Tensor moved = sg::empty(x.shape(), {given ? x.dtype() : dtype, device});
    sg::raw_copy(moved, x);
    moved = laid_out(moved, layout);
    x = moved.requires_grad_(wants_grad);
  }
  return inputs;
}

std::int64_t elements(const sg::Tensors& inputs) {
  std::int64_t n = 0;
  for (const sg::Tensor& x : inputs) n += x.numel();
  return n;
}

reference::Array array_of(const sg::Tensor& x) {
  reference::Array array(x.shape());
  array.values = x.to_vector<double>();
  return array;
}

double epsilon(sg::DType dtype) {
  return dtype == sg::f64 ? 0x1p-52 : dtype == sg::f32 ? 0x1p-23 : dtype == sg::bf16 ? 0x1p-7 : 0;
}

struct Bounds {
  double rtol, atol;
};

Bounds bounds(const Tolerance& tolerance, sg::DType dtype, const sg::Tensors& inputs) {
  // What torch.testing.assert_close takes by default; whole numbers must be exact.
  Bounds b = dtype == sg::f64    ? Bounds{1e-7, 1e-7}
             : dtype == sg::f32  ? Bounds{1.3e-6, 1e-5}
             : dtype == sg::bf16 ? Bounds{1.6e-2, 1e-5}
                                 : Bounds{0, 0};
  if (tolerance.terms && sg::is_floating(dtype)) {
    const double eps =
        dtype == sg::bf16 && !tolerance.stores_intermediates ? epsilon(sg::f32) : epsilon(dtype);
    const double rounding = std::sqrt(tolerance.terms(inputs)) * eps;
    b.atol += 4 * rounding * tolerance.size;
    b.rtol = std::max(b.rtol, rounding);
  }
  return b;
}

bool close(double value, double expected, Bounds b) {
  if (std::isnan(expected) || std::isnan(value)) return std::isnan(expected) && std::isnan(value);
  if (value == expected) return true;  // infinities too
  return std::abs(value - expected) <= b.atol + b.rtol * std::abs(expected);
}

/// The dtypes that a call is made in: all; but under compute-sanitizer a small call is made in one,
/// another one each `turn`.
std::vector<sg::DType> dtypes_of(const OpCase& row, bool is_large, std::size_t turn) {
  if (is_large || !compute_sanitizer()) return row.dtypes;
  return {row.dtypes[turn % row.dtypes.size()]};
}

int compare_values(const OpCase& row, const Operands& operands, sg::DType dtype, Layout layout,
                   sg::Device device) {
  const sg::Tensors inputs = inputs_of(operands, dtype, layout, device);
  const std::string where =
      describe(inputs) + " " + name_of(layout) + " on " + to_string(device) + ": ";
  reference::Arrays arrays;
  for (const sg::Tensor& x : inputs) arrays.push_back(array_of(x));
  const reference::Arrays expected = row.reference(arrays);
  const sg::Tensors outputs = row.op(inputs);
  require(outputs.size() == expected.size(), where, outputs.size(), " outputs, the reference has ",
          expected.size());
  const sg::DType result = row.result_dtype ? row.result_dtype(dtype) : dtype;
  require(outputs[0].dtype() == result, where, "dtype ", sg::name(outputs[0].dtype()), ", not ",
          sg::name(result));
  int compared = 0;
  for (std::size_t k = 0; k < outputs.size(); ++k) {
    require(outputs[k].shape() == expected[k].shape, where, "output ", k, " has shape ",
            to_string(outputs[k].shape()), ", not ", to_string(expected[k].shape));
    const Bounds b = bounds(row.tolerance, outputs[k].dtype(), inputs);
    const std::vector<double> got = outputs[k].to_vector<double>();
    for (std::size_t i = 0; i < got.size(); ++i) {
      require(close(got[i], expected[k].values[i], b), where, "output ", k, ", element ", i, " is ",
              got[i], ", not ", expected[k].values[i]);
      ++compared;
    }
  }
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    const std::vector<double> now = inputs[i].to_vector<double>();
    require(std::equal(now.begin(), now.end(), arrays[i].values.begin(),
                       [](double a, double b) { return a == b || std::isnan(a); }),
            where, "input ", i, " was changed");
  }
  return std::max(compared, 1);  // the shape, at least
}

/// Outputs that have gradients.
sg::Tensors differentiable(const sg::Tensors& outputs) {
  sg::Tensors result;
  for (const sg::Tensor& y : outputs) {
    if (y.requires_grad()) result.push_back(y);
  }
  return result;
}

/// The gradients of Σ wᵢ yᵢ, w random in [-1, 1) and rounded to bf16 (exact in every dtype).
sg::Tensors weighted_gradients(const sg::Tensors& outputs, const sg::Tensors& inputs,
                               double* weight_norm = nullptr) {
  sg::Tensors weights, wanted;
  for (const sg::Tensor& y : outputs) {
    const sg::Tensor w = make(values(y.shape(), -1, 1), 100 + weights.size());
    const sg::Tensor rounded = sg::empty(y.shape(), {sg::bf16});
    const sg::Tensor typed = sg::empty(y.shape(), y.options());
    sg::raw_copy(rounded, w);
    sg::raw_copy(typed, rounded);
    for (double v : rounded.to_vector<double>()) {
      if (weight_norm) *weight_norm += v * v;
    }
    weights.push_back(typed);
  }
  for (const sg::Tensor& x : inputs) {
    if (x.requires_grad()) wanted.push_back(x);
  }
  return sg::grad(outputs, wanted, {.grad_outputs = weights, .allow_unused = true});
}

/// Normwise |g − g64| / (|g64| + |w|): each gradient is Jᵀ w, with J of order 1 in every row.
int compare_gradients(const OpCase& row, const Operands& operands, sg::DType dtype,
                      sg::Device device) {
  // The same point in f64 on the CPU: the values that the lower dtype rounds to.
  const sg::Tensors low = inputs_of(operands, dtype, Layout::contiguous, device);
  sg::Tensors high;
  for (const sg::Tensor& x : low) {
    sg::Tensor copy = sg::empty(x.shape(), {x.dtype() == dtype ? sg::f64 : x.dtype()});
    sg::raw_copy(copy, x);
    high.push_back(copy.requires_grad_(x.requires_grad()));
  }
  double weights = 0;
  const sg::Tensors expected = weighted_gradients(differentiable(row.op(high)), high, &weights);
  const sg::Tensors got = weighted_gradients(differentiable(row.op(low)), low);
  const double tolerance = dtype == sg::f64 ? 1e-12 : dtype == sg::f32 ? 1e-5 : 2e-2;
  for (std::size_t i = 0; i < got.size(); ++i) {
    const std::string where = describe(low) + " on " + to_string(device) + ": gradient ";
    require(got[i].defined() == expected[i].defined(), where, i, " exists in one dtype only");
    if (!got[i].defined()) continue;
    const std::vector<double> a = got[i].to_vector<double>(), b = expected[i].to_vector<double>();
    double difference = 0, norm = 0;
    for (std::size_t e = 0; e < a.size(); ++e) {
      difference += (a[e] - b[e]) * (a[e] - b[e]);
      norm += b[e] * b[e];
    }
    const double bound = tolerance * (std::sqrt(norm) + std::sqrt(weights));
    require(std::sqrt(difference) <= bound, where, i, " is ", std::sqrt(difference),
            " from that in f64, of norm ", std::sqrt(norm));
  }
  return 1;
}

/// Outputs, then gradients.
std::vector<std::vector<double>> everything(const OpCase& row, const Operands& operands,
                                            sg::DType dtype, int threads) {
  sg::set_num_threads(threads);
  const sg::Tensors inputs = inputs_of(operands, dtype, Layout::contiguous);
  const sg::Tensors outputs = row.op(inputs);
  std::vector<std::vector<double>> all;
  for (const sg::Tensor& y : outputs) all.push_back(y.to_vector<double>());
  if (row.differentiable && sg::is_floating(dtype)) {
    for (const sg::Tensor& g : weighted_gradients(differentiable(outputs), inputs)) {
      all.push_back(g.defined() ? g.to_vector<double>() : std::vector<double>{});
    }
  }
  return all;
}

bool same_bits(const std::vector<double>& a, const std::vector<double>& b) {
  return a.size() == b.size() &&
         (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(double)) == 0);
}

/// gradcheck or gradgradcheck on every call.
template <class Check>
int check_derivatives(const OpCase& row, const Check& check) {
  int checked = 0;
  for (const Operands& operands : row.inputs) {
    for (Layout layout : dense_layouts) {
      const sg::Tensors inputs = inputs_of(operands, sg::f64, layout);
      const bool is_large = elements(inputs) > large;
      if (is_large && layout != Layout::contiguous) continue;
      try {
        check(row.op, inputs, sg::GradcheckOptions{.directions = is_large ? 2 : 0});
      } catch (const sg::Error& e) {
        fail_check(describe(inputs), " ", name_of(layout), ": ", e.what());
      }
      ++checked;
    }
  }
  return checked;
}

}  // namespace

int check_inputs(const OpCase& row) {
  bool empty = false, single = false, many = false;
  for (const Operands& operands : row.inputs) {
    for (const Operand& operand : operands) {
      empty |= operand.shape.numel() == 0;
      single |= operand.shape.numel() == 1;
      many |= operand.shape.numel() >= 20000;
    }
  }
  require(row.inputs.size() >= 5, "has ", row.inputs.size(), " calls; five at least");
  if (row.refuses_empty) {
    bool refused = false;
    try {
      row.op({sg::zeros({0}, {sg::f64})});
    } catch (const sg::ValueError&) {
      refused = true;
    }
    require(refused && !empty, "took an empty operand");
  } else {
    require(empty, "has no call with an empty operand");
  }
  require(single, "has no call with an operand of one element");
  require(many, "has no call with 20,000 elements or more");
  return static_cast<int>(row.inputs.size());
}

int check_values(const OpCase& row) {
  int compared = 0;
  for (std::size_t call = 0; call < row.inputs.size(); ++call) {
    const Operands& operands = row.inputs[call];
    const bool is_large = elements(make(operands)) > large;
    for (sg::Device device : devices()) {
      std::size_t turn = call;  // over the calls a layout meets one dtype after another
      for (Layout layout : all_layouts) {
        for (sg::DType dtype : dtypes_of(row, is_large, turn++)) {
          if (is_large && layout == Layout::stepped) continue;
          if (is_large && layout != Layout::contiguous && dtype != sg::f32) continue;
          compared += compare_values(row, operands, dtype, layout, device);
        }
      }
    }
  }
  return compared;
}

int check_gradients(const OpCase& row) { return check_derivatives(row, sg::gradcheck); }

int check_second_derivatives(const OpCase& row) {
  return check_derivatives(row, sg::gradgradcheck);
}

int check_gradient_dtypes(const OpCase& row) {
  int compared = 0;
  for (sg::Device device : devices()) {
    for (std::size_t call = 0; call < row.inputs.size(); ++call) {
      const Operands& operands = row.inputs[call];
      const bool is_large = elements(make(operands)) > large;
      for (sg::DType dtype : dtypes_of(row, is_large, call)) {
        if (!sg::is_floating(dtype) || (device.is_cpu() && dtype == sg::f64)) continue;
        compared += compare_gradients(row, operands, dtype, device);
      }
    }
  }
  return compared;
}

/// Whether they differ by no more than another order of the sums makes.
bool same_but_for_rounding(const std::vector<double>& a, const std::vector<double>& b,
                           sg::DType dtype) {
  if (a.size() != b.size()) return false;
  double difference = 0, norm = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    difference += (a[i] - b[i]) * (a[i] - b[i]);
    norm += a[i] * a[i];
  }
  const double ulps = dtype == sg::bf16 ? 1 : 4;
  return std::sqrt(difference) <= ulps * epsilon(dtype) * std::sqrt(norm);
}

int check_threads(const OpCase& row) {
  const int before = sg::num_threads();
  int compared = 0;
  for (const Operands& operands : row.inputs) {
    for (sg::DType dtype : row.dtypes) {
      const auto one = everything(row, operands, dtype, 1);
      const auto two = everything(row, operands, dtype, 2);
      const auto again = row.shared_by_blas ? everything(row, operands, dtype, 2) : two;
      sg::set_num_threads(before);
      for (std::size_t i = 0; i < one.size(); ++i) {
        const bool same = row.shared_by_blas && sg::is_floating(dtype)
                              ? same_but_for_rounding(one[i], two[i], dtype)
                              : same_bits(one[i], two[i]);
        require(same, describe(make(operands)), " in ", sg::name(dtype), ": result ", i,
                " with two threads is not that with one");
        require(same_bits(two[i], again[i]), describe(make(operands)), " in ", sg::name(dtype),
                ": result ", i, " with two threads is not the same each time");
      }
      ++compared;
    }
  }
  return compared;
}
