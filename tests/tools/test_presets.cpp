// Every preset is what its name says and trains. The runs are cut down by options, as a person
// would do to try one.
#include <scangrad/tests/support/catch.h>
#include <scangrad/tests/tools/program.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

namespace fs = std::filesystem;
using namespace scangrad;
using nlohmann::json;
using tests::Outcome;
using tests::program;

namespace {

using Names = std::vector<std::string>;

Names repeated(const Names& block, int times) {
  Names all;
  for (int i = 0; i < times; ++i) all.insert(all.end(), block.begin(), block.end());
  return all;
}

Names with_four_mlps(const std::string& mixer) { return {mixer, "mlp", "mlp", "mlp", "mlp"}; }

/// A run's preset and what its dry run must print.
struct Preset {
  std::string name;
  Names layers;
  std::int64_t width, length, batch, steps;
  json model = json::object();  // further keys of `model`
};

std::vector<Preset> presets() {
  std::vector<Preset> all;
  const auto text = [&](const std::string& name, const Names& layers, std::int64_t width,
                        const json& model) {
    all.push_back({name, layers, width, 256, 64, 5000, model});
    all.back().model["dropout"] = 0.2;
  };
  text("shakespeare-mru", with_four_mlps("mru"), 256, {{"heads", 4}, {"scheme", "ldu"}});
  text("shakespeare-mru-tuned", with_four_mlps("mru"), 256,
       {{"heads", 4}, {"scheme", "ldu_newton_schulz"}, {"normalize", "frobenius"}});
  text("shakespeare-attention", with_four_mlps("attention"), 256,
       {{"heads", 4}, {"positions", "xpos"}});
  text("shakespeare-ffn", repeated({"mlp"}, 4), 256, json::object());
  text("shakespeare-linear", with_four_mlps("linear"), 256,
       {{"heads", 4}, {"positions", "learned"}});
  text("shakespeare-ssm", with_four_mlps("ssm"), 256, json::object());
  text("shakespeare-delta", with_four_mlps("delta"), 256, {{"heads", 4}});
  text("shakespeare-gru", with_four_mlps("gru"), 256, json::object());
  text("shakespeare-mru-positions", with_four_mlps("attention"), 256,
       {{"heads", 4}, {"positions", "mru"}, {"position_order", 8}});
  text("shakespeare6-mru", repeated({"mru", "mlp"}, 6), 384, {{"heads", 6}, {"scheme", "ldu"}});
  text("shakespeare6-attention", repeated({"attention", "mlp"}, 6), 384,
       {{"heads", 6}, {"positions", "xpos"}});
  const auto stories = [&](const std::string& name, const std::string& mixer, const json& model) {
    all.push_back({name, repeated({mixer, "mlp"}, 6), 768, 512, 80, 5000, model});
  };
  stories("tinystories-mru", "mru", {{"heads", 3}, {"scheme", "ldu"}});
  stories("tinystories-gpt2", "attention",
          {{"heads", 12}, {"positions", "learned"}, {"bias", true}, {"gelu", "tanh"}});
  stories("tinystories-linear", "linear", {{"heads", 12}, {"positions", "learned"}});
  for (const auto& [group, steps] :
       {std::pair{"s3", 3000}, std::pair{"a5", 5000}, std::pair{"s5", 8000}}) {
    all.push_back({std::string("state-tracking-") + group,
                   {"mru", "mlp"},
                   128,
                   64,
                   128,
                   steps,
                   {{"heads", 2}, {"scheme", "cayley"}}});
  }
  return all;
}

const std::string tiny =
    " --steps 3 --set batch=2 --set model.width=32 --set model.heads=2 --set model.state_size=32 "
    "--set model.position_order=4 --set 'data.curriculum=[]' --set data.length=16 --set "
    "data.eval_sequences=4 "
    "--set validation_batch=200 --set schedule.warmup_steps=0 --set schedule.rate=0.02 "
    "--set log_every=1 --data " +
    tests::text_file();

std::string fresh(const std::string& name) {
  const fs::path path = fs::path("tools_test_presets") / name;
  fs::remove_all(path);
  return path.string();
}

}  // namespace

TEST_CASE("a preset's dry run shows the model and the protocol that its name promises") {
  for (const Preset& preset : presets()) {
    INFO(preset.name);
    const Outcome outcome = program("train --preset " + preset.name + " --data " +
                                    tests::text_file() + " --dry-run --out " + fresh("dry"));
    INFO(outcome.err);
    REQUIRE(outcome.status == 0);
    const json config = json::parse(outcome.out);
    CHECK(config["model"]["layers"].get<Names>() == preset.layers);
    CHECK(config["model"]["width"] == preset.width);
    CHECK(config["data"]["length"] == preset.length);
    CHECK(config["batch"] == preset.batch);
    CHECK(config["steps"] == preset.steps);
    CHECK(config["validate_every"] == 250);
    for (const auto& [key, value] : preset.model.items()) {
      INFO(key);
      CHECK(config["model"][key] == value);
    }
  }
}

TEST_CASE("every preset trains") {
  for (const Preset& preset : presets()) {
    INFO(preset.name);
    const Outcome outcome =
        program("train --preset " + preset.name + tiny + " --out " + fresh(preset.name));
    INFO(outcome.err);
    CHECK(outcome.status == 0);
    CHECK_THAT(outcome.out, ContainsSubstring("after 3 steps"));
  }
}

TEST_CASE("the comparisons train all their models: nine schemes, every mixer, three for stories") {
  for (const auto& [name, models] : std::vector<std::pair<std::string, std::size_t>>{
           {"schemes", 9}, {"mixers", 10}, {"tinystories", 3}}) {
    INFO(name);
    const Outcome outcome =
        program("compare --preset " + name + tiny + " --seed 1 --json --out " + fresh(name));
    INFO(outcome.err);
    REQUIRE(outcome.status == 0);
    std::size_t lines = 0;
    std::set<double> losses;
    for (std::size_t at = 0; at < outcome.out.size(); ++lines) {
      const std::size_t end = outcome.out.find('\n', at);
      losses.insert(json::parse(outcome.out.substr(at, end - at)).at("val_loss").get<double>());
      at = end + 1;
    }
    CHECK(lines == models);
    CHECK(losses.size() == models);  // no two are the same model
  }
}

TEST_CASE("the stability sweep trains every scheme with raised rates, normalised and not") {
  const std::string command = "sweep --preset stability" + tiny;
  const Outcome part =
      program(command + " --grid model.scheme=ldu,cayley --grid optimizer.w_in_rate=16 --out " +
              fresh("stability"));
  INFO(part.err);
  CHECK(part.status == 0);
  CHECK_THAT(part.out, ContainsSubstring("scheme  normalize  w_in_rate  lowest val_loss"));
  CHECK(std::count(part.out.begin(), part.out.end(), '\n') == 5);
}
