// The configuration is what a run is: whatever JSON or --set says must arrive or be refused with
// the key's name, never be dropped in silence.
#include <scangrad/core/error.h>
#include <scangrad/tests/support/catch.h>
#include <scangrad/train/config.h>
#include <scangrad/train/word_problem.h>

#include <string>

namespace sg = scangrad;

namespace {
template <class F>
std::string message_of(F&& f) {
  try {
    f();
  } catch (const sg::Error& error) {
    return error.what();
  }
  return "no error";
}
}  // namespace

TEST_CASE("a configuration survives JSON whole") {
  sg::RunConfig config;
  config.model.layers = {"attention", "mlp"};
  config.model.dropout = 0.25;
  config.data.eval_lengths = {32, 64};
  config.data.curriculum = {{0, 8}, {500, 256}};
  config.seed = 18446744073709551615u;
  const std::string text = sg::to_json(config);
  CHECK(sg::to_json(sg::run_config_from_json(text)) == text);
}

TEST_CASE("keys that are left out keep their values") {
  sg::RunConfig base;
  base.batch = 7;
  const sg::RunConfig config = sg::run_config_from_json(R"({"model": {"width": 32}})", base);
  CHECK(config.batch == 7);
  CHECK(config.model.width == 32);
  CHECK(config.model.heads == base.model.heads);
}

TEST_CASE("set changes one key; text that is no JSON is a string") {
  sg::RunConfig config;
  sg::set(config, "optimizer.w_in_rate=16");
  sg::set(config, "model.scheme=cayley");
  sg::set(config, R"(model.layers=["mru", "mlp"])");
  sg::set(config, "batch=3");
  CHECK(config.optimizer.w_in_rate == 16);
  CHECK(config.model.scheme == "cayley");
  CHECK(config.model.layers == std::vector<std::string>{"mru", "mlp"});
  CHECK(config.batch == 3);
}

TEST_CASE("what cannot be is refused by name, and changes nothing") {
  sg::RunConfig config;
  const std::string before = sg::to_json(config);
  CHECK(message_of([&] { sg::set(config, "model.widht=3"); }) ==
        "config: there is no key 'model.widht'; the nearest is 'model.width'");
  CHECK(message_of([&] { sg::set(config, "bacth=3"); }) ==
        "config: there is no key 'bacth'; the nearest is 'batch'");
  CHECK(message_of([&] { sg::set(config, "batch=2.5"); }) ==
        "config: batch must be an integer, not 2.5");
  CHECK(message_of([&] { sg::set(config, "batch=many"); }) ==
        "config: batch must be an integer, not \"many\"");
  CHECK(message_of([&] { sg::set(config, "model=3"); }) ==
        "config: model must be an object, not 3");
  CHECK(message_of([&] { sg::set(config, "model.layers=[1]"); }) ==
        "config: model.layers[0] must be text, not 1");
  CHECK(message_of([&] { sg::set(config, "capture=1"); }) ==
        "config: capture must be true or false, not 1");
  CHECK(message_of([&] { sg::set(config, "seed=-1"); }) ==
        "config: seed must be an integer of 0 or more, not -1");
  CHECK(message_of([&] { sg::set(config, "batch"); }) ==
        "config: 'batch' is no assignment; write path.to.key=value");
  CHECK(message_of([&] { sg::run_config_from_json("{\"batch\": "); }) ==
        "config: not valid JSON at byte 11");
  CHECK(message_of([&] { sg::set(config, "model.heads=18446744073709551615"); }) ==
        "config: model.heads must be an integer below 2^63, not 18446744073709551615");
  CHECK(message_of([&] { sg::run_config_from_json("{\"batch\": 1e999}"); }) ==
        "config: a number is out of range");
  CHECK_THROWS_AS(sg::load_run_config("no/such/file.json"), sg::IoError);
  CHECK_THROWS_WITH(sg::load_run_config("."), ContainsSubstring("cannot be read: Is a directory"));
  CHECK(sg::to_json(config) == before);
}

