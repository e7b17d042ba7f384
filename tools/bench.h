#pragma once
#include <scangrad/core/tensor.h>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <memory>
#include <string>

// What the kinds of `scangrad bench` share. A row is one measurement, printed as a JSON line or as
// `key value` pairs; times are medians (stopwatch.h), ratios are to a floor measured in this run.
namespace scangrad::tools {

/// Options of every kind of benchmark.
struct BenchOptions {
  std::string device = "cpu";
  std::string dtype = "f32";
  double budget = 300;  // milliseconds a measurement
  bool json = false;

  void add_to(CLI::App& command);
  TensorOptions tensor_options() const;
};

using Row = nlohmann::ordered_json;
void print_row(const Row& row, bool json);

/// Bytes a second, read and written, of a large copy on the device.
double copy_rate(const BenchOptions& options);

void add_bench_op(CLI::App& bench);
void add_bench_scan(CLI::App& bench);
void add_bench_train(CLI::App& bench);

}  // namespace scangrad::tools
