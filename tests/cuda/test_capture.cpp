// What a CUDA graph must not do: touch memory that is no longer its own, or be asked for what it
// cannot do. What it computes is checked on every device in tests/core/test_graph_capture.cpp.
#include <scangrad/core/backend.h>
#include <scangrad/core/error.h>
#include <scangrad/core/graph_capture.h>
#include <scangrad/ops/creation.h>
#include <scangrad/ops/elementwise.h>
#include <scangrad/ops/reduce.h>
#include <scangrad/tests/support/catch.h>
#include <scangrad/tests/support/devices.h>

#include <memory>
#include <optional>
#include <vector>

namespace sg = scangrad;
using sg::Device;
using sg::Tensor;

namespace {
const sg::TensorOptions on_cuda{sg::f32, Device::cuda()};
}  // namespace

TEST_CASE("cuda capture: tensors made between two runs are not overwritten by the next") {
  if (!has_cuda()) return;
  Tensor total = sg::zeros({1000}, on_cuda);
  sg::GraphCapture work(Device::cuda(), [&] { sg::add_(total, sg::exp(total * 0.0) * 2.0); });
  for (int run = 0; run < 3; ++run) work.run();
  std::vector<Tensor> others;  // of the sizes that the work uses
  for (int i = 0; i < 20; ++i) others.push_back(sg::full({1000}, 7.0, on_cuda));
  work.run();
  for (const Tensor& other : others) CHECK(sg::sum(other).item<float>() == 7000);
  CHECK(sg::sum(total).item<float>() == 8000);
}

TEST_CASE("cuda capture: what the work reads stays, even where its owner lets go of it") {
  if (!has_cuda()) return;
  Tensor table = sg::full({1000}, 3.0, on_cuda), total = sg::zeros({1000}, on_cuda);
  sg::GraphCapture work(Device::cuda(), [&] { sg::add_(total, table); });
  for (int run = 0; run < 2; ++run) work.run();
  table = {};
  std::vector<Tensor> others;
  for (int i = 0; i < 4; ++i) others.push_back(sg::zeros({1000}, on_cuda));
  work.run();
  CHECK(sg::sum(total).item<float>() == 9000);
}

TEST_CASE("cuda capture: a graph's memory is given back with it, and is flat while it runs") {
  if (!has_cuda()) return;
  const std::size_t before = sg::memory_stats(Device::cuda()).active;
  {
    Tensor total = sg::zeros({1000}, on_cuda);
    sg::GraphCapture work(Device::cuda(), [&] { sg::add_(total, sg::exp(total * 0.0)); });
    for (int run = 0; run < 2; ++run) work.run();
    const std::size_t held = sg::memory_stats(Device::cuda()).active;
    CHECK(held > before);
    const int runs = compute_sanitizer() ? 20 : 1000;
    for (int run = 0; run < runs; ++run) work.run();
    CHECK(sg::memory_stats(Device::cuda()).active == held);
  }
  CHECK(sg::memory_stats(Device::cuda()).active == before);
}

TEST_CASE("cuda capture: two graphs and their tables let go in any order") {
  if (!has_cuda()) return;
  const std::size_t before = sg::memory_stats(Device::cuda()).active;
  {
    Tensor table = sg::ones({1000}, on_cuda), a = sg::zeros({1000}, on_cuda),
           b = sg::zeros({1000}, on_cuda);
    std::optional<sg::GraphCapture> first, second;
    first.emplace(Device::cuda(), [&] { sg::add_(a, table * 2.0); });
    second.emplace(Device::cuda(), [&] { sg::add_(b, table * 3.0); });
    for (int run = 0; run < 2; ++run) first->run(), second->run();
    table = {};
    first.reset();
    std::vector<Tensor> others;
    for (int i = 0; i < 4; ++i) others.push_back(sg::zeros({1000}, on_cuda));
    second->run();
    CHECK(sg::sum(a).item<float>() == 4000);
    CHECK(sg::sum(b).item<float>() == 9000);
  }
  CHECK(sg::memory_stats(Device::cuda()).active == before);
}

TEST_CASE("cuda capture: reading a value or copying from the host inside is refused by name") {
  if (!has_cuda()) return;
  Tensor x = sg::ones({4}, on_cuda);
  double read = 0;
  sg::GraphCapture reads(Device::cuda(), [&] { read = sg::sum(x).item<double>(); });
  reads.run();
  CHECK(read == 4);
  CHECK_THROWS_AS(reads.run(), sg::UnsupportedError);
  CHECK_THROWS_WITH(reads.run(), ContainsSubstring("cannot be captured"));

  sg::GraphCapture copies(Device::cuda(), [&] { sg::raw_copy(x, sg::zeros({4})); });
  copies.run();
  CHECK_THROWS_WITH(copies.run(), ContainsSubstring("cannot be captured"));
  CHECK((x + 1.0).to_vector<float>() == std::vector<float>(4, 1.0f));  // and work goes on
}
