// A sweep is many runs that need no one beside them: interrupted it goes on, a run that fails is a
// row of the table and not the end of the others.
#include <scangrad/tests/support/catch.h>
#include <scangrad/tests/tools/program.h>
#include <scangrad/train/checkpoint.h>
#include <scangrad/train/config.h>
#include <scangrad/train/files.h>
#include <scangrad/train/metrics.h>
#include <unistd.h>

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <csignal>
#include <filesystem>
#include <string>

namespace fs = std::filesystem;
using namespace scangrad;
using tests::Outcome;
using tests::program;

namespace {

std::string fresh(const std::string& name) {
  const fs::path path = fs::path("sweep_test") / name;
  fs::remove_all(path);
  return path.string();
}

std::ptrdiff_t lines_of(const std::string& text) {
  return std::count(text.begin(), text.end(), '\n');
}

}  // namespace

TEST_CASE("A grid is a run for every combination, with what it was and how it did in one table") {
  const std::string out = fresh("grid");
  const std::string command =
      "sweep " + tests::tiny_run(10) + " --grid seed=1,2 --grid model.width=16,32 --out " + out;
  const Outcome outcome = program(command);
  INFO(outcome.err);
  CHECK(outcome.status == 0);
  CHECK(lines_of(outcome.out) == 5);
  CHECK_THAT(outcome.out, ContainsSubstring("seed  width  lowest val_loss  at step"));
  for (const char* run : {"seed=1,model.width=16", "seed=2,model.width=32"}) {
    CHECK(latest_checkpoint(fs::path(out) / run)->filename() == "step-10");
  }
  CHECK(load_run_config(fs::path(out) / "seed=2,model.width=32" / "config.json").model.width == 32);

  // All done: the table again, and nothing trained.
  const fs::path metrics = fs::path(out) / "seed=1,model.width=16" / "metrics.jsonl";
  const auto written = fs::last_write_time(metrics);
  CHECK(program(command + " --resume").out == outcome.out);
  CHECK(fs::last_write_time(metrics) == written);
  CHECK_THAT(program(command).err, ContainsSubstring("is not empty; give --resume"));
}

TEST_CASE("A list of points is a run each, and lists as values are not cut at their commas") {
  const std::string out = fresh("points");
  const Outcome outcome =
      program("sweep " + tests::tiny_run(5) + " --point 'model.scheme=cayley batch=2'" +
              R"( --point 'model.layers=["mlp","mlp"]' --grid seed=1,2 --json --out )" + out);
  INFO(outcome.err);
  CHECK(outcome.status == 0);
  CHECK(lines_of(outcome.out) == 4);
  CHECK_THAT(outcome.out, ContainsSubstring(R"("model.scheme":"cayley","batch":"2","seed":"1")"));
  const RunConfig config =
      load_run_config(fs::path(out) / "model.layers=--mlp-,-mlp--,seed=2" / "config.json");
  CHECK(config.model.layers == std::vector<std::string>{"mlp", "mlp"});
  CHECK(config.seed == 2);
}

TEST_CASE("A preset's grid is swept; --grid replaces its axes and adds others") {
  const std::string out = fresh("preset");
  write_file("sweep_test_grid.json", R"({"base": {"model": {"width": 16, "layers": ["mlp"]},
      "data": {"kind": "words", "length": 4, "eval_sequences": 8}, "batch": 2, "steps": 3},
      "grid": {"model.gelu": ["erf", "tanh"], "batch": [1, 2, 3], "model.layers": [["mlp"]]}})");
  const std::string file = " --config sweep_test_grid.json --out " + out;
  const Outcome outcome = program("sweep --grid batch=4 --grid seed=1,2" + file);
  INFO(outcome.err);
  CHECK(outcome.status == 0);
  CHECK(lines_of(outcome.out) == 5);
  CHECK_THAT(outcome.out, ContainsSubstring("gelu  batch  layers   seed"));
  CHECK_THAT(outcome.out, ContainsSubstring("tanh  4      [\"mlp\"]  2"));
  CHECK(lines_of(program("sweep" + file + "-whole").out) == 7);
  fs::remove_all(out + "-whole");

  for (const char* command : {"train", "compare"}) {
    const Outcome other = program(command + file + "-other");
    CHECK(other.status == 2);
    CHECK_THAT(other.err, ContainsSubstring("is a sweep; use scangrad sweep"));
  }
  write_file("sweep_test_grid.json", R"({"grid": {"batch": 3}})");
  CHECK_THAT(program("sweep" + file + "-other").err,
             ContainsSubstring("grid: batch must have a list of values, not 3"));
  write_file("sweep_test_grid.json", R"({"grids": {"batch": [3]}, "grid": {}})");
  CHECK_THAT(program("sweep" + file + "-other").err, ContainsSubstring("no 'grids'"));
}

TEST_CASE("With seeds, a setting's row is the mean and the range of its runs") {
  const std::string out = fresh("seeds");
  const std::string command =
      "sweep " + tests::tiny_run(10) + " --grid model.width=16,32 --seeds 1,2 --out " + out;
  const Outcome outcome = program(command);
  INFO(outcome.err);
  CHECK(outcome.status == 0);
  CHECK(lines_of(outcome.out) == 3);
  double sum = 0, least = HUGE_VAL, largest = 0;
  for (const char* run : {"model.width=16,seed=1", "model.width=16,seed=2"}) {
    CHECK(latest_checkpoint(fs::path(out) / run)->filename() == "step-10");
    const auto lines = read_metrics(fs::path(out) / run / "metrics.jsonl");
    const double loss = metric(lines.back(), "val_loss");  // of the only validation
    sum += loss;
    least = std::min(least, loss);
    largest = std::max(largest, loss);
  }
  CHECK_THAT(outcome.out,
             ContainsSubstring(fmt::format("{:.4f} ({:.4f} to {:.4f})", sum / 2, least, largest)));
  const Outcome json = program(command + " --resume --json");
  CHECK(lines_of(json.out) == 4);
  CHECK_THAT(json.out, ContainsSubstring(R"("model.width":"32","seed":2)"));
}

