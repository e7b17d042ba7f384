// A run is reproducible to the bit, whatever interrupts it: killed, stopped or resumed, it ends
// with the weights and the log of a run that nothing disturbed. What cannot be trained says why.
#include <scangrad/scangrad.h>
#include <scangrad/tests/support/catch.h>
#include <scangrad/tests/support/devices.h>
#include <scangrad/train/files.h>
#include <scangrad/train/safetensors.h>
#include <scangrad/train/trainer.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <stdexcept>

namespace fs = std::filesystem;
using namespace scangrad;

namespace {

fs::path fresh(const std::string& name) {
  const fs::path path = fs::path("trainer_test") / name;
  fs::remove_all(path);
  fs::create_directories(path.parent_path());
  return path;
}

/// A text of 3,000 characters with something to learn.
std::string sample_text() {
  std::string text;
  for (unsigned i = 0; text.size() < 3000; i = i * 1103515245u + 12345u) {
    text += (i >> 16) % 3 == 0 ? "to be or not\n" : "that is the question ";
  }
  return text;
}

/// A tiny run of 100 steps, with dropout, so that the generator's state matters.
RunConfig tiny(const std::string& kind) {
  RunConfig config;
  config.model.width = 16;
  config.model.heads = 2;
  config.model.layers = {kind == "words" ? "mru" : "mlp", "mlp"};
  config.model.scheme = "identity";
  config.model.state_size = 32;  // order 4
  config.model.dropout = 0.2;
  config.data.kind = kind;
  config.data.length = 12;
  config.data.eval_lengths =
      kind == "words" ? std::vector<std::int64_t>{20} : std::vector<std::int64_t>{};
  config.data.eval_sequences = 16;
  if (kind == "text") {
    config.data.file = "trainer_test/text.txt";
    fs::create_directories("trainer_test");
    write_file(config.data.file, sample_text());
  }
  config.schedule.warmup_steps = 10;
  config.steps = 100;
  config.batch = 4;
  config.validation_batch = 8;
  config.validate_every = 30;
  config.checkpoint_every = 25;
  config.log_every = 10;
  return config;
}

/// The same, of words whose sequences grow at steps 20 and 57.
RunConfig growing() {
  RunConfig config = tiny("words");
  config.data.curriculum = {{0, 3}, {20, 7}, {57, 12}};
  return config;
}

/// The metrics without what depends on the clock.
std::vector<Metrics> timeless_log(const fs::path& run) {
  std::vector<Metrics> lines = read_metrics(run / "metrics.jsonl");
  for (Metrics& line : lines) {
    std::erase_if(line, [](const auto& entry) { return entry.first == "tokens_per_second"; });
  }
  return lines;
}

/// All bytes of the last checkpoint: weights, moments, generator, loader.
std::string final_state(const fs::path& run) {
  const auto checkpoint = latest_checkpoint(run);
  REQUIRE(checkpoint.has_value());
  std::string all = checkpoint->filename().string();
  for (const char* file : {"model.safetensors", "optimizer.safetensors", "state.json"}) {
    all += read_file(*checkpoint / file);
  }
  return all;
}

void check_same_run(const fs::path& a, const fs::path& b) {
  CHECK(timeless_log(a) == timeless_log(b));
  CHECK(final_state(a) == final_state(b));
}

/// Stops after this many steps of `run`.
TrainingCallbacks stop_after(int steps) {
  return {.should_stop = [left = steps]() mutable { return --left == 0; }};
}

}  // namespace

// Runs in a process of its own, started by the next test; without its variable it has nothing to
// do.
TEST_CASE("(child) a run that is killed after 57 steps") {
  const char* folder = std::getenv("SCANGRAD_TEST_KILLED_RUN");
  if (folder == nullptr) {
    SUCCEED("not a child");
    return;
  }
  const std::string kind = std::getenv("SCANGRAD_TEST_KIND");
  Trainer trainer(tiny(kind), folder);
  trainer.run({.should_stop = [left = 57]() mutable {
    if (--left == 0) kill(getpid(), SIGKILL);
    return false;
  }});
}

