// The program: `scangrad SUBCOMMAND …`. Exit status 0, 2 for wrong usage, 1 for any other failure.
#include <scangrad/core/error.h>
#include <scangrad/tools/commands.h>

#include <fmt/format.h>

#include <cstdio>
#include <exception>

int main(int argc, char** argv) {
  CLI::App program("Train, compare and sample sequence models built on the associative scan.");
  program.name("scangrad");
  program.require_subcommand(1);
  program.set_help_all_flag("--help-all", "Help of every subcommand");
  scangrad::tools::add_info(program);
  scangrad::tools::add_bench(program);
  try {
    program.parse(argc, argv);
    return 0;
  } catch (const CLI::ParseError& error) {
    return program.exit(error) == 0 ? 0 : 2;  // prints the help or what is wrong
  } catch (const std::exception& error) {
    fmt::print(stderr, "scangrad: {}\n", error.what());
    return 1;
  }
}
