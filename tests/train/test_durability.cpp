// What is said to be on the disk is there: a power cut at any moment leaves a whole checkpoint and
// the metrics up to it. The system calls are watched, and made to fail, by standing in for them.
#include <fcntl.h>
#include <scangrad/core/error.h>
#include <scangrad/models/module.h>
#include <scangrad/tests/support/catch.h>
#include <scangrad/train/checkpoint.h>
#include <scangrad/train/files.h>
#include <scangrad/train/trainer.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <string>
#include <vector>

namespace sg = scangrad;
namespace fs = std::filesystem;

namespace {

std::vector<std::string> calls;  // `fsync NAME` and `rename NAME`, in order
std::string failing;             // the call that fails

int noted(const std::string& call) {
  calls.push_back(call);
  if (call != failing) return 0;
  errno = EIO;
  return -1;
}

/// Where in `calls` this one is, from `begin` on.
std::ptrdiff_t place(const std::string& call, std::ptrdiff_t begin = 0) {
  const auto found = std::find(calls.begin() + begin, calls.end(), call);
  INFO(call);
  REQUIRE(found != calls.end());
  return found - calls.begin();
}

fs::path fresh(const std::string& name) {
  fs::remove_all(name);
  calls.clear();
  return fs::absolute(name);
}

struct Model : sg::Module {
  sg::Tensor weight = sg::ones({2});
  Model() { register_parameter("w", weight); }
};

}  // namespace

extern "C" int fsync(int file) {
  const fs::path path = fs::read_symlink("/proc/self/fd/" + std::to_string(file));
  if (noted("fsync " + path.filename().string()) != 0) return -1;
  return static_cast<int>(syscall(SYS_fsync, file));
}

extern "C" int rename(const char* from, const char* to) noexcept {
  if (noted("rename " + fs::path(to).filename().string()) != 0) return -1;
  return static_cast<int>(syscall(SYS_renameat, AT_FDCWD, from, AT_FDCWD, to));
}

TEST_CASE(
    "The metrics are on the disk before the checkpoint is, and then its name before old ones go") {
  sg::RunConfig config;
  config.model = {.width = 8, .heads = 1, .layers = {"mlp"}};
  config.data.kind = "words";
  config.data.length = 4;
  config.data.eval_sequences = 4;
  config.steps = 2;
  config.batch = 2;
  config.log_every = config.checkpoint_every = 1;
  const fs::path above = fresh("durability_above");
  sg::Trainer(config, above / "run").run();

  // The folders that are new are entered in those above them.
  CHECK(place("fsync durability_above") < place("fsync run"));
  const auto first = place("rename step-1");
  CHECK(place("fsync run", place("rename config.json")) < first);
  const auto entered = place("fsync checkpoints");
  CHECK(entered < first);
  CHECK(place("fsync run", place("rename metrics.jsonl")) < entered);

  // The last appended line, the checkpoint's files and its folder, its name.
  const auto second = place("rename step-2");
  CHECK(place("fsync metrics.jsonl", first) < second);
  for (const char* file : {"model.safetensors", "optimizer.safetensors", "state.json"}) {
    CHECK(place(std::string("rename ") + file, first) < second);
  }
  CHECK(place("fsync .unfinished", place("rename state.json", first)) < second);
  CHECK(place("fsync checkpoints", second) > second);
}

TEST_CASE("Where a checkpoint's name cannot be flushed, the one before it stays") {
  const fs::path run = fresh("durability_run");
  Model model;
  const sg::AdamW optimizer({{.name = "all", .parameters = model.named_parameters()}});
  sg::save_checkpoint(run, {.step = 1}, model, &optimizer);
  failing = "fsync checkpoints";
  CHECK_THROWS_WITH(sg::save_checkpoint(run, {.step = 2}, model, &optimizer),
                    ContainsSubstring("checkpoints: cannot be flushed to the disk"));
  failing.clear();
  CHECK(fs::exists(run / "checkpoints" / "step-1"));
}

TEST_CASE("A file that cannot be flushed or renamed is not written, and says so") {
  const fs::path folder = fresh("durability_file");
  sg::make_folder(folder);
  sg::write_file(folder / "x", "old");
  for (const std::string& call :
       std::vector<std::string>{"fsync x.tmp" + std::to_string(getpid()), "rename x"}) {
    failing = call;
    CHECK_THROWS_WITH(sg::write_file(folder / "x", "new"),
                      ContainsSubstring("x: cannot be written"));
    failing.clear();
    CHECK(sg::read_file(folder / "x") == "old");
  }
  CHECK_THROWS_AS(sg::sync_to_disk(folder / "none"), sg::IoError);
}

TEST_CASE("One at a time writes in a folder") {
  const fs::path folder = fresh("durability_lock");
  CHECK_THROWS_AS(sg::FolderLock(folder), sg::IoError);  // there is no such folder
  sg::make_folder(folder);
  {
    const sg::FolderLock lock(folder);
    CHECK_THROWS_WITH(sg::FolderLock(folder), ContainsSubstring("is in use"));
  }
  const sg::FolderLock lock(folder);
}
