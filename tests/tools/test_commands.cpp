// A person trains a model, looks at it, samples from it and goes on with it, by the program alone.
#include <scangrad/tests/support/catch.h>
#include <scangrad/tests/tools/program.h>
#include <scangrad/train/checkpoint.h>
#include <scangrad/train/config.h>
#include <scangrad/train/files.h>
#include <scangrad/train/metrics.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <string>

namespace fs = std::filesystem;
using namespace scangrad;
using tests::Outcome;
using tests::program;

namespace {

fs::path fresh(const std::string& name) {
  const fs::path path = fs::path("tools_test") / name;
  fs::remove_all(path);
  return path;
}

/// A finished tiny run, trained once.
const fs::path& finished_run() {
  static const fs::path run = [] {
    const fs::path folder = fresh("finished");
    const Outcome outcome = program("train " + tests::tiny_run() + " --out " + folder.string());
    INFO(outcome.err);
    REQUIRE(outcome.status == 0);
    return folder;
  }();
  return run;
}

std::string final_state(const fs::path& run) {
  const auto checkpoint = latest_checkpoint(run);
  REQUIRE(checkpoint.has_value());
  std::string all = checkpoint->filename().string();
  for (const char* file : {"model.safetensors", "optimizer.safetensors", "state.json"}) {
    all += read_file(*checkpoint / file);
  }
  return all;
}

bool has_lines(const fs::path& file) { return fs::exists(file) && fs::file_size(file) > 0; }

}  // namespace

TEST_CASE("train leaves a run: its configuration, metrics and a checkpoint of the last step") {
  const fs::path& run = finished_run();
  for (const char* file : {"config.json", "tokenizer.json", "metrics.jsonl"}) {
    CHECK(fs::exists(run / file));
  }
  CHECK(latest_checkpoint(run)->filename() == "step-20");
  CHECK(read_metrics(run / "metrics.jsonl").size() == 4);  // every fifth step
}

TEST_CASE("Where stderr is no terminal, progress is one plain line a validation") {
  const Outcome outcome =
      program("train " + tests::tiny_run() + " --out " + fresh("progress").string());
  CHECK_THAT(outcome.err, ContainsSubstring("step 10/20  train_loss"));
  CHECK_THAT(outcome.err, ContainsSubstring("step 20/20  train_loss"));
  CHECK(outcome.err.find('\r') == std::string::npos);
  CHECK_THAT(outcome.out, ContainsSubstring("after 20 steps"));
}

TEST_CASE("sample continues the prompt; the same seed draws the same text") {
  const std::string command = "sample --run " + finished_run().string() + " --tokens 30";
  const Outcome a = program(command + " --prompt 'to be'");
  CHECK(a.status == 0);
  CHECK(a.out.substr(0, 5) == "to be");
  CHECK(a.out.size() == 5 + 30 + 1);
  CHECK(program(command + " --prompt 'to be'").out == a.out);
  CHECK(program(command + " --prompt 'to be' --seed 2").out != a.out);
  CHECK(program(command + " --prompt 'to be' --temperature 0 --seed 3").out ==
        program(command + " --prompt 'to be' --top-k 1 --seed 4").out);
}

TEST_CASE("sample says on stderr how fast it drew, and that nothing but text is on stdout") {
  const Outcome outcome = program("sample --run " + finished_run().string() + " --tokens 7");
  CHECK_THAT(outcome.err, ContainsSubstring("7 tokens in "));
  CHECK_THAT(outcome.err, ContainsSubstring(" tokens/s\n"));
  CHECK(outcome.out.find("tokens") == std::string::npos);
}

TEST_CASE(
    "sample goes on past the last of learned positions, and takes a prompt longer than they are") {
  const fs::path run = fresh("learned");
  const Outcome trained =
      program("train " + tests::tiny_run() +
              " --set model.positions=learned --set model.context=16 --out " + run.string());
  INFO(trained.err);
  REQUIRE(trained.status == 0);
  const Outcome outcome =
      program("sample --run " + run.string() + " --tokens 40 --prompt 'to be or not to be that'");
  CHECK(outcome.status == 0);
  CHECK(outcome.out.size() == 23 + 40 + 1);
}

TEST_CASE("sample --interactive continues every line by itself, and a bad one costs a message") {
  const std::string run = "sample --run " + finished_run().string() + " --tokens 5 ";
  const std::string lines = fresh("prompts.txt").string();
  write_file(lines, "to be\n\nWHAT?\nthat is\n");
  const Outcome outcome = program(run + "--interactive < " + lines);
  CHECK(outcome.status == 0);
  CHECK_THAT(outcome.err, ContainsSubstring("the prompt is empty"));
  CHECK_THAT(outcome.err, ContainsSubstring("'W'"));
  const std::size_t second = outcome.out.find("\nthat is");
  CHECK(outcome.out.substr(0, 5) == "to be");
  REQUIRE(second != std::string::npos);
  CHECK(outcome.out.size() == 5 + 5 + 1 + 7 + 5 + 1);
  CHECK(program(run + "--prompt 'to be'").out == outcome.out.substr(0, 11));
  CHECK(program(run + "--interactive --prompt x").status == 2);
}