TEST_CASE("100 steps = 57 + kill -9 + resume: same weights, moments, generator, loader and log") {
  for (const std::string kind : {"text", "words"}) {
    INFO(kind);
    const fs::path whole = fresh(kind + "_whole"), killed = fresh(kind + "_killed");
    CHECK(Trainer(tiny(kind), whole).run().steps == 100);

    const std::string command =
        "SCANGRAD_TEST_KIND=" + kind + " SCANGRAD_TEST_KILLED_RUN=" + killed.string() + " /proc/" +
        std::to_string(getpid()) +
        "/exe '(child) a run that is killed after 57 steps' >/dev/null 2>&1";
    CHECK(std::system(command.c_str()) != 0);
    CHECK(latest_checkpoint(killed)->filename() == "step-50");
    CHECK(metric(timeless_log(killed).back(), "step") == 50);  // 57 was not logged yet

    auto resumed = Trainer::resume(killed);
    CHECK(resumed->steps_done() == 50);
    CHECK(resumed->run().steps == 100);
    check_same_run(whole, killed);
  }
}

TEST_CASE("A run killed before its first checkpoint resumes from the start") {
  const fs::path whole = fresh("early_whole"), killed = fresh("early_killed");
  Trainer(tiny("words"), whole).run();
  const auto die = [](const Metrics&) { throw std::runtime_error("killed"); };
  CHECK_THROWS_WITH(Trainer(tiny("words"), killed).run({.on_log = die}), "killed");
  write_file(killed / "metrics.jsonl", "{\"step\":10,\"train_loss\":1}\n{\"step\":20,\"tr");
  Trainer::resume(killed)->run();
  check_same_run(whole, killed);
}

TEST_CASE("A stopped run saves at once, whatever the step, and goes on exactly") {
  const fs::path whole = fresh("stop_whole"), stopped = fresh("stop_stopped");
  Trainer(tiny("text"), whole).run();
  const TrainingResult result = Trainer(tiny("text"), stopped).run(stop_after(33));
  CHECK(result.stopped);
  CHECK(result.steps == 33);
  CHECK(latest_checkpoint(stopped)->filename() == "step-33");
  Trainer::resume(stopped)->run();
  check_same_run(whole, stopped);
}

TEST_CASE("A curriculum goes on exactly, wherever it is stopped: within a stage and between two") {
  const fs::path whole = fresh("curriculum_whole");
  Trainer(growing(), whole).run();
  for (const int steps : {19, 20, 21, 56, 57, 80}) {
    INFO(steps);
    const fs::path stopped = fresh("curriculum_stopped");
    Trainer(growing(), stopped).run(stop_after(steps));
    Trainer::resume(stopped)->run();
    check_same_run(whole, stopped);
  }
}

TEST_CASE("A curriculum's steps train on the first tokens of the sequences, and say how many") {
  const fs::path folder = fresh("curriculum_lengths");
  Trainer(growing(), folder).run();
  for (const Metrics& line : read_metrics(folder / "metrics.jsonl")) {
    const double step = metric(line, "step");  // counted from 1
    CHECK(metric(line, "length") == (step <= 20 ? 3 : step <= 57 ? 7 : 12));
  }
  // Lasting one stage, it is the run without a curriculum.
  RunConfig config = tiny("words");
  config.data.curriculum = {{0, 12}};
  const fs::path one = fresh("curriculum_one"), none = fresh("curriculum_none");
  Trainer(config, one).run();
  Trainer(tiny("words"), none).run();
  CHECK(final_state(one) == final_state(none));
  CHECK(final_state(one) != final_state(folder));
}

TEST_CASE("Two trainers in one process do not disturb each other") {
  const fs::path a = fresh("pair_a"), b = fresh("pair_b"), alone = fresh("pair_alone");
  Trainer(tiny("text"), alone).run();
  Trainer first(tiny("text"), a), second(tiny("text"), b);
  first.run(stop_after(40));
  second.run();
  first.run();
  check_same_run(alone, a);
  check_same_run(alone, b);
}

