// scangrad bench op: each operation beside the least time in which its bytes can be moved (the copy
// rate of this run), and the matrix product beside BLAS called directly.
#include <scangrad/autograd/engine.h>
#include <scangrad/autograd/grad_mode.h>
#include <scangrad/core/error.h>
#include <scangrad/ops/elementwise.h>
#include <scangrad/ops/linalg.h>
#include <scangrad/ops/loss.h>
#include <scangrad/ops/matmul.h>
#include <scangrad/ops/norm.h>
#include <scangrad/ops/optimizer.h>
#include <scangrad/ops/random.h>
#include <scangrad/ops/reduce.h>
#include <scangrad/ops/scan.h>
#include <scangrad/ops/shape.h>
#include <scangrad/ops/softmax.h>
#include <scangrad/tools/bench.h>
#include <scangrad/tools/stopwatch.h>

#include <cblas.h>
#include <fmt/format.h>

#include <algorithm>
#include <functional>

namespace scangrad::tools {
namespace {

/// One operation on x and y (rows, 1024), and how many passes over their bytes it cannot do
/// without.
struct OpBenchmark {
  const char* name;
  double passes;
  std::function<Tensor(const Tensor& x, const Tensor& y)> run;
  bool bf16 = true;  // whether x and y may be
};

/// The gradient of f(x) for the output's gradient g, and so the time of both directions.
Tensor both_ways(const std::function<Tensor(const Tensor&)>& f, const Tensor& x, const Tensor& g) {
  const Tensor leaf = x.detach().requires_grad_();
  return grad(f(leaf), leaf, {.grad_outputs = {g}});
}

Tensor flat(const Tensor& x) { return reshape(x, {x.numel()}); }

/// With b as the gradient of its states as well.
Tensor linear_scan_both_ways(const Tensor& a, const Tensor& b, std::int64_t dim) {
  const Tensors leaves = {a.detach().requires_grad_(), b.detach().requires_grad_()};
  const Tensor states = linear_scan(leaves[0], leaves[1], {.dim = dim}).states;
  return grad({states}, leaves, {.grad_outputs = {b}})[0];
}

/// A step of AdamW: x holds a parameter and its gradient, y the moments.
Tensor adamw(const Tensor& x, const Tensor& y) {
  const auto guard = no_grad();
  const std::int64_t half = x.size(0) / 2;
  const auto first = [&](const Tensor& both) { return slice(both, 0, 0, half); };
  const auto second = [&](const Tensor& both) { return slice(both, 0, half, 2 * half); };
  adamw_step({first(x)}, {second(x)}, {first(y)}, {second(y)}, ones({3}, {DType::f64, x.device()}));
  return x;
}

const std::vector<OpBenchmark>& op_benchmarks() {
  static const std::vector<OpBenchmark> table = {
      {"add", 3, [](const Tensor& x, const Tensor& y) { return x + y; }},
      {"mul_scalar", 2, [](const Tensor& x, const Tensor&) { return x * 2.0; }},
      {"exp", 2, [](const Tensor& x, const Tensor&) { return exp(x); }},
      {"tanh", 2, [](const Tensor& x, const Tensor&) { return tanh(x); }},
      {"gelu", 2, [](const Tensor& x, const Tensor&) { return gelu(x); }},
      {"sum", 1, [](const Tensor& x, const Tensor&) { return sum(x); }},
      {"sum (rows)", 1, [](const Tensor& x, const Tensor&) { return sum(x, {-1}); }},
      {"sum (columns)", 1, [](const Tensor& x, const Tensor&) { return sum(x, {0}); }},
      {"amax (rows)", 1, [](const Tensor& x, const Tensor&) { return amax(x, {-1}); }},
      {"transpose", 2,
       [](const Tensor& x, const Tensor&) { return contiguous(transpose(x, 0, 1)); }},
      {"cumsum (rows)", 2, [](const Tensor& x, const Tensor&) { return cumsum(x, -1); }},
      {"cumsum (columns)", 2, [](const Tensor& x, const Tensor&) { return cumsum(x, 0); }},
      {"cumsum (one row)", 2, [](const Tensor& x, const Tensor&) { return cumsum(flat(x), 0); }},
      {"cumprod (rows)", 2, [](const Tensor& x, const Tensor&) { return cumprod(x, -1); }},
      {"cumprod (columns)", 2, [](const Tensor& x, const Tensor&) { return cumprod(x, 0); }},
      // Values alone: the short form looks for their places too.
      {"cummax (rows)", 2,
       [](const Tensor& x, const Tensor&) { return cummax(x, ScanOptions{.dim = -1}).states; }},
      {"cummax (columns)", 2,
       [](const Tensor& x, const Tensor&) { return cummax(x, ScanOptions{.dim = 0}).states; }},
      {"logcumsumexp (rows)", 2,
       [](const Tensor& x, const Tensor&) { return logcumsumexp(x, -1); }},
      {"logcumsumexp (columns)", 2,
       [](const Tensor& x, const Tensor&) { return logcumsumexp(x, 0); }},
      {"linear_scan (rows)", 3,
       [](const Tensor& a, const Tensor& b) { return linear_scan(a, b, {.dim = -1}).states; }},
      {"linear_scan (columns)", 3,
       [](const Tensor& a, const Tensor& b) { return linear_scan(a, b, {.dim = 0}).states; }},
      {"linear_scan (one row)", 3,
       [](const Tensor& a, const Tensor& b) { return linear_scan(flat(a), flat(b)).states; }},
      // Forward reads a and b and writes h; backward reads a, g and h and writes da and db.
      {"linear_scan (rows), both ways", 8,
       [](const Tensor& a, const Tensor& b) { return linear_scan_both_ways(a, b, -1); }},
      {"linear_scan (columns), both ways", 8,
       [](const Tensor& a, const Tensor& b) { return linear_scan_both_ways(a, b, 0); }},
      {"softmax", 2, [](const Tensor& x, const Tensor&) { return softmax(x, -1); }},
      {"layer_norm", 2, [](const Tensor& x, const Tensor&) { return layer_norm(x); }},
      {"rms_norm", 2, [](const Tensor& x, const Tensor&) { return rms_norm(x); }},
      {"dropout", 2, [](const Tensor& x, const Tensor&) { return dropout(x, 0.1); }},
      // Forward reads x and writes y; backward reads g and x or y, and writes dx.
      {"gelu, both ways", 5,
       [](const Tensor& x, const Tensor& g) {
         return both_ways([](const Tensor& leaf) { return gelu(leaf); }, x, g);
       }},
      {"softmax, both ways", 5,
       [](const Tensor& x, const Tensor& g) {
         return both_ways([](const Tensor& leaf) { return softmax(leaf, -1); }, x, g);
       }},
      {"layer_norm, both ways", 5,
       [](const Tensor& x, const Tensor& g) {
         return both_ways([](const Tensor& leaf) { return layer_norm(leaf); }, x, g);
       }},
      // Forward reads the logits; backward reads them again and writes their gradient.
      {"cross_entropy, both ways", 3,
       [](const Tensor& x, const Tensor&) {
         const Tensor targets = zeros({x.size(0)}, {DType::i64, x.device()});
         return both_ways([&](const Tensor& leaf) { return cross_entropy(leaf, targets); }, x, {});
       }},
      // Parameter and moments are read and written, the gradient is read; each is half of x or y.
      {"adamw_step", 3.5, adamw, /*bf16=*/false},
  };
  return table;
}

void print_beside_floor(const OpBenchmark& op, const BenchOptions& options, const Shape& shape,
                        double ms, double floor) {
  print_row({{"op", op.name},
             {"dtype", options.dtype},
             {"shape", std::vector<std::int64_t>(shape.begin(), shape.end())},
             {"ms", ms},
             {"floor_ms", floor},
             {"ratio_to_floor", ms / floor}},
            options.json);
}

/// The same on many small matrices (count, n, n).
const std::vector<OpBenchmark>& matrix_benchmarks() {
  static const std::vector<OpBenchmark> table = {
      {"solve", 3, [](const Tensor& a, const Tensor& b) { return solve(a, b); }},
      {"inverse", 2, [](const Tensor& a, const Tensor&) { return inverse(a); }},
      {"slogdet", 1, [](const Tensor& a, const Tensor&) { return slogdet(a).logabsdet; }},
      {"matrix_exp", 2, [](const Tensor& a, const Tensor&) { return matrix_exp(a); }},
      // Forward reads a and writes y; backward reads a and g, and writes da.
      {"matrix_exp, both ways", 5,
       [](const Tensor& a, const Tensor& g) {
         return both_ways([](const Tensor& leaf) { return matrix_exp(leaf); }, a, g);
       }},
  };
  return table;
}

void bench_matrices(const OpBenchmark& op, const BenchOptions& options, double rate) {
  const TensorOptions like = options.tensor_options();
  for (const std::int64_t n : {8, 16}) {
    // Operands that take turns, more of them than a cache holds.
    const std::int64_t turns = 512 / (n * n);
    const Shape shape = {std::int64_t{1} << 16, n, n};
    std::vector<Tensor> operands;
    for (std::int64_t i = 0; i < turns; ++i) operands.push_back(uniform(shape, like, -1, 1));
    const double ms = median_milliseconds(like.device, options.budget, [&](std::int64_t i) {
      op.run(operands[i % turns], operands[(i + turns / 2) % turns]);
    });
    const auto bytes = static_cast<double>(shape.numel() * size_of(like.dtype));
    print_beside_floor(op, options, shape, ms, op.passes * bytes / rate * 1e3);
  }
}

void bench_matmul(const BenchOptions& options) {
  const TensorOptions like = options.tensor_options();
  for (const std::int64_t n : {256, 1024}) {
    const std::int64_t m = 4096, k = 256;
    const Tensor a = ones({m, k}, like), b = ones({k, n}, like), c = empty({m, n}, like);
    const double ms = median_milliseconds(like.device, options.budget, [&](int) { matmul(a, b); });
    Row row = {{"op", "matmul"},
               {"shape", {m, k, n}},
               {"ms", ms},
               {"gflops", 2e-6 * static_cast<double>(m * k * n) / ms}};
    if (like.device.is_cpu() && like.dtype == DType::f32) {
      const double blas = median_milliseconds(like.device, options.budget, [&](int) {
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, static_cast<int>(m),
                    static_cast<int>(n), static_cast<int>(k), 1, a.data<float>(),
                    static_cast<int>(k), b.data<float>(), static_cast<int>(n), 0, c.data<float>(),
                    static_cast<int>(n));
      });
      row["ratio_to_blas"] = ms / blas;
    }
    print_row(row, options.json);
  }
}

void bench_ops(const BenchOptions& options, const std::vector<std::string>& chosen,
               double megabytes) {
  const auto wanted = [&](const std::string& name) {
    return chosen.empty() || std::find(chosen.begin(), chosen.end(), name) != chosen.end();
  };
  const TensorOptions like = options.tensor_options();
  const double rate = copy_rate(options);
  print_row({{"op", "copy"}, {"gb_per_second", rate * 1e-9}}, options.json);
  const auto rows = static_cast<std::int64_t>(megabytes * 1e6) /
                    static_cast<std::int64_t>(1024 * size_of(like.dtype));
  // Two operands that change places, so that neither is read from the cache.
  const Tensor x = uniform({std::max<std::int64_t>(rows, 2), 1024}, like), y = clone(x);
  const double bytes = static_cast<double>(x.numel()) * static_cast<double>(size_of(like.dtype));
  for (const OpBenchmark& op : op_benchmarks()) {
    if (!wanted(op.name) || (like.dtype == DType::bf16 && !op.bf16)) continue;
    const double ms = median_milliseconds(like.device, options.budget,
                                          [&](int i) { i % 2 == 0 ? op.run(x, y) : op.run(y, x); });
    print_beside_floor(op, options, x.shape(), ms, op.passes * bytes / rate * 1e3);
  }
  for (const OpBenchmark& op : matrix_benchmarks()) {
    if (wanted(op.name) && like.dtype != DType::bf16) bench_matrices(op, options, rate);
  }
  if (wanted("matmul")) bench_matmul(options);
}

}  // namespace

void add_bench_op(CLI::App& bench) {
  struct Arguments {
    BenchOptions options;
    std::vector<std::string> ops;
    double megabytes = 64;
  };
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command = bench.add_subcommand("op", "Operations, as ratios to the copy rate");
  arguments->options.add_to(*command);
  std::vector<std::string> names = {"matmul"};
  for (const auto* table : {&op_benchmarks(), &matrix_benchmarks()}) {
    for (const OpBenchmark& op : *table) names.emplace_back(op.name);
  }
  command->add_option("--op", arguments->ops, "Only these (may be repeated)")
      ->check(CLI::IsMember(names));
  command->add_option("--megabytes", arguments->megabytes, "Size of the operand")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  command->callback(
      [arguments] { bench_ops(arguments->options, arguments->ops, arguments->megabytes); });
}

}  // namespace scangrad::tools
