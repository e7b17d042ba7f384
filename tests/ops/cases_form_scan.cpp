// Rows for scans whose matrices a form makes of elements (ops/matrix_form.h). The reference is the
// scan of those matrices, step by step.
#include <scangrad/ops/matrix_form.h>
#include <scangrad/tests/ops/scan_rows.h>

#include <algorithm>
#include <cmath>

namespace sg = scangrad;
using reference::Array;
using reference::Arrays;

namespace {

/// What makes matrices near enough the identity for products of 13 to stay of order 1.
std::vector<Operands> element_calls() {
  std::vector<Operands> calls;
  for (const sg::Shape& shape : std::vector<sg::Shape>{{1, 1, 1, 1},
                                                       {0, 3, 2, 2},
                                                       {2, 4, 1, 1},
                                                       {2, 3, 3, 3},
                                                       {1, 2, 2, 2, 2},
                                                       {13, 13, 2, 8, 8}}) {
    calls.push_back({values(shape, -0.2, 0.2)});
  }
  return calls;
}

/// ops/matrix_form.h, element by element.
Array matrices_of(const Array& x, sg::MatrixForm form) {
  const std::int64_t n = x.shape.back();
  Array made(x.shape);
  for (std::int64_t at = 0; at < x.shape.numel(); at += n * n) {
    double mean = 0;
    for (std::int64_t i = 0; i < n; ++i) mean += x[at + i * n + i] / static_cast<double>(n);
    const auto root = [&](std::int64_t i) { return std::sqrt(std::exp(x[at + i * n + i] - mean)); };
    for (std::int64_t r = 0; r < n; ++r) {
      for (std::int64_t c = 0; c < n; ++c) {
        double& m = made[at + r * n + c];
        if (form == sg::MatrixForm::identity) {
          m = x[at + r * n + c] + (r == c);
          continue;
        }
        m = 0;
        for (std::int64_t k = 0; k <= std::min(r, c); ++k) {
          m += (k == r ? root(k) : x[at + r * n + k]) * (k == c ? root(k) : x[at + k * n + c]);
        }
      }
    }
  }
  return made;
}

}  // namespace

std::vector<OpCase> form_scan_cases() {
  std::vector<OpCase> rows;
  for (const sg::MatrixForm form : {sg::MatrixForm::identity, sg::MatrixForm::ldu}) {
    Scan formed{"form_scan",
                [form](const sg::Tensors& in, const sg::ScanOptions& options) {
                  return sg::form_scan(in[0], form, options);
                },
                of_actions(2, 1, unit),
                element_calls(),
                {"form_scan_backward"},
                sums_of_scans()};
    formed.tolerance.stores_intermediates = true;  // where the matrices are a tensor of the dtype
    const std::size_t first_formed = rows.size();
    add_rows(rows, formed);
    for (std::size_t i = first_formed; i < rows.size(); ++i) {
      rows[i].name += form == sg::MatrixForm::ldu ? ".ldu" : ".identity";
      rows[i].reference = [plain = rows[i].reference, form](const Arrays& in) {
        Arrays made = in;
        made[0] = matrices_of(in[0], form);
        return plain(made);
      };
    }
    rows.push_back(
        {.name = form == sg::MatrixForm::ldu ? "form_matrices.ldu" : "form_matrices.identity",
         .op =
             [form](const sg::Tensors& in) { return sg::Tensors{sg::form_matrices(in[0], form)}; },
         .reference = [form](const Arrays& in) { return Arrays{matrices_of(in[0], form)}; },
         .inputs = {{values({1, 1}, -1, 1)},
                    {values({3, 4, 4}, -1, 1)},
                    {values({2, 0, 2, 2}, -1, 1)},
                    {values({5, 3, 3}, -1, 1)},
                    {values({320, 8, 8}, -1, 1)}},
         .tolerance = formed.tolerance});
  }
  return rows;
}