TEST_CASE("Training learns: the text's validation loss falls below that of guessing letters") {
  RunConfig config = tiny("text");
  config.model.dropout = 0;
  std::vector<double> logged;
  int validations = 0;
  const fs::path folder = fresh("learns");
  Trainer trainer(config, folder);
  const double before = metric(trainer.evaluate(), "val_loss");
  CHECK(before ==
        Approx(std::log(static_cast<double>(trainer.config().model.vocab_size))).margin(0.1));
  const TrainingResult result =
      trainer.run({.on_log = [&](const Metrics& m) { logged.push_back(metric(m, "train_loss")); },
                   .on_validation =
                       [&](const Metrics& m) {
                         ++validations;
                         CHECK(std::isfinite(metric(m, "val_loss")));
                       }});
  CHECK(logged.size() == 10);  // every tenth step
  CHECK(validations == 4);     // 30, 60, 90 and the end
  CHECK(result.best_loss < before - 0.5);
  CHECK(metric(trainer.evaluate(), "val_loss") == metric(result.validation, "val_loss"));
}

TEST_CASE("Words report accuracy at each length, at chance before training") {
  Trainer trainer(tiny("words"), fresh("chance"));
  const Metrics metrics = trainer.evaluate();
  CHECK(metric(metrics, "val_loss") == Approx(std::log(6.0)).margin(0.1));
  for (const char* key : {"accuracy_12", "last_accuracy_12", "accuracy_20", "last_accuracy_20"}) {
    CHECK(metric(metrics, key) < 0.6);
  }
  CHECK(metric(metrics, "log10_state_norm") == Approx(std::log10(2.0)));  // of I, of order 4
}

TEST_CASE("Accumulated batches make the same step as one batch of all of them") {
  RunConfig one = tiny("words"), parts = tiny("words");
  one.model.dropout = parts.model.dropout = 0;
  one.steps = parts.steps = 5;
  one.batch = 8;
  parts.batch = 2;
  parts.optimizer.accumulate = 4;
  Trainer a(one, fresh("one_batch")), b(parts, fresh("parts"));
  CHECK(a.run().train_loss == Approx(b.run().train_loss).epsilon(1e-5));
}

TEST_CASE("A captured step is the same step: equal weights, moments and log to the bit") {
  for (const Device device : devices()) {
    for (const std::string& kind : reduced<std::string>({"text", "words", "growing"}, {"text"})) {
      INFO(to_string(device) << " " << kind);
      RunConfig config = kind == "growing" ? growing() : tiny(kind);
      config.device = device.is_cpu() ? "cpu" : "cuda";
      config.steps = 40;  // validated at 30, where other work comes between two replays
      if (compute_sanitizer()) {
        config.steps = 8;
        config.validate_every = 6;
      }
      config.optimizer.accumulate = 2;
      const fs::path captured = fresh(kind + "_captured"), started = fresh(kind + "_started");
      Trainer(config, captured).run();
      config.capture = false;
      Trainer(config, started).run();
      check_same_run(captured, started);
    }
  }
}

TEST_CASE("A thousand steps hold no more memory than the first ones") {
  for (const Device device : devices()) {
    INFO(to_string(device));
    RunConfig config = tiny("words");
    config.device = device.is_cpu() ? "cpu" : "cuda";
    config.steps = compute_sanitizer() ? 40 : 1000;
    config.log_every = compute_sanitizer() ? 1 : 10;
    config.validate_every = config.steps / 10;
    std::vector<std::size_t> active;
    Trainer(config, fresh("memory")).run({.on_log = [&](const Metrics&) {
      active.push_back(memory_stats(device).active);
    }});
    REQUIRE(active.size() == static_cast<std::size_t>(config.steps / config.log_every));
    CHECK(active.back() == active[20]);
    CHECK(*std::max_element(active.begin() + 20, active.end()) == active[20]);
  }
}

TEST_CASE("A run in another precision learns as well, and keeps its weights in f32") {
  const double exact = Trainer(tiny("words"), fresh("fp32")).run().train_loss;
  for (const std::string precision : {"tf32", "bf16"}) {
    INFO(precision);
    RunConfig config = tiny("words");
    config.precision = precision;
    const fs::path folder = fresh(precision);
    const TrainingResult result = Trainer(config, folder).run();
    CHECK(result.train_loss == Approx(exact).epsilon(0.05));
    CHECK((precision == "tf32") == (result.train_loss == exact));  // a CPU has no TF32
    for (const auto& [name, tensor] : open_run(folder).model->state_dict()) {
      CHECK(tensor.dtype() == DType::f32);
    }
    Trainer::resume(folder, 110)->run();
  }
}

