// scangrad info: what this build is and can do, or what a run, a tensor or a token file holds.
#include <scangrad/core/backend.h>
#include <scangrad/core/error.h>
#include <scangrad/core/parallel.h>
#include <scangrad/ops/kernels.h>
#include <scangrad/tools/commands.h>
#include <scangrad/train/checkpoint.h>
#include <scangrad/train/config.h>
#include <scangrad/train/metrics.h>
#include <scangrad/train/safetensors.h>
#include <scangrad/train/token_file.h>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace scangrad::tools {
namespace {

namespace fs = std::filesystem;

/// The table of a device, or why there is none.
std::vector<bool> filled_on(Device device, std::string& note) {
  try {
    note = "ready";
    return filled_kernels(kernels(device));
  } catch (const Error& error) {
    note = error.what();
    return std::vector<bool>(kernel_names().size(), false);
  }
}

void describe_build() {
  fmt::print("scangrad {}\n", SCANGRAD_VERSION);
  std::string cpu_note, cuda_note;
  const auto on_cpu = filled_on(Device::cpu(), cpu_note);
  const auto on_cuda = filled_on(Device::cuda(), cuda_note);
  fmt::print("cpu:  {}, {} threads, kernels for x86-64-{}\n", cpu_note, num_threads(), cpu_level());
  fmt::print("cuda: {}\n\n{:<24} cpu  cuda\n", cuda_note, "kernel");
  const auto names = kernel_names();
  for (std::size_t i = 0; i < names.size(); ++i) {
    fmt::print("{:<24} {:<4} {}\n", names[i], on_cpu[i] ? "yes" : "-", on_cuda[i] ? "yes" : "-");
  }
}

void describe_tensors(const fs::path& file) {
  const TensorIndex index = inspect_safetensors(file);
  std::size_t width = 4;
  for (const TensorEntry& e : index.entries) width = std::max(width, e.name.size());
  std::int64_t elements = 0;
  for (const TensorEntry& e : index.entries) {
    std::int64_t count = 1;
    for (const std::int64_t size : e.shape) count *= size;
    elements += count;
    fmt::print("{:<{}}  {:<5} [{}]\n", e.name, width, e.dtype, fmt::join(e.shape, ","));
  }
  fmt::print("{} tensors, {} elements, {} bytes\n", index.entries.size(), elements,
             index.entries.empty() ? 0 : index.entries.back().end);
  for (const auto& [key, value] : index.metadata) fmt::print("metadata {}: {}\n", key, value);
}

void describe_tokens(const fs::path& file) {
  const TokenFile content = map_token_file(file);
  const Fingerprint fingerprint = content.tokens.fingerprint();
  fmt::print("{} tokens of a vocabulary of {}, hash {:016x}, {}\n", fingerprint.tokens,
             content.tokens.vocab_size(), fingerprint.hash,
             content.tokenizer ? "with their tokenizer" : "without a tokenizer");
}

void describe_run(const fs::path& run) {
  fmt::print("{}\n", to_json(load_run_config(run / "config.json")));
  if (fs::exists(run / "metrics.jsonl")) {
    const std::vector<Metrics> lines = read_metrics(run / "metrics.jsonl");
    if (!lines.empty()) fmt::print("\nlast metrics:");
    for (const auto& [key, value] : lines.empty() ? Metrics{} : lines.back()) {
      fmt::print("  {} {:.6g}", key, value);
    }
    fmt::print("\n");
  }
  const auto checkpoint = latest_checkpoint(run);
  if (!checkpoint) {
    fmt::print("\nno checkpoint yet\n");
    return;
  }
  fmt::print("\n{}:\n", (*checkpoint / "model.safetensors").string());
  describe_tensors(*checkpoint / "model.safetensors");
}

void info(const std::string& path) {
  if (path.empty()) return describe_build();
  if (fs::is_directory(path)) return describe_run(path);
  is_token_file(path) ? describe_tokens(path) : describe_tensors(path);
}

}  // namespace

void add_info(CLI::App& program) {
  auto path = std::make_shared<std::string>();
  CLI::App* command = program.add_subcommand(
      "info", "The build, its devices and operations; or what a run, tensor or token file holds");
  command->add_option("path", *path, "A run's folder, a .safetensors file, or a token file");
  command->callback([path] { info(*path); });
}

}  // namespace scangrad::tools
