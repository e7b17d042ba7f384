// scangrad info: what this build is and can do, or what a run or a tensor file holds.
#include <scangrad/core/backend.h>
#include <scangrad/core/error.h>
#include <scangrad/core/parallel.h>
#include <scangrad/ops/kernels.h>
#include <scangrad/tools/commands.h>

#include <fmt/format.h>

#include <string>
#include <vector>

namespace scangrad::tools {
namespace {

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

}  // namespace

void add_info(CLI::App& program) {
  CLI::App* command = program.add_subcommand("info", "The build, its devices and operations");
  command->callback([] { describe_build(); });
}

}  // namespace scangrad::tools