TEST_CASE("A finished run is opened with its weights and its tokenizer") {
  const fs::path folder = fresh("opened");
  Trainer trainer(tiny("text"), folder);
  trainer.run();
  OpenRun run = open_run(folder);
  CHECK(run.step == 100);
  CHECK_FALSE(run.model->is_training());
  CHECK(run.tokenizer->to_json() == trainer.data().tokenizer->to_json());
  const RunData data = open_run_data(run.config, run.tokenizer);
  CHECK(metric(evaluate_run(*run.model, data, run.config), "val_loss") ==
        metric(trainer.evaluate(), "val_loss"));
}

TEST_CASE("A resumed run can be made longer") {
  RunConfig config = tiny("words");
  config.steps = 10;
  const fs::path folder = fresh("longer");
  Trainer(config, folder).run();
  CHECK(Trainer::resume(folder)->run().steps == 10);  // nothing is left to do
  CHECK(Trainer::resume(folder, 15)->run().steps == 15);
  CHECK(open_run(folder).config.steps == 15);
  CHECK_THROWS_WITH(Trainer::resume(folder, 12), ContainsSubstring("has already 15 steps"));
}

TEST_CASE("A loss that is no longer finite ends the run with a sentence; the checkpoint stays") {
  RunConfig config = tiny("words");
  config.schedule = {.kind = "constant",
                     .rate = 1e30,
                     .warmup_rate = 1e-3,
                     .warmup_steps = 30,
                     .update_every = 30};
  config.optimizer.clip = 0;
  const fs::path folder = fresh("diverges");
  Trainer trainer(config, folder);
  CHECK_THROWS_AS(trainer.run(), DivergenceError);
  CHECK(latest_checkpoint(folder)->filename() == "step-25");
  const Metrics last = read_metrics(folder / "metrics.jsonl").back();
  CHECK(metric(last, "step") == 40);  // the first line after the rate of 1e30
  CHECK_FALSE(std::isfinite(metric(last, "train_loss")));
  for (const auto& [name, tensor] : open_run(folder).model->state_dict()) {
    for (const float value : tensor.to_vector<float>()) REQUIRE(std::isfinite(value));
  }
}

TEST_CASE("What cannot be trained is refused with the reason, and no run is left behind") {
  const fs::path folder = fresh("refused");
  RunConfig config = tiny("text");
  config.data.file = "trainer_test/none.txt";
  CHECK_THROWS_WITH(Trainer(config, folder),
                    ContainsSubstring("none.txt: cannot be opened: No such file"));
  config.data.file = "trainer_test/empty.txt";
  write_file(config.data.file, "");
  CHECK_THROWS_WITH(Trainer(config, folder), ContainsSubstring("empty.txt is empty"));
  config.data.file = "";
  CHECK_THROWS_WITH(Trainer(config, folder), ContainsSubstring("no text file is given"));
  config = tiny("text");
  config.data.length = 5000;
  CHECK_THROWS_WITH(Trainer(config, folder), ContainsSubstring("too few for context 5000"));
  config = tiny("text");
  config.device = "tpu";
  CHECK_THROWS_AS(Trainer(config, folder), ValueError);
  config = tiny("text");
  config.model.vocab_size = 3;
  CHECK_THROWS_WITH(Trainer(config, folder), ContainsSubstring("model.vocab_size is 3"));
  CHECK_FALSE(fs::exists(folder));

  CHECK_THROWS_WITH(Trainer::resume(folder), ContainsSubstring("holds no run"));
  CHECK_THROWS_WITH(open_run(folder), ContainsSubstring("holds no run"));
  { Trainer looked_at(tiny("text"), folder); }
  CHECK_FALSE(fs::exists(folder));  // written by `run` alone

  CHECK_THROWS_AS(Trainer(tiny("text"), folder).run({.on_log = [](const Metrics&) { throw 1; }}),
                  int);
  CHECK_THROWS_WITH(Trainer(tiny("text"), folder), ContainsSubstring("already holds a run"));
  CHECK_THROWS_WITH(open_run(folder), ContainsSubstring("has no checkpoint yet"));
}

