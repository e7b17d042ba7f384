// Work that is captured gives what it gives when it is done step by step: the same numbers, the
// same random ones too, and nobody else's memory. On the CPU, which has no graphs, it is simply
// done.
#include <scangrad/core/backend.h>
#include <scangrad/core/error.h>
#include <scangrad/core/graph_capture.h>
#include <scangrad/core/random.h>
#include <scangrad/ops/creation.h>
#include <scangrad/ops/elementwise.h>
#include <scangrad/ops/random.h>
#include <scangrad/ops/reduce.h>
#include <scangrad/tests/support/catch.h>
#include <scangrad/tests/support/devices.h>

#include <memory>
#include <stdexcept>
#include <vector>

namespace sg = scangrad;
using sg::Device;
using sg::Tensor;
using Values = std::vector<float>;

TEST_CASE("capture: each run does the whole work, once, on the input of the moment") {
  for (const Device device : devices()) {
    INFO(sg::to_string(device));
    Tensor input = sg::zeros({4}, {sg::f32, device}), total = sg::zeros({4}, {sg::f32, device});
    sg::GraphCapture work(device, [&] { sg::add_(total, input * input + 1.0); });
    float expected = 0;
    for (int run = 0; run < 6; ++run) {
      const auto value = static_cast<float>(run);
      sg::raw_copy(input, sg::full({4}, value));  // may be overwritten at once
      work.run();
      expected += value * value + 1;
    }
    CHECK(total.to_vector<float>() == Values(4, expected));
  }
}

TEST_CASE("capture: the default generator goes on as if nothing were captured") {
  const sg::PhiloxState callers = sg::default_generator().state();
  for (const Device device : devices()) {
    INFO(sg::to_string(device));
    const sg::TensorOptions options{sg::f32, device};
    Tensor drawn = sg::empty({5}, options), dropped = sg::empty({9}, options);
    const Tensor ones = sg::ones({9}, options);
    const auto draw = [&] {
      sg::copy_(drawn, sg::uniform({5}, options));
      sg::copy_(dropped, sg::dropout(ones, 0.5));
    };
    // Six rounds, with other draws in between, and another seed from the fifth.
    const auto all_draws = [&](const std::function<void()>& round) {
      std::vector<Values> all;
      sg::manual_seed(3);
      for (int run = 0; run < 6; ++run) {
        if (run == 4) sg::manual_seed(8);
        round();
        all.push_back(drawn.to_vector<float>());
        all.push_back(dropped.to_vector<float>());
        if (run % 2 == 1) all.push_back(sg::uniform({3}, options).to_vector<float>());
      }
      return all;
    };
    sg::GraphCapture captured(device, draw);
    CHECK(all_draws([&] { captured.run(); }) == all_draws(draw));
  }
  sg::default_generator().set_state(callers);
}

TEST_CASE("capture: work that fails says why, and can be tried again") {
  for (const Device device : devices()) {
    INFO(sg::to_string(device));
    Tensor x = sg::zeros({2}, {sg::f32, device});
    int fail_in = 2;  // the second run, in which it is captured
    sg::GraphCapture work(device, [&] {
      sg::add_(x, sg::ones_like(x));
      if (--fail_in == 0) throw std::runtime_error("no luck");
    });
    const sg::PhiloxState before = sg::default_generator().state();
    work.run();
    CHECK_THROWS_WITH(work.run(), "no luck");
    CHECK(sg::default_generator().state().offset == before.offset);
    CHECK(sg::default_generator().state().base == nullptr);
    sg::zero_(x);
    for (int run = 0; run < 3; ++run) work.run();
    CHECK(x.to_vector<float>() == Values(2, 3.0f));
  }
}
