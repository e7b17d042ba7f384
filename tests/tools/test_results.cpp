// What the tables say of a run is counted from its metrics, so from what a person can look up
// there.
#include <scangrad/tests/support/catch.h>
#include <scangrad/tools/results.h>
#include <scangrad/train/files.h>

#include <cmath>
#include <filesystem>
#include <string>
#include <vector>

namespace fs = std::filesystem;
using namespace scangrad;
using namespace scangrad::tools;

namespace {

/// The result of a run with these metrics.
RunResult result_of(const std::string& lines) {
  const fs::path folder = "results_test";
  fs::create_directories(folder);
  write_file(folder / "metrics.jsonl", lines);
  return run_result({"run", {}, folder});
}

/// The metrics of a run whose train_loss was, one after another, this.
std::string losses(const std::vector<std::string>& values) {
  std::string lines;
  int step = 0;
  for (const std::string& value : values) {
    lines += "{\"step\":" + std::to_string(++step) + ",\"train_loss\":" + value +
             ",\"gradient_norm\":1}\n";
  }
  return lines;
}

}  // namespace

TEST_CASE("A spike is a rise of half a nat above the lowest loss so far, however long it lasts") {
  CHECK(result_of(losses({"4", "3", "2", "1.5"})).spikes == 0);
  CHECK(result_of(losses({"2", "2.4", "1.9", "2.39"})).spikes == 0);
  CHECK(result_of(losses({"2", "2.6"})).spikes == 1);
  CHECK(result_of(losses({"2", "2.6", "3", "2.7"})).spikes == 1);
  CHECK(result_of(losses({"2", "2.6", "1.9", "2.5", "1.8"})).spikes == 2);
  CHECK(result_of(losses({"3", "2", "2.6", "null"})).spikes == 1);
}

TEST_CASE("A run has diverged where its last loss or gradient is not finite") {
  CHECK_FALSE(result_of(losses({"2", "1"})).diverged);
  CHECK(result_of(losses({"2", "null"})).diverged);
  CHECK(result_of(losses({"2"}) + R"({"step":2,"train_loss":1,"gradient_norm":null})"
                                  "\n")
            .diverged);
  CHECK_FALSE(result_of(losses({"2"}) + "{\"step\":2,\"val_loss\":null}\n").diverged);
  CHECK_FALSE(result_of("").diverged);
}

TEST_CASE("The lowest validation loss and the largest state are those of all validations") {
  const RunResult result = result_of(
      "{\"step\":5,\"val_loss\":2,\"log10_state_norm\":1}\n"
      "{\"step\":10,\"val_loss\":1.5,\"log10_state_norm\":7}\n"
      "{\"step\":15,\"val_loss\":1.75,\"log10_state_norm\":3}\n"
      "{\"step\":20,\"val_loss\":null,\"log10_state_norm\":null}\n");
  CHECK(result.best_loss == 1.5);
  CHECK(result.best_step == 10);
  CHECK(metric(result.last, "val_loss") == 1.75);
  CHECK(result.log10_state_norm == 7);
  CHECK(result.steps == 20);
}

TEST_CASE("A mean is told with its range, where there is one") {
  CHECK(mean_text({1.25}, 2) == "1.25");
  CHECK(mean_text({1, 2, 6}, 1) == "3.0 (1.0 to 6.0)");
  CHECK(mean_text({100, 100}, 1, " %") == "100.0 %");
  CHECK(mean_text({1, NAN}, 1) == "-");
  CHECK(mean_text({HUGE_VAL}, 1) == "-");
}
