// Checkpoints: the state that comes back is the one that was saved, to the bit, and no accident
// (another model, a damaged file, a death half way) takes the last whole one away.
#include <scangrad/core/error.h>
#include <scangrad/models/module.h>
#include <scangrad/tests/support/catch.h>
#include <scangrad/train/checkpoint.h>
#include <scangrad/train/files.h>

#include <filesystem>

namespace sg = scangrad;
namespace fs = std::filesystem;

namespace {

struct Model : sg::Module {
  sg::Tensor weight;
  explicit Model(std::int64_t n) : weight(sg::full({n}, 0.1)) { register_parameter("w", weight); }
};

sg::AdamW optimizer_of(Model& model) {
  return sg::AdamW({{.name = "all", .parameters = model.named_parameters()}});
}

void take_step(sg::Optimizer& optimizer, const Model& model) {
  optimizer.zero_grad();
  model.weight.grad().data<float>()[0] = 0.3f;
  optimizer.step(0.01);
}

fs::path fresh(const char* name) {
  fs::remove_all(name);
  return name;
}

}  // namespace

TEST_CASE("weights, moments and the state of training come back to the bit") {
  const fs::path run = fresh("checkpoint_a");
  Model model(5);
  sg::AdamW optimizer = optimizer_of(model);
  take_step(optimizer, model);
  sg::save_checkpoint(run, {1, {7, 1ull << 60}, {2, 3}, 1.0 / 3, 1, {9, ~0ull}}, model, &optimizer);

  Model other(5);
  sg::AdamW other_optimizer = optimizer_of(other);
  const auto state = sg::load_checkpoint(*sg::latest_checkpoint(run), other, &other_optimizer);
  CHECK(state.step == 1);
  CHECK(state.generator.seed == 7);
  CHECK(state.generator.offset == 1ull << 60);
  CHECK(state.loader.epoch == 2);
  CHECK(state.loader.position == 3);
  CHECK(state.best_loss == 1.0 / 3);
  CHECK(state.data == sg::Fingerprint{9, ~0ull});
  CHECK(other.weight.to_vector<float>() == model.weight.to_vector<float>());
  take_step(optimizer, model);  // the same moments take the same step
  take_step(other_optimizer, other);
  CHECK(other.weight.to_vector<float>() == model.weight.to_vector<float>());
}

TEST_CASE("the newest replaces the others only once it is whole") {
  const fs::path run = fresh("checkpoint_b");
  Model model(2);
  sg::AdamW optimizer = optimizer_of(model);
  CHECK(!sg::latest_checkpoint(run));
  sg::save_checkpoint(run, {.step = 9}, model, &optimizer);
  // A process that died while it wrote step 10.
  fs::create_directories(run / "checkpoints" / ".unfinished");
  CHECK(sg::latest_checkpoint(run)->filename() == "step-9");
  sg::save_checkpoint(run, {.step = 10}, model, &optimizer);
  CHECK(sg::latest_checkpoint(run)->filename() == "step-10");
  CHECK(!fs::exists(run / "checkpoints" / "step-9"));
  CHECK(!fs::exists(run / "checkpoints" / ".unfinished"));
}

TEST_CASE("a checkpoint is never taken for another of the same step") {
  const fs::path run = fresh("checkpoint_e");
  Model model(2);
  sg::AdamW optimizer = optimizer_of(model);
  sg::save_checkpoint(run, {.step = 1}, model, &optimizer);
  CHECK_THROWS_WITH(sg::save_checkpoint(run, {.step = 1}, model, &optimizer),
                    ContainsSubstring("step-1 is there already"));
}

TEST_CASE("a checkpoint that cannot be written leaves the one before") {
  const fs::path run = fresh("checkpoint_c");
  Model model(2);
  sg::AdamW optimizer = optimizer_of(model);
  sg::save_checkpoint(run, {.step = 1}, model, &optimizer);
  sg::write_file("checkpoint_file", "in the way");
  CHECK_THROWS_AS(sg::save_checkpoint("checkpoint_file", {.step = 2}, model, &optimizer),
                  sg::IoError);
  CHECK(sg::latest_checkpoint(run)->filename() == "step-1");
}

TEST_CASE("another model's checkpoint and a damaged one are refused, the model unchanged") {
  const fs::path run = fresh("checkpoint_d");
  Model model(2);
  sg::AdamW optimizer = optimizer_of(model);
  sg::save_checkpoint(run, {.step = 1}, model, &optimizer);
  const fs::path saved = *sg::latest_checkpoint(run);
  Model larger(3);
  CHECK_THROWS_AS(sg::load_checkpoint(saved, larger), sg::ShapeError);
  fs::resize_file(saved / "model.safetensors", 20);
  CHECK_THROWS_AS(sg::load_checkpoint(saved, model), sg::IoError);
  CHECK(model.weight.to_vector<float>() == std::vector<float>{0.1f, 0.1f});
  sg::write_file(saved / "state.json", "{}");
  CHECK_THROWS_AS(sg::load_checkpoint(saved, model), sg::IoError);
}