TEST_CASE("values that no run can have are named") {
  const auto refused = [](const std::string& assignment) {
    sg::RunConfig config;
    sg::set(config, assignment);
    return message_of([&] { sg::validate(config); });
  };
  CHECK(refused("batch=0") == "config: batch must be 1 or more, not 0");
  CHECK(refused("data.kind=image") == "config: data.kind 'image' does not exist; use text, words");
  CHECK(refused("data.train_fraction=1") ==
        "config: data.train_fraction must be between 0 and 1, not 1");
  CHECK(refused("data.eval_sequences=-5") ==
        "config: data.eval_sequences must be 1 or more, not -5");
  CHECK(refused("data.eval_lengths=[8, 0]") ==
        "config: data.eval_lengths must be 1 or more, not 0");
  for (const std::string key :
       {"schedule.rate", "schedule.warmup_rate", "schedule.final_rate", "schedule.warmup_steps",
        "schedule.decay_steps", "optimizer.weight_decay", "optimizer.clip", "optimizer.momentum",
        "optimizer.eps", "optimizer.w_in_rate", "checkpoint_every"}) {
    CHECK(refused(key + "=-1") == "config: " + key + " must be 0 or more, not -1");
    CHECK(refused(key + "=0") == "no error");
  }
  CHECK(refused("batch=64") == "no error");
  CHECK(refused("data.group=s6") ==
        "config: data.group 's6' does not exist; use s3, s4, s5, a4, a5");
  for (const std::string& group : sg::PermutationGroup::names()) {
    CHECK(refused("data.group=" + group) == "no error");
  }
}

TEST_CASE("a curriculum's stages begin at step 0, follow one another and fit into a sequence") {
  const auto refused = [](const std::string& stages) {
    sg::RunConfig config;
    config.data.length = 64;
    return message_of([&] {
      sg::set(config, "data.curriculum=" + stages);
      sg::validate(config);
    });
  };
  CHECK(refused("[]") == "no error");
  CHECK(refused(R"([{"from_step": 0, "length": 8}, {"from_step": 500, "length": 64}])") ==
        "no error");
  CHECK(refused(R"([{"from_step": 5, "length": 8}])") ==
        "config: data.curriculum[0].from_step must be 0, not 5");
  CHECK(
      refused(R"([{"from_step": 0, "length": 8}, {"from_step": 0, "length": 9}])") ==
      "config: data.curriculum[1].from_step must be more than 0, that of the stage before, not 0");
  CHECK(refused(R"([{"from_step": 0, "length": 65}])") ==
        "config: data.curriculum[0].length must be 1 to 64, which is data.length, not 65");
  CHECK(refused(R"([{"from_step": 0}])") ==
        "config: data.curriculum[0].length must be 1 to 64, which is data.length, not 0");
  CHECK(refused(R"([{"from_step": 0, "lenght": 8}])") ==
        "config: there is no key 'data.curriculum[0].lenght'; the nearest is "
        "'data.curriculum[0].length'");
  CHECK(refused("[[0, 8]]") == "config: data.curriculum[0] must be an object, not [0,8]");
  CHECK(refused("8") == "config: data.curriculum must be a list, not 8");
}

TEST_CASE("the tokens of a run are those of its stages") {
  sg::RunConfig config;
  config.batch = 2;
  config.optimizer.accumulate = 3;
  config.data.length = 64;
  CHECK(sg::tokens_trained(config, 10) == 6 * 64 * 10);
  config.data.curriculum = {{0, 8}, {5, 16}, {7, 64}};
  std::int64_t tokens = 0;
  for (std::int64_t step = 0; step < 12; ++step) {
    CHECK(sg::tokens_trained(config, step) == 6 * tokens);
    CHECK(sg::length_at(config.data, step) == (step < 5 ? 8 : step < 7 ? 16 : 64));
    tokens += sg::length_at(config.data, step);
  }
}