TEST_CASE("Several runs at a time end as one at a time does") {
  const std::string out = fresh("jobs"), alone = fresh("alone");
  const std::string command = "sweep " + tests::tiny_run(10) + " --grid seed=1,2,3 --out ";
  const Outcome outcome = program(command + out + " --jobs 2", "export OMP_NUM_THREADS=1;");
  INFO(outcome.err);
  CHECK(outcome.status == 0);
  CHECK(program(command + alone, "export OMP_NUM_THREADS=1;").status == 0);
  for (const char* run : {"seed=1", "seed=2", "seed=3"}) {
    const auto weights = [&](const std::string& folder) {
      return read_file(*latest_checkpoint(fs::path(folder) / run) / "model.safetensors");
    };
    CHECK(weights(out) == weights(alone));
    CHECK_THAT(read_file(fs::path(out) / (std::string(run) + ".log")),
               ContainsSubstring("val_loss"));
  }
}

TEST_CASE("A run that fails is told of, and the others are trained all the same") {
  const std::string out = fresh("failing");
  const Outcome outcome =
      program("sweep " + tests::tiny_run(10) + " --grid data.length=30000,16 --out " + out);
  CHECK(outcome.status == 1);
  CHECK(lines_of(outcome.out) == 3);
  CHECK_THAT(outcome.out, ContainsSubstring("0 (unfinished)"));
  CHECK_THAT(outcome.err, ContainsSubstring("too few for context 30000"));
  CHECK_THAT(outcome.err, ContainsSubstring("1 of 2 runs did not reach their last step"));
  CHECK(latest_checkpoint(fs::path(out) / "data.length=16").has_value());
}

TEST_CASE("A run that diverges is a result: the sweep goes on, and does not try it again") {
  const std::string out = fresh("diverging");
  const std::string command = "sweep " + tests::tiny_run(20) +
                              " --set optimizer.clip=0 --set schedule.warmup_steps=0 --set "
                              "log_every=1 --grid schedule.rate=1e30,1e-3 --out " +
                              out;
  const Outcome outcome = program(command);
  INFO(outcome.err);
  CHECK(outcome.status == 0);
  CHECK(lines_of(outcome.out) == 3);
  CHECK_THAT(outcome.out, ContainsSubstring("log10 |H|  spikes"));
  CHECK_THAT(outcome.out, ContainsSubstring(" (not finite)"));
  CHECK_THAT(outcome.err, ContainsSubstring(", no longer finite"));
  CHECK(latest_checkpoint(fs::path(out) / "schedule.rate=1e-3").has_value());
  const Outcome again = program(command + " --resume --json");
  CHECK(again.status == 0);
  CHECK(again.err.empty());
  CHECK_THAT(again.out, ContainsSubstring(R"("diverged":true)"));
}

TEST_CASE("Interrupted, a sweep saves what is at work and goes on with it") {
  const std::string out = fresh("interrupted");
  const std::string options = " --set schedule.kind=constant --set log_every=1 --grid seed=1,2";
  const int process =
      tests::start_program("sweep " + tests::tiny_run(1000000) + options + " --out " + out);
  const fs::path metrics = fs::path(out) / "seed=1" / "metrics.jsonl";
  for (int i = 0; i < 6000 && !(fs::exists(metrics) && fs::file_size(metrics) > 0); ++i) {
    usleep(10000);
  }
  kill(process, SIGTERM);
  const Outcome stopped = tests::finish_program(process);
  CHECK(stopped.status == 1);
  CHECK_THAT(stopped.err, ContainsSubstring("interrupted; all is saved"));
  CHECK(latest_checkpoint(fs::path(out) / "seed=1").has_value());
  CHECK_FALSE(fs::exists(fs::path(out) / "seed=2"));
  const auto steps = metric(read_metrics(metrics).back(), "step");
  CHECK(steps > 0);
}

TEST_CASE("What cannot be swept is refused before anything is written") {
  struct Mistake {
    std::string arguments;
    const char* sentence;
  };
  const std::string out = fresh("refused");
  for (const Mistake& mistake : std::vector<Mistake>{
           {"", "give --grid, --point, --seeds or several of them"},
           {"--seeds 1,2 --grid seed=1,2", "give --seeds or settings of seed, not both"},
           {"--seeds 1,1", "a seed is there twice among 1, 1"},
           {"--seeds 1,-2", "--seeds"},
           {"--seeds 1 --seed 2", "--seeds"},
           {"--grid seed", "'seed' is not key=value"},
           {"--grid model.widht=3", "the nearest is 'model.width'"},
           {"--grid batch=1,0", "batch must be 1 or more"},
           {"--grid model.scheme=ldu,lu", "no scheme is called lu; there are identity, scalar"},
           {"--grid model.heads=2,3", "does not divide into 3 heads"},
           {"--grid seed=1,1", "'seed=1' is there twice"},
           {"--grid seed=1 --jobs 0", "--jobs"},
       }) {
    INFO(mistake.arguments);
    const Outcome outcome =
        program("sweep " + tests::tiny_run() + " --out " + out + " " + mistake.arguments);
    CHECK(outcome.status == 2);
    CHECK_THAT(outcome.err, ContainsSubstring(mistake.sentence));
    CHECK_FALSE(fs::exists(out));
  }
}
