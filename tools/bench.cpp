#include <scangrad/tools/bench.h>

#include <scangrad/core/backend.h>
#include <scangrad/core/error.h>
#include <scangrad/tools/commands.h>
#include <scangrad/tools/stopwatch.h>

#include <fmt/format.h>

#include <cstdio>

namespace scangrad::tools {

void BenchOptions::add_to(CLI::App& command) {
  command.add_option("--device", device, "cpu or cuda")->capture_default_str();
  command.add_option("--dtype", dtype, "f32, f64 or bf16")->capture_default_str();
  command.add_option("--budget", budget, "Milliseconds to spend on each measurement")
      ->capture_default_str();
  command.add_flag("--json", json, "One JSON object a line");
}

TensorOptions BenchOptions::tensor_options() const {
  for (DType candidate : {DType::f32, DType::f64, DType::bf16}) {
    if (dtype == name(candidate)) return {candidate, Device::parse(device)};
  }
  throw ValueError(fmt::format("bench: '{}' is not one of f32, f64 and bf16", dtype));
}

void print_row(const Row& row, bool json) {
  if (json) {
    fmt::print("{}\n", row.dump());
  } else {
    const char* separator = "";
    for (const auto& [key, value] : row.items()) {
      const std::string text = value.is_number_float() ? fmt::format("{:.4g}", value.get<double>())
                               : value.is_string()     ? value.get<std::string>()
                                                       : value.dump();
      fmt::print("{}{} {}", separator, key, text);
      separator = "  ";
    }
    fmt::print("\n");
  }
  std::fflush(stdout);
}

double copy_rate(const BenchOptions& options) {
  const TensorOptions bytes = {DType::f32, options.tensor_options().device};
  const Tensor from = ones({std::int64_t{1} << 25}, bytes), to = empty_like(from);  // 128 MiB each
  const double ms =
      median_milliseconds(bytes.device, options.budget, [&](int) { raw_copy(to, from); });
  return 2.0 * static_cast<double>(from.numel()) * 4 / (ms * 1e-3);
}

void add_bench(CLI::App& program) {
  CLI::App* bench = program.add_subcommand("bench", "Measure operations, scans and training");
  bench->require_subcommand(1);
  add_bench_op(*bench);
  add_bench_scan(*bench);
  add_bench_train(*bench);
}

}  // namespace scangrad::tools
