// scangrad bench scan: matmul_scan beside the least time in which its bytes can be moved, and its
// error against float64; the scaled scan beside it, and the one that makes its matrices of
// elements.
#include <scangrad/autograd/engine.h>
#include <scangrad/core/error.h>
#include <scangrad/ops/creation.h>
#include <scangrad/ops/elementwise.h>
#include <scangrad/ops/matrix_form.h>
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

/// Many short sequences and few long ones, of the orders that models have.
std::vector<std::string> default_shapes(const BenchOptions& options) {
  if (options.tensor_options().device.is_cpu()) {
    return {"384,256,8", "64,256,8", "384,256,16", "8,4096,16", "1,65536,8", "16,1024,32"};
  }
  return {"384,256,8",  "384,256,16", "240,512,16", "1280,512,16",
          "64,4096,16", "8,16384,16", "8,65536,16", "64,1024,32"};
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

/// The normwise distance from the same computation by one thread's loop in float64.
struct Errors {
  double states, gradient;
};
Errors errors_of(const Tensor& m, const Tensor& g) {
  const auto states_and_gradient = [](const Tensor& x, const Tensor& gradient, ScanOptions scan) {
    const Tensor leaf = x.detach().requires_grad_();
    const Tensor states = matmul_scan(leaf, scan).states;
    return std::pair(states.detach(), grad({states}, {leaf}, {.grad_outputs = {gradient}}));
  };
  const auto exact = [](const Tensor& x) { return cast(to(x, Device::cpu()), DType::f64); };
  const auto [states, dm] = states_and_gradient(m, g, {.dim = 1});
  const auto [exact_states, exact_dm] =
      states_and_gradient(exact(m), exact(g), {.dim = 1, .algorithm = ScanAlgorithm::sequential});
  return {relative_error(to(states, Device::cpu()), exact_states),
          relative_error(to(dm, Device::cpu()), exact_dm)};
}

void bench_one(const BenchOptions& options, const ScanShape& s, double rate) {
  const TensorOptions like = options.tensor_options();
  const double bytes = static_cast<double>(s.sequences * s.length * s.order * s.order) *
                       static_cast<double>(size_of(like.dtype));
  // Calls take turns among tensors that together exceed any cache, and so do their results.
  const auto turns = static_cast<std::size_t>(std::clamp(3e8 / bytes, 1.0, 10.0));
  Tensors m, g;
  for (std::size_t i = 0; i < turns; ++i) {
    m.push_back(scan_input(s, like).requires_grad_());
    g.push_back(scan_input(s, like));
  }
  const ScanOptions scan{.dim = 1};
  const auto time = [&](const auto& call) {
    Tensors results(turns);
    return median_milliseconds(like.device, options.budget, [&](int i) {
      const std::size_t turn = static_cast<std::size_t>(i) % turns;
      results[turn] = {};
      results[turn] = call(turn);
    });
  };
  const auto forward_of = [&](const auto& f) {
    return time([&](std::size_t i) { return f(m[i].detach()).states; });
  };
  const auto both_of = [&](const auto& f) {
    return time(
        [&](std::size_t i) { return grad({f(m[i]).states}, {m[i]}, {.grad_outputs = {g[i]}}); });
  };
  const auto plain = [&](const Tensor& x) { return matmul_scan(x, scan); };
  const auto scaled = [&](const Tensor& x) { return matmul_scan_scaled(x, scan); };
  const auto ldu = [&](const Tensor& x) { return form_scan(x, MatrixForm::ldu, scan); };
  const double forward = forward_of(plain), both = both_of(plain);
  const double scaled_forward = forward_of(scaled), scaled_both = both_of(scaled);
  const double ldu_forward = forward_of(ldu), ldu_both = both_of(ldu);
  const Errors errors = errors_of(slice(m[0].detach(), 0, 0, 1), slice(g[0], 0, 0, 1));
  // Forward reads M and writes H; backward reads M, H and G and writes dM. The same goes for the
  // elements that M is made of.
  const double floor_forward = 2 * bytes / rate * 1e3, floor_both = 6 * bytes / rate * 1e3;
  print_row({{"op", "matmul_scan"},
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
             {"scaled_both_ratio", scaled_both / both},
             {"ldu_forward_ratio_to_floor", ldu_forward / floor_forward},
             {"ldu_both_ratio_to_floor", ldu_both / floor_both},
             {"error", errors.states},
             {"gradient_error", errors.gradient}},
            options.json);
}

}  // namespace

void add_bench_scan(CLI::App& bench) {
  struct Arguments {
    BenchOptions options;
    std::vector<std::string> shapes;
  };
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command = bench.add_subcommand("scan", "The matrix scan, as ratios to the copy rate");
  arguments->options.add_to(*command);
  command
      ->add_option("--shape", arguments->shapes,
                   "SEQUENCES,LENGTH,ORDER (may be repeated); without it, a list for the device")
      ->delimiter(' ');
  command->callback([arguments] {
    std::vector<ScanShape> shapes;
    if (arguments->shapes.empty()) arguments->shapes = default_shapes(arguments->options);
    for (const std::string& text : arguments->shapes) shapes.push_back(parse_shape(text));
    const double rate = copy_rate(arguments->options);
    for (const ScanShape& shape : shapes) bench_one(arguments->options, shape, rate);
  });
}

}  // namespace scangrad::tools
