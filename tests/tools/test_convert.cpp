// A model of Hugging Face's becomes a run like any other, and a run becomes such a model.
#include <scangrad/tests/support/catch.h>
#include <scangrad/tests/tools/program.h>
#include <scangrad/train/config.h>
#include <scangrad/train/files.h>
#include <scangrad/train/token_file.h>

#include <filesystem>
#include <string>
#include <vector>

namespace fs = std::filesystem;
using namespace scangrad;
using tests::Outcome;
using tests::program;

namespace {

const std::string golden = std::string(SCANGRAD_SOURCE_DIR) + "/tests/golden/gpt2";

std::string fresh(const std::string& name) {
  const fs::path path = fs::path("convert_test") / name;
  fs::remove_all(path);
  return path.string();
}

}  // namespace

TEST_CASE("From Hugging Face's files to a run and back, the tensors are the same") {
  const std::string run = fresh("run"), back = fresh("back"), again = fresh("again");
  const Outcome in = program("convert --hugging-face " + golden + " --out " + run);
  INFO(in.err);
  CHECK(in.status == 0);
  CHECK_THAT(in.out, ContainsSubstring("4116 parameters, without a tokenizer"));
  CHECK_THAT(program("info " + run).out, ContainsSubstring("transformer.h.3.mlp.c_proj.bias"));
  const Outcome out = program("convert --run " + run + " --out " + back);
  CHECK(out.status == 0);
  CHECK_THAT(out.out, ContainsSubstring("without a tokenizer (the run has none)"));
  CHECK(program("convert --hugging-face " + back + " --out " + again).status == 0);
  const std::string weights = "/checkpoints/step-0/model.safetensors";
  CHECK(read_file(run + weights) == read_file(again + weights));
}

TEST_CASE("A converted run is trained on, and what it became is converted back") {
  const std::string run = fresh("tune"), tuned = fresh("tuned"), out = fresh("tuned_out");
  REQUIRE(program("convert --hugging-face " + golden + " --out " + run).status == 0);
  const RunConfig config = load_run_config(fs::path(run) / "config.json");
  std::vector<std::int32_t> tokens;
  for (std::int32_t i = 0; i < 400; ++i) {
    tokens.push_back(i * i % static_cast<std::int32_t>(config.model.vocab_size));
  }
  write_token_file("convert_test/tokens.bin", tokens, config.model.vocab_size);
  const Outcome trained =
      program("train --from " + run +
              " --data convert_test/tokens.bin --steps 3 --set batch=2 --out " + tuned);
  INFO(trained.err);
  CHECK(trained.status == 0);
  CHECK(program("convert --run " + tuned + " --out " + out).status == 0);
  CHECK(program("convert --hugging-face " + out + " --out " + fresh("tuned_back")).status == 0);
  CHECK(read_file(tuned + "/checkpoints/step-3/model.safetensors") !=
        read_file(run + "/checkpoints/step-0/model.safetensors"));
}

TEST_CASE("A trained run is written for Hugging Face, biases as zeros, and read again") {
  const std::string run = fresh("trained"), out = fresh("trained_out");
  const std::string gpt2 =
      R"( --set 'model.layers=["attention","mlp"]' --set model.positions=learned)";
  REQUIRE(program("train " + tests::tiny_run(10) + gpt2 + " --out " + run).status == 0);
  CHECK_THAT(program("convert --run " + run + " --out " + out).out,
             ContainsSubstring("trained for 10 steps"));
  CHECK_THAT(program("info " + out + "/model.safetensors").out,
             ContainsSubstring("transformer.h.0.attn.c_attn.bias"));
  CHECK(program("convert --hugging-face " + out + " --out " + fresh("trained_back")).status == 0);
}

TEST_CASE("What cannot be converted is refused in a sentence, and nothing is overwritten") {
  const std::string out = fresh("refused"), mru = fresh("mru");
  REQUIRE(program("train " + tests::tiny_run(10) + " --out " + mru).status == 0);
  struct Mistake {
    std::string arguments;
    int status;
    const char* sentence;
  };
  for (const Mistake& mistake : std::vector<Mistake>{
           {"--out " + out, 2, "required"},
           {"--hugging-face " + golden + " --run " + mru + " --out " + out, 2, "--run"},
           {"--hugging-face " + golden + " --out " + mru, 1, "is not empty; name another folder"},
           {"--hugging-face nowhere --out " + out, 1, "nowhere/config.json: cannot be opened"},
           {"--run nowhere --out " + out, 1, "nowhere holds no run"},
           {"--run " + mru + " --out " + out, 1, "layers are attention and mlp in turn"},
       }) {
    INFO(mistake.arguments);
    const Outcome outcome = program("convert " + mistake.arguments);
    CHECK(outcome.status == mistake.status);
    CHECK_THAT(outcome.err, ContainsSubstring(mistake.sentence));
    CHECK_FALSE(fs::exists(fs::path(out) / "model.safetensors"));
  }
}
