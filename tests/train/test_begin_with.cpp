// A run that begins with another's weights: those and its tokenizer are taken over, all else is a
// new run's, and the other stays as it is.
#include <scangrad/scangrad.h>
#include <scangrad/tests/support/catch.h>
#include <scangrad/train/files.h>
#include <scangrad/train/safetensors.h>
#include <scangrad/train/trainer.h>

#include <filesystem>
#include <string>

namespace fs = std::filesystem;
using namespace scangrad;

namespace {

fs::path fresh(const std::string& name) {
  const fs::path path = fs::path("begin_with_test") / name;
  fs::remove_all(path);
  fs::create_directories(path.parent_path());
  return path;
}

/// Ten steps on a text of the letters a to e.
RunConfig tiny() {
  const fs::path text = "begin_with_test/letters.txt";
  fs::create_directories(text.parent_path());
  std::string letters;
  for (int i = 0; i < 600; ++i) letters += static_cast<char>('a' + i * i % 7 % 5);
  write_file(text, letters + "abcde");
  RunConfig config;
  config.model.width = 8;
  config.model.heads = 1;
  config.model.layers = {"ssm", "mlp"};
  config.data.file = text;
  config.data.length = 8;
  config.schedule.warmup_steps = 0;
  config.steps = 10;
  config.batch = 4;
  config.validate_every = config.checkpoint_every = 5;
  return config;
}

std::string weights(const fs::path& run) {
  return read_file(*latest_checkpoint(run) / "model.safetensors");
}

void check_weights_of(Trainer& trainer, const fs::path& run) {
  for (const auto& [name, tensor] :
       load_safetensors(*latest_checkpoint(run) / "model.safetensors").tensors) {
    for (const auto& [own_name, own] : trainer.model().named_parameters()) {
      if (name == own_name) CHECK(own.to_vector<float>() == tensor.to_vector<float>());
    }
  }
}

TrainingCallbacks stop_after(int steps) {
  return {.should_stop = [left = steps]() mutable { return --left == 0; }};
}

}  // namespace

TEST_CASE("The first weights and the tokenizer are the other run's, and that one stays as it is") {
  const fs::path first = fresh("first"), second = fresh("second");
  Trainer(tiny(), first).run();
  const std::string before = weights(first);
  RunConfig config = tiny();
  config.from = first;
  config.seed = 2;
  config.data.file = "begin_with_test/fewer.txt";  // its own characters would be others
  write_file(config.data.file, std::string(100, 'b') + std::string(100, 'd'));
  Trainer trainer(config, second);
  CHECK(trainer.steps_done() == 0);
  check_weights_of(trainer, first);
  CHECK(trainer.run().steps == 10);
  CHECK(weights(second) != before);
  CHECK(weights(first) == before);
  CHECK(read_file(second / "tokenizer.json") == read_file(first / "tokenizer.json"));
}

TEST_CASE(
    "Such a run goes on exactly, also from before its first checkpoint; then without the other") {
  const fs::path first = fresh("goes_on_first"), whole = fresh("goes_on_whole"),
                 cut = fresh("goes_on_cut"), early = fresh("goes_on_early");
  Trainer(tiny(), first).run();
  RunConfig config = tiny();
  config.from = first;
  Trainer(config, whole).run();
  Trainer(config, early).run(stop_after(3));
  fs::remove_all(early / "checkpoints");  // as if killed before the first one
  Trainer::resume(early)->run();
  CHECK(weights(early) == weights(whole));
  Trainer(config, cut).run(stop_after(7));
  fs::remove_all(first);
  Trainer::resume(cut)->run();
  CHECK(weights(cut) == weights(whole));
}

TEST_CASE("Weights of another architecture are refused by the first tensor that differs") {
  const fs::path first = fresh("other_first"), second = fresh("other_second");
  Trainer(tiny(), first).run();
  const auto refusal = [&](const auto& change) -> std::string {
    RunConfig config = tiny();
    config.from = first;
    change(config);
    try {
      Trainer(config, second);
    } catch (const Error& error) {
      return error.what();
    }
    return "none";
  };
  CHECK_THAT(refusal([](RunConfig& c) { c.model.width = 16; }),
             ContainsSubstring("transformer.wte.weight has shape [5,8]"));
  CHECK_THAT(refusal([](RunConfig& c) {
               c.model.layers = {"gru", "mlp"};
             }),
             ContainsSubstring("another model's: it has no tensor transformer.h.0.gru.weight_ih"));
  CHECK_THAT(refusal([](RunConfig& c) { c.from = "begin_with_test/nowhere"; }),
             ContainsSubstring("nowhere holds no run"));
  CHECK_THAT(refusal([&](RunConfig&) { fs::remove_all(first / "checkpoints"); }),
             ContainsSubstring("has no checkpoint yet"));
  CHECK_FALSE(fs::exists(second));
}