TEST_CASE("eval gives the validation loss of training, and that of another text") {
  const std::string run = finished_run().string();
  const Outcome own = program("eval --run " + run + " --json");
  const auto logged = read_metrics(fs::path(run) / "metrics.jsonl").back();
  CHECK_THAT(own.out, ContainsSubstring("\"step\":20"));
  const std::string key = "\"val_loss\":";
  CHECK(std::stod(own.out.substr(own.out.find(key) + key.size())) ==
        Approx(metric(logged, "val_loss")).epsilon(1e-12));
  const Outcome other = program("eval --run " + run + " --data " + tests::text_file());
  CHECK(other.status == 0);
  CHECK_THAT(other.out, ContainsSubstring("bits_per_token"));
}

TEST_CASE("info tells what a run and a tensor file hold, and what the build can do") {
  const fs::path& run = finished_run();
  const Outcome whole = program("info " + run.string());
  CHECK_THAT(whole.out, ContainsSubstring("\"width\": 16"));
  CHECK_THAT(whole.out, ContainsSubstring("transformer.wte.weight"));
  const Outcome file =
      program("info " + (*latest_checkpoint(run) / "optimizer.safetensors").string());
  CHECK_THAT(file.out, ContainsSubstring("transformer.wte.weight.exp_avg"));
  CHECK_THAT(program("info").out, ContainsSubstring("matmul_scan"));
}

TEST_CASE("plot draws a metric of several runs into one SVG") {
  const std::string run = finished_run().string();
  const fs::path svg = fresh("curves.svg");
  CHECK(program("plot " + run + " " + run + " --metric train_loss --out " + svg.string()).status ==
        0);
  const std::string text = read_file(svg);
  CHECK(text.substr(0, 4) == "<svg");
  CHECK_THAT(text, ContainsSubstring(">finished<"));
}

TEST_CASE("A dry run prints the whole configuration and writes nothing") {
  const fs::path run = fresh("dry");
  const Outcome outcome =
      program("train " + tests::tiny_run() + " --dry-run --out " + run.string());
  CHECK(outcome.status == 0);
  CHECK_THAT(outcome.out, ContainsSubstring("\"vocab_size\": 14"));
  CHECK_THAT(outcome.out, ContainsSubstring("\"curriculum\": []"));
  CHECK_THAT(outcome.err, ContainsSubstring("nothing is written"));
  CHECK_FALSE(fs::exists(run));
}

TEST_CASE("Ctrl-C saves a checkpoint from which the run goes on exactly") {
  for (const int signal : {SIGINT, SIGTERM}) {
    INFO(signal);
    const fs::path run = fresh("interrupted"), whole = fresh("undisturbed");
    // At a constant rate, as the schedule would see how long the run is.
    const std::string more = " --set schedule.kind=constant --set log_every=1 --out ";
    const int process =
        tests::start_program("train " + tests::tiny_run(1000000) + more + run.string());
    for (int i = 0; i < 6000 && !has_lines(run / "metrics.jsonl"); ++i) usleep(10000);
    kill(process, signal);
    const Outcome stopped = tests::finish_program(process);
    CHECK(stopped.status == 1);
    CHECK_THAT(stopped.err, ContainsSubstring("interrupted after step"));
    CHECK_THAT(stopped.err, ContainsSubstring("train --out " + run.string() + " --resume"));

    const std::string name = latest_checkpoint(run)->filename().string();
    const int steps = std::stoi(name.substr(5)) + 7;
    CHECK(program("train --resume --out " + run.string() + " --steps " + std::to_string(steps))
              .status == 0);
    CHECK(program("train " + tests::tiny_run(steps) + more + whole.string()).status == 0);
    CHECK(final_state(run) == final_state(whole));
  }
}