TEST_CASE("A run whose files somebody has spoiled is refused by the file's name") {
  const fs::path folder = fresh("spoiled");
  Trainer(tiny("text"), folder).run(stop_after(1));
  for (const char* tokenizer : {"{\"kind\": 5}", "{\"kind\": \"char\"}", "[]", "{"}) {
    write_file(folder / "tokenizer.json", tokenizer);
    CHECK_THROWS_AS(open_run(folder), IoError);
    CHECK_THROWS_WITH(open_run(folder), ContainsSubstring("tokenizer.json: not a tokenizer"));
  }
  fs::remove(folder / "config.json");
  fs::create_directory(folder / "config.json");
  CHECK_THROWS_WITH(open_run(folder), ContainsSubstring("config.json: cannot be read: Is a dir"));
}

TEST_CASE("What an earlier run left is never taken for a new one's") {
  const fs::path folder = fresh("leftover");
  RunConfig config = tiny("words");
  config.steps = 10;
  Trainer(config, folder).run();
  fs::remove(folder / "config.json");
  config.seed = 2;
  CHECK_THROWS_WITH(Trainer(config, folder), ContainsSubstring("holds checkpoints of an earlier"));
  fs::remove_all(folder / "checkpoints");
  CHECK_THROWS_WITH(Trainer(config, folder),
                    ContainsSubstring("holds metrics.jsonl of an earlier"));
  fs::remove(folder / "metrics.jsonl");
  CHECK(Trainer(config, folder).run().steps == 10);
}

TEST_CASE("Only one trainer at a time goes on with a run") {
  const fs::path folder = fresh("shared");
  Trainer first(tiny("words"), folder), second(tiny("words"), folder);
  first.run(stop_after(5));
  CHECK_THROWS_WITH(second.run(), ContainsSubstring("is in use"));
  CHECK_THROWS_WITH(Trainer::resume(folder), ContainsSubstring("is in use"));
  CHECK(open_run(folder).step == 5);  // reading is free
  CHECK(first.run(stop_after(5)).steps == 10);
}

TEST_CASE("Of two trainers made for one folder, the later finds the earlier one's run there") {
  const fs::path folder = fresh("second");
  Trainer second(tiny("words"), folder);
  Trainer(tiny("words"), folder).run(stop_after(5));
  CHECK_THROWS_WITH(second.run(), ContainsSubstring("already holds a run"));
}

TEST_CASE("A run has its own randomness: it neither sees nor moves the caller's generator") {
  const fs::path alone = fresh("random_alone"), watched = fresh("random_watched");
  Trainer(tiny("text"), alone).run();
  manual_seed(11);
  const auto draws = [](const Metrics&) { uniform({3}); };  // as one that samples would
  Trainer(tiny("text"), watched).run({.on_log = draws});
  CHECK(default_generator().state().seed == 11);
  CHECK(default_generator().state().offset == 10);  // one Philox block for each of ten lines
  check_same_run(alone, watched);
}

TEST_CASE("A run whose data have changed is not resumed; with the data restored it is") {
  const fs::path whole = fresh("data_whole"), changed = fresh("data_changed");
  const RunConfig config = tiny("text");
  Trainer(config, whole).run();
  Trainer(config, changed).run(stop_after(33));
  const std::string text = sample_text();
  std::string other = text;
  std::swap(other[0], other[1]);  // of the same length and characters
  for (const std::string& edited : {other, text + "to be", text.substr(1)}) {
    write_file(config.data.file, edited);
    CHECK_THROWS_AS(Trainer::resume(changed), ValueError);
    CHECK_THROWS_WITH(Trainer::resume(changed), ContainsSubstring("text.txt has changed since"));
  }
  write_file(config.data.file, text);
  Trainer::resume(changed)->run();
  check_same_run(whole, changed);
}

TEST_CASE("Text with characters that the trained model does not know is refused") {
  const fs::path folder = fresh("unknown");
  Trainer(tiny("text"), folder).run();
  write_file("trainer_test/text.txt", sample_text() + "¿");
  CHECK_THROWS_WITH(Trainer::resume(folder), ContainsSubstring("character '¿' (U+00BF) in line"));
}
