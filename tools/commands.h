#pragma once
#include <CLI/CLI.hpp>

// One function per subcommand: each adds its options to the program and the callback that runs it.
// Results go to stdout, text for people to stderr; failures are thrown as scangrad::Error.
namespace scangrad::tools {

void add_train(CLI::App& program);
void add_compare(CLI::App& program);
void add_sample(CLI::App& program);
void add_eval(CLI::App& program);
void add_plot(CLI::App& program);
void add_info(CLI::App& program);
void add_tokenize(CLI::App& program);
void add_convert(CLI::App& program);
void add_sweep(CLI::App& program);
void add_bench(CLI::App& program);

}  // namespace scangrad::tools