TEST_CASE("compare trains every model on equally many tokens; a table, curves, and it resumes") {
  const fs::path out = fresh("compare");
  const std::string command =
      "compare --preset state-tracking --steps 4 --set batch=2 --set "
      "data.eval_sequences=8 --set validate_every=2 --set model.width=32";
  const Outcome outcome = program(command + " --out " + out.string());
  INFO(outcome.err);
  CHECK(outcome.status == 0);
  for (const char* model : {"MRU (cayley)", "attention (rope)", "FFN"}) {
    CHECK_THAT(outcome.out, ContainsSubstring(model));
    CHECK_THAT(read_file(out / "compare.svg"), ContainsSubstring(model));
  }
  CHECK_THAT(outcome.out, ContainsSubstring("last token at 64"));

  fs::remove_all(out / "ffn");  // as if interrupted before the last model
  const Outcome resumed = program(command + " --resume --json --out " + out.string());
  CHECK(resumed.status == 0);
  CHECK(resumed.err.find("cayley") == std::string::npos);  // is not trained again
  CHECK_THAT(resumed.out, ContainsSubstring("\"model\":\"FFN\""));
  CHECK_THAT(program(command + " --out " + out.string()).err, ContainsSubstring("is not empty"));
}

TEST_CASE("A model of a comparison is trained with each of its seeds; its row is their mean") {
  const fs::path out = fresh("seeds");
  for (const char* more : {"seeds-one", "seeds-two"}) fresh(more);
  const fs::path file = fresh("seeds.json");
  write_file(file, R"({"base": {"model": {"layers": ["mlp"], "width": 16}, "batch": 2, "steps": 4,
                       "data": {"kind": "words", "length": 4, "eval_sequences": 8}},
                       "models": [{"name": "a", "seeds": [3, 5]}, {"name": "b"}]})");
  const std::string command = "compare --config " + file.string() + " --out " + out.string();
  const Outcome outcome = program(command);
  INFO(outcome.err);
  CHECK(outcome.status == 0);
  for (const char* run : {"a-seed-3", "a-seed-5", "b"}) {
    CHECK(latest_checkpoint(out / run)->filename() == "step-4");
  }
  CHECK(load_run_config(out / "a-seed-5" / "config.json").seed == 5);
  CHECK_THAT(outcome.out, ContainsSubstring("a (2 seeds) "));
  CHECK_THAT(outcome.out, ContainsSubstring(" to "));
  CHECK_THAT(read_file(out / "compare.svg"), ContainsSubstring(">a (2 seeds)<"));

  fs::remove_all(out / "a-seed-5");  // as if interrupted before it
  const Outcome json = program(command + " --resume --json");
  CHECK_THAT(json.out, ContainsSubstring(R"({"model":"a","seed":5,)"));
  CHECK(json.err.find("seed 3") == std::string::npos);  // is not trained again
  CHECK_THAT(json.out, ContainsSubstring("\"best_loss\":"));

  // Options decide over the file.
  const Outcome one = program(command + "-one --seed 7");
  CHECK(one.status == 0);
  CHECK(load_run_config(fs::path(out.string() + "-one") / "a" / "config.json").seed == 7);
  const Outcome two = program(command + "-two --seeds 8,9 --json");
  CHECK(two.status == 0);
  CHECK(std::count(two.out.begin(), two.out.end(), '\n') == 4);
}

TEST_CASE("A model that diverges is a row of the comparison, and the others are trained") {
  const fs::path out = fresh("diverging");
  const fs::path file = fresh("diverging.json");
  write_file(file, R"({"base": {"model": {"layers": ["mlp"], "width": 16}, "batch": 2, "steps": 20,
                       "data": {"kind": "words", "length": 4, "eval_sequences": 8}},
                       "models": [{"name": "a", "config": {"optimizer": {"clip": 0},
                                   "schedule": {"rate": 1e30, "warmup_steps": 0}}},
                                  {"name": "b"}]})");
  const std::string command = "compare --config " + file.string() + " --out " + out.string();
  const Outcome outcome = program(command);
  INFO(outcome.err);
  CHECK(outcome.status == 0);
  CHECK_THAT(outcome.err, ContainsSubstring("a: training: at step 10 the loss is"));
  CHECK(std::count(outcome.out.begin(), outcome.out.end(), '\n') == 3);
  CHECK_THAT(read_file(out / "compare.svg"), ContainsSubstring(">b<"));
  const Outcome again = program(command + " --resume");
  CHECK(again.status == 0);
  CHECK(again.out == outcome.out);
  CHECK(again.err.find("training") == std::string::npos);
}

TEST_CASE("Benchmarks print one JSON object a line") {
  const Outcome scan = program("bench scan --shape 2,64,4 --budget 1 --json");
  for (const char* ratio :
       {"\"both_ratio_to_floor\":", "\"scaled_both_ratio\":", "\"ldu_both_ratio_to_floor\":"}) {
    CHECK_THAT(scan.out, ContainsSubstring(ratio));
  }
  const Outcome train = program("bench train " + tests::tiny_run() + " --budget 1 --json");
  CHECK_THAT(train.out, ContainsSubstring("\"tokens_per_second\":"));
  const Outcome op = program("bench op --op add --megabytes 1 --budget 1 --json");
  CHECK_THAT(op.out, ContainsSubstring("\"ratio_to_floor\":"));
}
