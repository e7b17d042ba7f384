#pragma once
#include <CLI/CLI.hpp>

#include <charconv>
#include <cstdint>
#include <string>
#include <system_error>

// One function per subcommand: each adds its options to the program and the callback that runs it.
// Results go to stdout, text for people to stderr; failures are thrown as scangrad::Error.
namespace scangrad::tools {

/// For options: an integer of `least` or more.
inline CLI::Validator at_least(std::int64_t least) {
  const std::string what = "an integer of " + std::to_string(least) + " or more";
  const auto refusal = [least, what](const std::string& text) -> std::string {
    std::int64_t value = 0;
    const char* const end = text.data() + text.size();
    const auto [rest, error] = std::from_chars(text.data(), end, value);
    const bool fits = error == std::errc{} && rest == end && value >= least;
    return fits ? "" : text + " is not " + what;
  };
  return {refusal, what};
}

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
