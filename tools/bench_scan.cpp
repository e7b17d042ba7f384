// scangrad bench scan: matmul_scan beside the least time in which its bytes can be moved, and its
// error against float64.
#include <scangrad/autograd/engine.h>
#include <scangrad/core/error.h>
#include <scangrad/ops/creation.h>
#include <scangrad/ops/elementwise.h>
#include <scangrad/ops/random.h>
#include <scangrad/ops/reduce.h>
#include <scangrad/ops/scan.h>
#include <scangrad/ops/shape.h>
#include <scangrad/tools/bench.h>
#include <scangrad/tools/stopwatch.h>

#include <fmt/format.h>

#include <charconv>

namespace scangrad::tools {
namespace {

struct ScanShape {
  std::int64_t sequences, length, order;
};

/// `S,T,d`.
ScanShape parse_shape(const std::string& text) {
  std::int64_t parts[3] = {};
  const char* at = text.data();
  const char* end = text.data() + text.size();
  bool ok = true;
  for (int i = 0; ok && i < 3; ++i) {
    const auto [rest, error] = std::from_chars(at, end, parts[i]);
    ok =
        error == std::errc{} && parts[i] > 0 && (i == 2 ? rest == end : rest < end && *rest == ',');
    at = rest + 1;
  }
  if (!ok) {
    throw ValueError(
        fmt::format("bench scan: '{}' is not a shape; give SEQUENCES,LENGTH,ORDER", text));
  }
  return {parts[0], parts[1], parts[2]};
}

/// Near the identity, so that products neither grow nor vanish.
Tensor scan_input(const ScanShape& s, const TensorOptions& options) {
  Generator generator(1);
  const Tensor noise =
      randn({s.sequences, s.length, s.order, s.order}, {DType::f32, options.device}, &generator);
  const double scale =
      0.3 / static_cast<double>(s.order) / std::sqrt(static_cast<double>(s.length));
  return cast(noise * scale + eye(s.order, {DType::f32, options.device}), options.dtype);
}

double relative_error(const Tensor& x, const Tensor& reference) {
  const Tensor difference = cast(x, DType::f64) - reference;
  return std::sqrt((sum(square(difference)) / sum(square(reference))).item<double>());
}

void bench_one(const BenchOptions& options, const ScanShape& s, double rate) {
  const TensorOptions like = options.tensor_options();
  const Tensor m = scan_input(s, like);
  const Tensor g = scan_input(s, like);
  const double bytes = static_cast<double>(m.numel()) * static_cast<double>(size_of(like.dtype));
  const ScanOptions scan{.dim = 1};

  const double forward =
      median_milliseconds(like.device, options.budget, [&](int) { matmul_scan(m, scan); });
  Tensor leaf = m.detach().requires_grad_();
  const double both = median_milliseconds(like.device, options.budget, [&](int) {
    grad({matmul_scan(leaf, scan).states}, {leaf}, {.grad_outputs = {g}});
  });
  const double scaled_forward =
      median_milliseconds(like.device, options.budget, [&](int) { matmul_scan_scaled(m, scan); });
  const double scaled_both = median_milliseconds(like.device, options.budget, [&](int) {
    grad({matmul_scan_scaled(leaf, scan).states}, {leaf}, {.grad_outputs = {g}});
  });
  // Forward reads M and writes H; backward reads M, H and G and writes dM.
  const double floor_forward = 2 * bytes / rate * 1e3, floor_both = 6 * bytes / rate * 1e3;
  Row row = {{"op", "matmul_scan"},
             {"device", options.device},
             {"dtype", options.dtype},
             {"shape", {s.sequences, s.length, s.order}},
             {"megabytes", bytes * 1e-6},
             {"copy_gb_per_second", rate * 1e-9},
             {"forward_ms", forward},
             {"forward_ratio_to_floor", forward / floor_forward},
             {"both_ms", both},
             {"both_ratio_to_floor", both / floor_both},
             {"scaled_forward_ratio", scaled_forward / forward},
             {"scaled_both_ratio", scaled_both / both}};
  // float64 of one sequence is reference enough: all are computed alike.
  const Tensor one = slice(m, 0, 0, 1);
  const auto reference =
      matmul_scan(cast(one, DType::f64), {.dim = 1, .algorithm = ScanAlgorithm::sequential});
  row["error"] = relative_error(matmul_scan(one, scan).states, reference.states);
  print_row(row, options.json);
}

}  // namespace

void add_bench_scan(CLI::App& bench) {
  struct Arguments {
    BenchOptions options;
    std::vector<std::string> shapes = {"384,256,8", "64,256,8",  "384,256,16",
                                       "8,4096,16", "1,65536,8", "16,1024,32"};
  };
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command = bench.add_subcommand("scan", "The matrix scan, as ratios to the copy rate");
  arguments->options.add_to(*command);
  command->add_option("--shape", arguments->shapes, "SEQUENCES,LENGTH,ORDER (may be repeated)")
      ->delimiter(' ')
      ->capture_default_str();
  command->callback([arguments] {
    std::vector<ScanShape> shapes;
    for (const std::string& text : arguments->shapes) shapes.push_back(parse_shape(text));
    const double rate = copy_rate(arguments->options);
    for (const ScanShape& shape : shapes) bench_one(arguments->options, shape, rate);
  });
}

}  // namespace scangrad::tools
