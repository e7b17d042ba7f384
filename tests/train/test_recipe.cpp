// The training recipe of the models: which parameters form which group, and how the rate runs.
#include <scangrad/scangrad.h>
#include <scangrad/tests/support/catch.h>
#include <scangrad/train/param_groups.h>
#include <scangrad/train/schedule.h>

#include <cmath>

using namespace scangrad;

namespace {

Tensor weight(const Shape& shape) { return zeros(shape).requires_grad_(true); }

}  // namespace

TEST_CASE("An MRU model has three groups, W_in's scaled by order and length") {
  const NamedTensors parameters = {{"transformer.wte.weight", weight({11, 24})},
                                   {"transformer.wpe.weight", weight({16, 24})},
                                   {"transformer.h.0.ln.weight", weight({24})},
                                   {"transformer.h.0.mru.w_in.weight", weight({32, 24})},
                                   {"transformer.h.0.mru.w_down", weight({2, 4, 3})},
                                   {"transformer.h.0.mru.w_out.weight", weight({24, 24})},
                                   {"transformer.ln_f.weight", weight({24})}};
  const auto groups = language_model_groups(parameters, {.context = 50, .w_in_rate = 16});
  REQUIRE(groups.size() == 3);
  CHECK(groups[0].name == "embeddings_and_norms");
  CHECK(groups[0].parameters.size() == 4);
  CHECK(groups[0].weight_decay == 0.0);
  CHECK(groups[0].clip == 1.0);
  CHECK(groups[1].name == "matrices");
  CHECK(groups[1].parameters.size() == 2);
  CHECK(groups[1].weight_decay == 0.1);
  CHECK(groups[1].learning_rate_scale == 1.0);
  CHECK(groups[2].name == "w_in");
  CHECK(groups[2].parameters.size() == 1);
  CHECK(groups[2].weight_decay == 0.1);
  CHECK(groups[2].learning_rate_scale == Approx(16.0 / 4 * 0.2));
  CHECK(groups[2].clip == Approx(5.0));
}

TEST_CASE("A model without an MRU has two groups and needs no context length") {
  const auto groups = language_model_groups({{"transformer.wte.weight", weight({3, 2})},
                                             {"transformer.h.0.mlp.c_fc.weight", weight({8, 2})}});
  CHECK(groups.size() == 2);
}

TEST_CASE("W_in without its context length or its W_down is an error") {
  const NamedTensors alone = {{"h.0.mru.w_in.weight", weight({32, 24})}};
  NamedTensors both = alone;
  both.push_back({"h.0.mru.w_down", zeros({4, 2, 3})});
  CHECK_THROWS_WITH(language_model_groups(both), ContainsSubstring("context length is needed"));
  CHECK_THROWS_WITH(language_model_groups(alone, {.context = 8}),
                    ContainsSubstring("h.0.mru.w_down"));
}

TEST_CASE("The default schedule: warm-up to the rate, cosine to the final rate, then constant") {
  const Schedule s{.decay_steps = 5000};
  CHECK(learning_rate(s, 0, 0) == Approx(1e-4));
  CHECK(learning_rate(s, 50, 0) == Approx(5.5e-4));
  CHECK(learning_rate(s, 100, 0) == Approx(1e-3));
  CHECK(learning_rate(s, 2600, 0) == Approx(5.5e-4));
  CHECK(learning_rate(s, 5100, 0) == Approx(1e-4));
  CHECK(learning_rate(s, 90'000, 0) == Approx(1e-4));
}

TEST_CASE("The rate changes only at multiples of update_every") {
  const Schedule s{.decay_steps = 5000, .update_every = 10};
  CHECK(learning_rate(s, 59, 0) == learning_rate(s, 50, 0));
  CHECK(learning_rate(s, 60, 0) > learning_rate(s, 59, 0));
}

TEST_CASE("Without decay_steps the decay ends with the run; linear is a line, constant stays") {
  CHECK(learning_rate({.kind = "cosine"}, 1000, 1000) == Approx(1e-4));
  CHECK(learning_rate({.kind = "linear"}, 550, 1000) == Approx(5.5e-4));
  CHECK(learning_rate({.kind = "constant"}, 999, 1000) == Approx(1e-3));
  CHECK(learning_rate({.kind = "linear", .warmup_steps = 100}, 100, 100) == Approx(1e-3));
}

TEST_CASE("A schedule that makes no sense is refused") {
  CHECK_THROWS_WITH(learning_rate({.kind = "cosin"}, 0, 1),
                    ContainsSubstring("unknown kind 'cosin'"));
  CHECK_THROWS_AS(learning_rate({.update_every = 0}, 0, 1), ValueError);
  CHECK_THROWS_AS(learning_rate({.warmup_steps = -1}, 0, 1), ValueError);
}
