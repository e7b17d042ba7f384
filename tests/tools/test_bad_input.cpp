// Whatever is wrong, the program says it in one sentence, exits with 2 for wrong usage and 1 for
// any other failure, and loses nothing.
#include <scangrad/tests/support/catch.h>
#include <scangrad/tests/tools/program.h>
#include <scangrad/train/checkpoint.h>
#include <scangrad/train/files.h>

#include <algorithm>
#include <filesystem>
#include <string>

namespace fs = std::filesystem;
using namespace scangrad;
using tests::Outcome;
using tests::program;

namespace {

struct Mistake {
  const char* what;
  std::string arguments;
  int status;
  const char* sentence;  // a part of what is to be said
};

void check_refused(const Mistake& mistake) {
  INFO(mistake.what << ": scangrad " << mistake.arguments);
  const Outcome outcome = program(mistake.arguments);
  CHECK(outcome.status == mistake.status);
  CHECK_THAT(outcome.err, ContainsSubstring(mistake.sentence));
  // One line; for wrong usage, one more that says where to look.
  CHECK(std::count(outcome.err.begin(), outcome.err.end(), '\n') == (mistake.status == 2 ? 2 : 1));
  CHECK(outcome.err.substr(0, 10) == "scangrad: ");
  CHECK(outcome.out.empty());
}

}  // namespace

TEST_CASE("Mistakes in what is to be trained are found before anything is written") {
  const std::string out = " --out bad_input_run";
  const std::string run = "train " + tests::tiny_run() + out;
  write_file("empty.txt", "");
  write_file("latin1.txt", "caf\xe9 caf\xe9");
  write_file("broken.json", "{\"steps\": ");
  write_file("seeds.json", R"({"models": [{"seeds": [-1]}]})");
  write_file("twice.json", R"({"models": [{"seeds": [1, 1]}]})");
  write_file("seed.json", R"({"models": [{"seed": 1}]})");
  const auto data = [&](const char* file) {
    return std::string("train --preset shakespeare-small --data ") + file + out;
  };
  for (const Mistake& mistake : std::vector<Mistake>{
           {"no subcommand", "", 2, "subcommand"},
           {"an unknown subcommand", "trian", 2, "trian"},
           {"an unknown option", "train --bogus", 2, "--bogus"},
           {"no configuration", "train" + out, 2,
            "give --preset NAME, --config FILE or --from RUN"},
           {"an unknown preset", "train --preset nope" + out, 2,
            "there is no preset 'nope'; there are mixers, schemes, shakespeare-attention,"},
           {"an unknown key", run + " --set model.widht=3", 2,
            "there is no key 'model.widht'; the nearest is 'model.width'"},
           {"a value of the wrong type", run + " --set steps=many", 2, "steps must be an integer"},
           {"an impossible value", run + " --set batch=0", 2, "batch must be 1 or more"},
           {"a curriculum that does not begin",
            run + R"( --set 'data.curriculum=[{"from_step": 9, "length": 4}]')", 2,
            "data.curriculum[0].from_step must be 0, not 9"},
           {"an unknown layer", run + " --set 'model.layers=[\"rnn\"]'", 2,
            "no layer is called rnn; there are mru, attention, linear, ssm, gru, delta, mlp"},
           {"an unknown scheme", run + " --set model.scheme=lu", 2,
            "no scheme is called lu; there are identity, scalar, ldu, cayley,"},
           {"unknown positions", run + " --set model.positions=xrope", 2,
            "no positions are called xrope; there are none, learned, rope, xpos and mru"},
           {"a wrong shape", run + " --set model.width=17", 2, "width 17 does not divide"},
           {"an unknown device", run + " --device tpu", 2, "device 'tpu' does not exist; use cpu"},
           {"broken JSON", "train --config broken.json" + out, 2,
            "broken.json is not valid JSON at byte"},
           {"a missing configuration", "train --config none.json" + out, 1, "none.json"},
           {"no data", "train --preset shakespeare-small" + out, 1, "no text file is given"},
           {"a missing file", data("none.txt"), 1, "none.txt: cannot be opened: No such file"},
           {"a folder for a file", data("."), 1, "."},
           {"an empty file", data("empty.txt"), 1, "empty.txt is empty"},
           {"text that is no UTF-8", data("latin1.txt"), 1, "UTF-8"},
           {"sequences longer than the data", run + " --set data.length=30000", 1,
            "too few for context 30000"},
           {"a comparison as a run", "train --preset state-tracking" + out, 2,
            "use scangrad compare"},
           {"a model's seeds that are none", "compare --config seeds.json" + out, 2,
            "model 1: seeds must be a list of integers of 0 or more, not [-1]"},
           {"a model's seed twice", "compare --config twice.json" + out, 2,
            "model 1: a seed is there twice among 1, 1"},
           {"an unknown key of a model", "compare --config seed.json" + out, 2, "but no 'seed'"},
           {"unequal budgets", "compare --config unequal.json" + out, 1, "they must be equal"},
           {"a run to begin with that is none", "train --from nowhere" + out, 1,
            "nowhere holds no run"},
           {"two configurations", run + " --from nowhere", 2, "--preset excludes --from"},
           {"a run to resume that is none", "train --resume" + out, 1, "holds no run"},
           {"resume without a folder", "train --resume", 2, "--resume needs --out"},
           {"resume with another configuration", "train --resume --seed 2" + out, 2,
            "only --steps can change"},
       }) {
    write_file(
        "unequal.json",
        R"({"base": {"data": {"kind": "words"}}, "models": [{}, {"config": {"steps": 7}}]})");
    check_refused(mistake);
    CHECK_FALSE(fs::exists("bad_input_run"));
  }
  const Outcome no_folder = program("train " + tests::tiny_run() + " --out empty.txt/run");
  CHECK(no_folder.status == 1);
  CHECK_THAT(no_folder.err,
             ContainsSubstring("scangrad: empty.txt/run: cannot be made: Not a dir"));
}

