#include <scangrad/ops/loss.h>
#include <scangrad/tests/ops/op_case.h>

#include <cmath>

namespace sg = scangrad;
using reference::Array;
using reference::Arrays;
using sg::Reduction;
using sg::Tensors;

namespace {

/// Σ_c q_c (log Σ exp x − x_c) of each row that is not ignored, reduced.
reference::Function cross_entropy_reference(const sg::CrossEntropyOptions& options) {
  return [options](const Arrays& in) {
    const std::int64_t rows = in[0].shape[0], n = in[0].shape[1];
    Array losses({rows});
    double total = 0, counted = 0;
    for (std::int64_t r = 0; r < rows; ++r) {
      const auto target = static_cast<std::int64_t>(in[1][r]);
      if (target == options.ignore_index) continue;
      double exponentials = 0;
      for (std::int64_t c = 0; c < n; ++c) exponentials += std::exp(in[0][r * n + c]);
      for (std::int64_t c = 0; c < n; ++c) {
        const double q = (c == target ? 1 - options.label_smoothing : 0) +
                         options.label_smoothing / static_cast<double>(n);
        losses[r] += q * (std::log(exponentials) - in[0][r * n + c]);
      }
      total += losses[r];
      counted += 1;
    }
    if (options.reduction == Reduction::none) return Arrays{losses};
    return Arrays{Array({}, options.reduction == Reduction::sum ? total : total / counted)};
  };
}

}  // namespace

std::vector<OpCase> loss_cases() {
  std::vector<Operands> calls;
  for (const auto& [n, classes] : std::vector<std::pair<std::int64_t, std::int64_t>>{
           {1, 1}, {0, 3}, {4, 3}, {5, 2}, {3, 7}, {400, 65}}) {
    calls.push_back({values({n, classes}), indices({n}, classes)});
  }
  // f32 for bf16 too: a loss is a sum over many rows.
  const auto result = [](sg::DType dtype) { return dtype == sg::bf16 ? sg::f32 : dtype; };
  std::vector<OpCase> rows;
  const auto row = [&](const char* name, const sg::CrossEntropyOptions& options) {
    rows.push_back(
        {.name = name,
         .op = [options](
                   const Tensors& in) { return Tensors{sg::cross_entropy(in[0], in[1], options)}; },
         .reference = cross_entropy_reference(options),
         .inputs = calls,
         .covers = {"cross_entropy_backward"},
         .result_dtype = result});
  };
  row("cross_entropy.mean", {});
  row("cross_entropy.sum", {.reduction = Reduction::sum});
  row("cross_entropy.none", {.reduction = Reduction::none});
  row("cross_entropy.smoothing", {.label_smoothing = 0.2});
  row("cross_entropy.ignore_and_smoothing", {.ignore_index = 1, .label_smoothing = 0.1});
  return rows;
}
