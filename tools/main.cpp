// The program: `scangrad SUBCOMMAND …`. Exit status 0, 2 for wrong usage, 1 for any other failure.
#include <scangrad/core/error.h>
#include <scangrad/tools/commands.h>

#include <fmt/format.h>

#include <cstdio>
#include <exception>

int main(int argc, char** argv) {
  CLI::App program("Train, compare and sample sequence models built on the associative scan.");
  program.name("scangrad");
  program.require_subcommand(0, 1);  // none: see below
  program.failure_message([](const CLI::App*, const CLI::Error& error) {
    return fmt::format("scangrad: {}\nRun with --help to see the options.\n", error.what());
  });
  program.set_help_all_flag("--help-all", "Help of every subcommand");
  scangrad::tools::add_train(program);
  scangrad::tools::add_compare(program);
  scangrad::tools::add_sample(program);
  scangrad::tools::add_eval(program);
  scangrad::tools::add_plot(program);
  scangrad::tools::add_info(program);
  scangrad::tools::add_tokenize(program);
  scangrad::tools::add_convert(program);
  scangrad::tools::add_sweep(program);
  scangrad::tools::add_bench(program);
  try {
    program.parse(argc, argv);
    // Checked here, as CLI11 would say so of a misspelled subcommand too.
    if (program.get_subcommands().empty()) throw CLI::RequiredError("A subcommand");
    return 0;
  } catch (const CLI::ParseError& error) {
    return program.exit(error) == 0 ? 0 : 2;  // prints the help or what is wrong
  } catch (const std::exception& error) {
    fmt::print(stderr, "scangrad: {}\n", error.what());
    return 1;
  }
}