TEST_CASE("Mistakes with a trained run are refused, and the run is as it was") {
  const fs::path run = "bad_input_trained";
  fs::remove_all(run);
  REQUIRE(program("train " + tests::tiny_run() + " --out " + run.string()).status == 0);
  const std::string on_run = " --run " + run.string();
  write_file("greek.txt", "to be ή όχι");
  for (const Mistake& mistake : std::vector<Mistake>{
           {"training into it again", "train " + tests::tiny_run() + " --out " + run.string(), 1,
            "already holds a run; resume it or choose another folder"},
           {"fewer steps than it has", "train --resume --steps 5 --out " + run.string(), 1,
            "has already 20 steps"},
           {"a prompt of other characters", "sample --prompt 'Ωmega' " + on_run, 1, "'Ω' (U+03A9)"},
           {"an empty prompt", "sample --prompt '' " + on_run, 1, "the prompt is empty"},
           {"an impossible share", "sample --prompt to --top-p 0 " + on_run, 1,
            "top-p 0 is not in"},
           {"fewer tokens than none", "sample --tokens -1 " + on_run, 2,
            "--tokens: -1 is not an integer of 0 or more"},
           {"an impossible temperature", "sample --temperature -1 " + on_run, 1, "temperature"},
           {"text of other characters", "eval --data greek.txt" + on_run, 1, "'ή' (U+03AE)"},
           {"a missing text", "eval --data none.txt" + on_run, 1, "none.txt"},
           {"no such run", "sample --run nowhere", 1, "nowhere holds no run"},
           {"a metric that it has not", "plot " + run.string() + " --metric x --out x.svg", 1,
            "has no metric 'x'; it has"},
           {"a file that is no tensor file", "info greek.txt", 1, "greek.txt"},
       }) {
    check_refused(mistake);
  }
  CHECK(latest_checkpoint(run)->filename() == "step-20");

  // Cut off in the middle, as by a crash of the disk.
  const fs::path weights = *latest_checkpoint(run) / "model.safetensors";
  fs::resize_file(weights, fs::file_size(weights) - 10);
  check_refused({"a truncated checkpoint", "sample" + on_run, 1, "model.safetensors"});
  check_refused({"a truncated checkpoint to resume",
                 "train --resume --steps 30 --out " + run.string(), 1, "model.safetensors"});
}

TEST_CASE("A disk that fills up ends training with a sentence; the last checkpoint goes on") {
  const fs::path run = "bad_input_full";
  fs::remove_all(run);
  REQUIRE(program("train " + tests::tiny_run() + " --out " + run.string()).status == 0);
  const std::string more = "train --resume --steps 30 --out " + run.string();
  // A limit on the size of files (8 blocks of 512 bytes) stands in for the full disk. No TMPDIR:
  // ThreadSanitizer begins with a larger file there, and goes without where it cannot make one.
  const Outcome full = program(more, "export TMPDIR=/none; trap '' XFSZ; ulimit -f 8;");
  CHECK(full.status == 1);
  CHECK_THAT(full.err, ContainsSubstring("cannot be written"));
  CHECK(latest_checkpoint(run)->filename() == "step-20");
  CHECK(program(more).status == 0);
  CHECK(latest_checkpoint(run)->filename() == "step-30");
}
