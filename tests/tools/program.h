#pragma once
#include <string>

// Runs the program as a person does, and says what it printed.
namespace scangrad::tests {

struct Outcome {
  int status = 0;  ///< 128 + n where signal n ended it
  std::string out = {}, err = {};
};

/// `scangrad ARGUMENTS` through the shell, in the test's folder; `before` is put in front
/// (`ulimit -f 1;`).
Outcome program(const std::string& arguments, const std::string& before = "");

/// The same in two parts, for what happens meanwhile: the process that runs, and its end.
int start_program(const std::string& arguments, const std::string& before = "");
Outcome finish_program(int process);

/// Writes a text of 20,000 characters with something to learn, once, and names its file.
std::string text_file();

/// Options that make a run of `shakespeare-small` tiny: a fraction of a second.
std::string tiny_run(int steps = 20);

}  // namespace scangrad::tests
