#include <scangrad/tests/tools/program.h>
#include <scangrad/train/files.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>

namespace scangrad::tests {
namespace {

/// Where the program's output goes: a name for each test process, as several may run at once.
std::string output_file(const char* suffix) {
  return "program_" + std::to_string(getpid()) + suffix;
}

}  // namespace

int start_program(const std::string& arguments, const std::string& before) {
  const std::string command = before + " exec " + SCANGRAD_PROGRAM + " </dev/null " + arguments +
                              " >" + output_file(".out") + " 2>" + output_file(".err");
  const pid_t process = fork();
  if (process == 0) {
    execl("/bin/sh", "sh", "-c", command.c_str(), nullptr);
    _exit(127);
  }
  return process;
}

Outcome finish_program(int process) {
  int status = 0;
  waitpid(process, &status, 0);
  return {.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status),
          .out = read_file(output_file(".out")),
          .err = read_file(output_file(".err"))};
}

Outcome program(const std::string& arguments, const std::string& before) {
  return finish_program(start_program(arguments, before));
}

std::string text_file() {
  const std::string path = "tools_test_text.txt";
  if (!std::filesystem::exists(path)) {
    std::string text;
    for (unsigned i = 0; text.size() < 20000; i = i * 1103515245u + 12345u) {
      text += (i >> 16) % 3 == 0 ? "to be or not\n" : "that is the question ";
    }
    write_file(path, text);
  }
  return path;
}

std::string tiny_run(int steps) {
  return "--preset shakespeare-small --data " + text_file() + " --steps " + std::to_string(steps) +
         " --set model.width=16 --set model.state_size=32 --set data.length=16 "
         "--set batch=4 --set log_every=5 --set validate_every=10 --set checkpoint_every=10 "
         "--set schedule.warmup_steps=5 --set model.dropout=0.1";
}

}  // namespace scangrad::tests
