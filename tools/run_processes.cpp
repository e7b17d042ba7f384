#include <fcntl.h>
#include <scangrad/core/error.h>
#include <scangrad/tools/run_processes.h>
#include <scangrad/train/files.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fmt/format.h>

#include <csignal>
#include <cstring>
#include <filesystem>
#include <map>
#include <string>
#include <utility>

namespace scangrad::tools {
namespace {

namespace fs = std::filesystem;

volatile std::sig_atomic_t stop_requested = 0;

/// The processes at work. Asked to end (SIGINT, SIGTERM), it asks them, and they save their runs.
class Processes {
 public:
  Processes() {
    struct sigaction action = {};
    action.sa_handler = [](int) { stop_requested = 1; };
    sigaction(SIGINT, &action, nullptr);
    sigaction(SIGTERM, &action, nullptr);
  }

  std::size_t count() const { return run_of_.size(); }

  /// `scangrad train`, telling how it goes on stderr or, of several at once, in a file.
  void start(const Run& run, bool alone) {
    const std::string folder = run.folder.string();
    const std::string config = folder + ".json", log = folder + ".log";
    std::vector<std::string> words = {"scangrad", "train", "--out", folder};
    if (fs::exists(run.folder / "config.json")) {
      words.insert(words.end(), {"--resume", "--steps", fmt::to_string(run.config.steps)});
    } else {
      write_file(config, to_json(run.config) + "\n");
      words.insert(words.end(), {"--config", config});
    }
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    if (!alone) {
      posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, log.c_str(),
                                       O_WRONLY | O_CREAT | O_APPEND, 0666);
    }
    pid_t process = 0;
    const int error =
        posix_spawn(&process, "/proc/self/exe", &actions, nullptr, argv.data(), environ);
    posix_spawn_file_actions_destroy(&actions);
    if (error != 0) throw Error(fmt::format("sweep: no process: {}", std::strerror(error)));
    run_of_[process] = &run;
  }

  /// Waits for one to end: its run.
  const Run& wait() {
    bool asked = false;
    while (true) {
      if (stop_requested != 0 && !std::exchange(asked, true)) {
        for (const auto& [process, run] : run_of_) kill(process, SIGTERM);
      }
      const auto found = run_of_.find(waitpid(-1, nullptr, WNOHANG));
      if (found == run_of_.end()) {
        usleep(20000);
        continue;
      }
      const Run& run = *found->second;
      run_of_.erase(found);
      return run;
    }
  }

 private:
  std::map<pid_t, const Run*> run_of_;
};

}  // namespace

void train_all(const std::vector<Run>& runs, std::int64_t jobs) {
  Processes processes;
  std::size_t ended = 0, next = 0;
  while (true) {
    while (next < runs.size() && stop_requested == 0 &&
           processes.count() < static_cast<std::size_t>(jobs)) {
      const Run& run = runs[next++];
      const RunResult before = run_result(run);
      if (before.finished || before.diverged) {
        ++ended;
      } else {
        processes.start(run, jobs == 1);
      }
    }
    if (processes.count() == 0) break;
    const Run& run = processes.wait();
    ++ended;
    const RunResult result = run_result(run);
    const std::string end =
        result.finished
            ? fmt::format("lowest val_loss {:.4f}", result.best_loss)
            : fmt::format("ended at step {:.0f} of {}{}", result.steps, run.config.steps,
                          result.diverged ? ", no longer finite" : "");
    fmt::print(stderr, "[{}/{}] {}: {}\n", ended, runs.size(), run.name, end);
  }
  if (stop_requested != 0) {
    throw Error(
        fmt::format("interrupted; all is saved: give the same command with --out {} --resume to go "
                    "on",
                    runs[0].folder.parent_path().string()));
  }
}

}  // namespace scangrad::tools
