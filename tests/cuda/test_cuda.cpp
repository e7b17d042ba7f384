// What is CUDA's own: memory, errors that kernels leave, random numbers. That every operation gives
// the CPU's answers is checked by the table in tests/ops, on every device there is.
#include <scangrad/core/backend.h>
#include <scangrad/core/error.h>
#include <scangrad/core/random.h>
#include <scangrad/ops/elementwise.h>
#include <scangrad/ops/index.h>
#include <scangrad/ops/kernels.h>
#include <scangrad/ops/linalg.h>
#include <scangrad/ops/random.h>
#include <scangrad/ops/shape.h>
#include <scangrad/tests/support/catch.h>
#include <scangrad/tests/support/devices.h>

#include <cstdint>
#include <vector>

namespace sg = scangrad;
using sg::Device;
using sg::Tensor;

TEST_CASE("cuda: every kernel of the table is there") {
  if (!has_cuda()) return;
  const auto names = sg::kernel_names();
  const auto filled = sg::filled_kernels(sg::kernels(Device::cuda()));
  for (std::size_t i = 0; i < names.size(); ++i) {
    INFO(names[i]);
    CHECK(filled[i]);
  }
}

TEST_CASE("cuda: the same seed gives the CPU's numbers") {
  if (!has_cuda()) return;
  const auto on = [](Device device, const auto& draw) {
    sg::Generator generator(7);
    return draw(sg::TensorOptions{sg::f32, device}, &generator).template to_vector<double>();
  };
  const auto check_same = [&](const auto& draw) {
    const auto a = on(Device::cpu(), draw), b = on(Device::cuda(), draw);
    CHECK(a == b);
  };
  const auto integers = [](sg::TensorOptions o) { return sg::IndexOptions{sg::i64, o.device}; };
  check_same([](auto o, auto* g) { return sg::uniform({1001}, o, -1, 1, g); });
  check_same([&](auto o, auto* g) { return sg::randint(-5, 1000, {1001}, integers(o), g); });
  check_same([&](auto o, auto* g) { return sg::permutation(1001, integers(o), g); });
  check_same([](auto o, auto* g) { return sg::dropout(sg::ones({1001}, o), 0.3, true, g); });
}

TEST_CASE("cuda: a bad index inside a kernel is an exception that names it, and work goes on") {
  if (!has_cuda()) return;
  const Tensor x = sg::ones({10, 4}, {sg::f32, Device::cuda()});
  const Tensor index = sg::to(sg::from<std::int64_t>({0, 70, 3}), Device::cuda());
  CHECK_THROWS_WITH(
      [&] {
        const Tensor y = sg::embedding(index, x);
        sg::synchronize(Device::cuda());
      }(),
      ContainsSubstring("embedding: index 70 is out of range for 10 rows"));
  CHECK((x + 1.0).to_vector<float>() == std::vector<float>(40, 2.0f));

  const Tensor singular = sg::zeros({3, 2, 2}, {sg::f32, Device::cuda()});
  CHECK_THROWS_WITH(
      [&] {
        const Tensor y = sg::solve(singular, singular);
        sg::synchronize(Device::cuda());
      }(),
      ContainsSubstring("is singular"));
}

TEST_CASE("cuda: what cannot be allocated is an exception with the numbers, and work goes on") {
  if (!has_cuda()) return;
  const sg::TensorOptions options{sg::f32, Device::cuda()};
  // What was asked for, and where all the device's memory is.
  CHECK_THROWS_WITH(sg::empty({std::int64_t{1} << 40}, options),
                    ContainsSubstring("cuda:0: 4398046511104 bytes could not be allocated: of ") &&
                        ContainsSubstring(" are free, ") &&
                        ContainsSubstring(" of them cached until now, and ") &&
                        ContainsSubstring(" are in use by tensors"));
  CHECK(sg::ones({3}, options).to_vector<float>() == std::vector<float>(3, 1.0f));
}

TEST_CASE("cuda: memory is given back and used again") {
  if (!has_cuda()) return;
  const sg::TensorOptions options{sg::f32, Device::cuda()};
  const std::size_t before = sg::memory_stats(Device::cuda()).active;
  void* first = nullptr;
  {
    const Tensor x = sg::empty({1000}, options);
    first = x.raw_data();
    CHECK(sg::memory_stats(Device::cuda()).active >= before + 4000);
  }
  CHECK(sg::memory_stats(Device::cuda()).active == before);
  CHECK(sg::empty({1000}, options).raw_data() == first);
}

TEST_CASE("cuda: a device that does not exist is named; two devices do not mix") {
  if (!has_cuda()) return;
  CHECK_THROWS_WITH(sg::empty({1}, {sg::f32, Device::cuda(99)}),
                    ContainsSubstring("there is no device cuda:99"));
  CHECK_THROWS_AS(sg::ones({2}) + sg::ones({2}, {sg::f32, Device::cuda()}), sg::DeviceError);
}

TEST_CASE("cuda: copies convert and go through any strides, in both directions") {
  if (!has_cuda()) return;
  const Tensor host = sg::transpose(sg::from<float>({1, 2, 3, 4, 5, 6}, {2, 3}), 0, 1);
  const Tensor device = sg::empty({3, 2}, {sg::f64, Device::cuda()});
  sg::raw_copy(device, host);
  CHECK(device.to_vector<float>() == std::vector<float>{1, 4, 2, 5, 3, 6});
  const Tensor back = sg::zeros({2, 3}, {sg::i32});
  sg::raw_copy(sg::transpose(back, 0, 1), device);
  CHECK(back.to_vector<int>() == std::vector<int>{1, 2, 3, 4, 5, 6});
}
