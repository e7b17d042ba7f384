#include <scangrad/ops/norm.h>
#include <scangrad/tests/ops/op_case.h>

#include <cmath>

namespace sg = scangrad;
using reference::Array;
using reference::Arrays;
using sg::Shape;
using sg::Tensor;
using sg::Tensors;

namespace {

// Rows of one value (the expanded layout) have nothing but rounding to normalise, which 1/√eps
// amplifies: a large eps keeps that small. The default eps is in the golden cases.
constexpr double eps = 0.1;

/// (x − m) / √(mean((x − m)²) + eps) · weight + bias, m the mean or, for rms_norm, 0.
reference::Function norm_reference(bool centred) {
  return [centred](const Arrays& in) {
    const Array& x = in[0];
    const std::int64_t n = x.shape.back();
    Array y(x.shape);
    for (std::int64_t r = 0; r < (n > 0 ? x.numel() / n : 0); ++r) {
      double m = 0, variance = 0;
      for (std::int64_t j = 0; j < n; ++j) m += x[r * n + j] / double(n);
      if (!centred) m = 0;
      for (std::int64_t j = 0; j < n; ++j) variance += std::pow(x[r * n + j] - m, 2) / double(n);
      for (std::int64_t j = 0; j < n; ++j) {
        y[r * n + j] = (x[r * n + j] - m) / std::sqrt(variance + eps);
        if (in.size() > 1) y[r * n + j] *= in[1][j];
        if (in.size() > 2) y[r * n + j] += in[2][j];
      }
    }
    return Arrays{y};
  };
}

/// x of several ranks and so many parameters.
std::vector<Operands> calls(int parameters) {
  std::vector<Operands> result;
  for (const Shape& shape :
       std::vector<Shape>{{1}, {5}, {1, 1}, {0, 3}, {2, 0}, {3, 4}, {2, 3, 5}, {300, 70}}) {
    Operands operands{values(shape)};
    for (int i = 0; i < parameters; ++i) operands.push_back(values({shape.back()}));
    result.push_back(operands);
  }
  return result;
}

}  // namespace

std::vector<OpCase> norm_cases() {
  const auto argument = [](const Tensors& in, std::size_t i) {
    return i < in.size() ? in[i] : Tensor{};
  };
  // One rounding of the mean of values up to 2, times 1/√eps and weights up to 2.
  const Tolerance amplified{[](const Tensors&) { return 1.0; }, 2 * 2 / std::sqrt(eps)};
  std::vector<OpCase> rows;
  const char* const suffixes[] = {".plain", ".weight", ".weight_bias"};
  for (int parameters = 0; parameters < 3; ++parameters) {
    rows.push_back({.name = std::string("layer_norm") + suffixes[parameters],
                    .op =
                        [=](const Tensors& in) {
                          return Tensors{
                              sg::layer_norm(in[0], argument(in, 1), argument(in, 2), eps)};
                        },
                    .reference = norm_reference(true),
                    .inputs = calls(parameters),
                    .covers = {"layer_norm_backward"},
                    .tolerance = amplified});
  }
  for (int parameters = 0; parameters < 2; ++parameters) {
    rows.push_back(
        {.name = std::string("rms_norm") + suffixes[parameters],
         .op =
             [=](const Tensors& in) { return Tensors{sg::rms_norm(in[0], argument(in, 1), eps)}; },
         .reference = norm_reference(false),
         .inputs = calls(parameters),
         .covers = {"rms_norm_backward"}});
  }
  return rows;
}
