#include <scangrad/core/backend.h>
#include <scangrad/core/error.h>
#include <scangrad/core/tensor.h>
#include <scangrad/tests/support/catch.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <memory>
#include <vector>

namespace sg = scangrad;
using sg::Tensor;

TEST_CASE("tensor: values go in and come out in row-major order, converted on demand") {
  const Tensor x = sg::from<float>({1, 2, 3, 4, 5, 6}, {2, 3});
  CHECK(x.shape() == sg::Shape{2, 3});
  CHECK(x.strides() == sg::Strides{3, 1});
  CHECK(x.dtype() == sg::f32);
  CHECK(x.numel() == 6);
  CHECK(x.size(-1) == 3);
  CHECK(x.to_vector<float>() == std::vector<float>{1, 2, 3, 4, 5, 6});
  CHECK(x.to_vector<std::int64_t>() == std::vector<std::int64_t>{1, 2, 3, 4, 5, 6});
  CHECK(sg::from<bool>({true, false}).to_vector<double>() == std::vector<double>{1, 0});
  CHECK(sg::from<double>({0.0, 0.5, -2.0}).to_vector<bool>() ==
        std::vector<bool>{false, true, true});
}

TEST_CASE("tensor: every pair of dtypes converts a small number exactly") {
  for (sg::DType from : {sg::bool_, sg::i32, sg::i64, sg::bf16, sg::f32, sg::f64}) {
    for (sg::DType to : {sg::bool_, sg::i32, sg::i64, sg::bf16, sg::f32, sg::f64}) {
      INFO(sg::name(from) << " to " << sg::name(to));
      const Tensor x = sg::full({3}, 1, {from});
      const Tensor y = sg::zeros({3}, {to});
      sg::raw_copy(y, x);
      CHECK(y.to_vector<double>() == std::vector<double>{1, 1, 1});
    }
  }
}

TEST_CASE("tensor: scalars and empty tensors are tensors like others") {
  const Tensor scalar = sg::full({}, 2.5);
  CHECK(scalar.rank() == 0);
  CHECK(scalar.numel() == 1);
  CHECK(scalar.item<double>() == 2.5);
  CHECK(scalar.is_contiguous());
  const Tensor none = sg::zeros({2, 0, 3});
  CHECK(none.numel() == 0);
  CHECK(none.to_vector<float>().empty());
  CHECK(none.is_contiguous());
  CHECK(sg::from<float>({}).shape() == sg::Shape{0});
}

TEST_CASE("item: exact for every integer, one value only") {
  const std::int64_t large = (std::int64_t{1} << 60) + 1;  // no f64
  CHECK(sg::from<std::int64_t>({large}).item<std::int64_t>() == large);
  CHECK(sg::from<double>({3.7}, {}).item<int>() == 3);
  CHECK(sg::from<bool>({true}, {1, 1}).item<bool>());
  CHECK_THROWS_WITH(sg::zeros({2, 3}).item<float>(),
                    "item: a tensor of shape [2,3] is not a single value");
  CHECK_THROWS_AS(sg::zeros({0}).item<std::int64_t>(), sg::ShapeError);
}

TEST_CASE("tensor: views see the memory that they share") {
  const Tensor x = sg::from<float>({0, 1, 2, 3, 4, 5}, {2, 3});
  const Tensor transposed = x.as_strided({3, 2}, {1, 3}, 0);
  const Tensor middle_column = x.as_strided({2}, {3}, 1);
  CHECK_FALSE(transposed.is_contiguous());
  CHECK(transposed.to_vector<float>() == std::vector<float>{0, 3, 1, 4, 2, 5});
  CHECK(middle_column.to_vector<float>() == std::vector<float>{1, 4});
  sg::raw_copy(middle_column, sg::from<float>({10, 40}));
  CHECK(x.to_vector<float>() == std::vector<float>{0, 10, 2, 3, 40, 5});
  CHECK(x.as_strided({2, 3}, {0, 1}, 3).to_vector<float>() ==
        std::vector<float>{3, 40, 5, 3, 40, 5});
}

TEST_CASE("tensor: fill and add in place go through any strides") {
  const Tensor x = sg::zeros({3, 4});
  const Tensor every_second = x.as_strided({3, 2}, {4, 2}, 1);
  sg::backend(x.device()).fill(every_second, 2);
  sg::backend(x.device()).add_in_place(every_second, every_second);
  CHECK(x.to_vector<float>() == std::vector<float>{0, 4, 0, 4, 0, 4, 0, 4, 0, 4, 0, 4});
}

TEST_CASE(
    "tensor: strided copies agree with index arithmetic for every order of three dimensions") {
  // Dimensions are merged where they are adjacent in memory, differently for each order.
  std::vector<double> numbers(2 * 3 * 4);
  for (std::size_t i = 0; i < numbers.size(); ++i) numbers[i] = static_cast<double>(i);
  const Tensor x = sg::from<double>(numbers, {2, 3, 4});
  const int orders[6][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
  for (const auto& order : orders) {
    sg::Shape shape, strides;
    for (int dim : order) {
      shape.push_back(x.shape()[dim]);
      strides.push_back(x.strides()[dim]);
    }
    std::vector<double> expected;
    for (std::int64_t i = 0; i < shape[0]; ++i) {
      for (std::int64_t j = 0; j < shape[1]; ++j) {
        for (std::int64_t k = 0; k < shape[2]; ++k) {
          expected.push_back(static_cast<double>(i * strides[0] + j * strides[1] + k * strides[2]));
        }
      }
    }
    CHECK(x.as_strided(shape, strides, 0).to_vector<double>() == expected);
  }
}

TEST_CASE("tensor: a copy of any transposition has each element where it belongs, cast or not") {
  // More than one tile in each direction, with rests.
  const sg::Shape shape = {3, 37, 5, 70};
  const Tensor x = sg::empty(shape, {sg::f32});
  for (std::int64_t i = 0; i < x.numel(); ++i) x.data<float>()[i] = static_cast<float>(i);
  std::vector<int> order = {0, 1, 2, 3};
  do {
    sg::Shape sizes;
    sg::Strides strides;
    for (const int dim : order) {
      sizes.push_back(shape[dim]);
      strides.push_back(x.strides()[dim]);
    }
    const Tensor view = x.as_strided(sizes, strides, 0);
    const Tensor copy = sg::empty(sizes, {sg::f32}), wide = sg::empty(sizes, {sg::f64});
    sg::raw_copy(copy, view);
    sg::raw_copy(wide, view);
    std::int64_t wrong = 0, i = 0;
    for (std::int64_t a = 0; a < sizes[0]; ++a) {
      for (std::int64_t b = 0; b < sizes[1]; ++b) {
        for (std::int64_t c = 0; c < sizes[2]; ++c) {
          for (std::int64_t d = 0; d < sizes[3]; ++d, ++i) {
            const std::int64_t from =
                a * strides[0] + b * strides[1] + c * strides[2] + d * strides[3];
            wrong += copy.data<float>()[i] != static_cast<float>(from);
            wrong += wide.data<double>()[i] != static_cast<double>(from);
          }
        }
      }
    }
    INFO(to_string(sizes));
    CHECK(wrong == 0);
  } while (std::next_permutation(order.begin(), order.end()));
}

TEST_CASE("tensor: handles are copies of one tensor, detach is another on the same memory") {
  Tensor x = sg::ones({2});
  const Tensor same = x;
  x.requires_grad_(true);
  CHECK(same.requires_grad());
  x.set_grad(sg::full({2}, 3));
  CHECK(same.grad().to_vector<float>() == std::vector<float>{3, 3});
  const Tensor other = x.detach();
  CHECK_FALSE(other.requires_grad());
  CHECK_FALSE(other.grad().defined());
  CHECK(other.raw_data() == x.raw_data());
}

TEST_CASE("tensor: mistakes are refused in one sentence") {
  CHECK_THROWS_WITH(sg::from<float>({1, 2, 3}, {2, 2}), "from: 3 values do not fill shape [2,2]");
  CHECK_THROWS_WITH(sg::empty({2, -1}), "empty: shape [2,-1] has a negative size");
  CHECK_THROWS_WITH(sg::zeros({2}).data<double>(), "data: the tensor is f32, not f64");
  CHECK_THROWS_WITH(Tensor().shape(), "tensor: an undefined tensor was used");
  CHECK_THROWS_WITH(sg::zeros({}).size(0), "size: a scalar has no dimensions");
  CHECK_THROWS_WITH(sg::zeros({2}, {sg::i64}).requires_grad_(true),
                    "requires_grad_: only floating-point tensors have gradients, not i64");
  CHECK_THROWS_WITH(sg::zeros({2}).set_grad(sg::zeros({3})),
                    "set_grad: gradient [3] does not have the tensor's shape [2]");
  CHECK_THROWS_WITH(sg::zeros({2}).set_grad(sg::zeros({2}, {sg::f64})),
                    "set_grad: gradient is f64, but the tensor f32; use cast");
  CHECK_THROWS_WITH(sg::raw_copy(sg::zeros({2}), sg::zeros({3})),
                    "copy: shapes [2] and [3] differ");
  CHECK_THROWS_WITH(sg::zeros({2}, {sg::f32, sg::Device::cuda(7)}), ContainsSubstring("cuda:7"));
}

TEST_CASE("tensor: more elements than can be counted are refused, not wrapped around") {
  // 2^32 · 2^32 wraps to 0 elements, and a write through such a tensor would go anywhere.
  const std::int64_t huge = std::int64_t{1} << 32;
  CHECK_THROWS_AS(sg::empty({huge, huge}), sg::ShapeError);
  CHECK_THROWS_AS(sg::empty({huge, huge, 0}), sg::ShapeError);
  CHECK_THROWS_AS(sg::empty({std::numeric_limits<std::int64_t>::max()}), sg::ShapeError);
}

TEST_CASE("storage: memory of somebody else's is viewed in place and its owner kept alive") {
  auto owner = std::make_shared<std::vector<float>>(std::vector<float>{1, 2, 3});
  const std::weak_ptr<std::vector<float>> watch = owner;
  Tensor x(std::make_shared<sg::Storage>(owner->data(), 3 * sizeof(float), owner), {3}, {1}, 0,
           sg::f32);
  owner.reset();
  CHECK(x.to_vector<float>() == std::vector<float>{1, 2, 3});
  CHECK_FALSE(watch.expired());
  x = {};
  CHECK(watch.expired());
}

TEST_CASE("device: parsed and printed; what is no device is refused") {
  CHECK(sg::Device::parse("cpu") == sg::Device::cpu());
  CHECK(sg::Device::parse("cuda") == sg::Device::cuda(0));
  CHECK(sg::Device::parse("cuda:3") == sg::Device::cuda(3));
  CHECK(to_string(sg::Device::cuda(3)) == "cuda:3");
  CHECK(to_string(sg::Device::cpu()) == "cpu");
  for (const char* text : {"", "gpu", "cuda:", "cuda:x", "cuda:-1", "cuda:1x", "CPU"}) {
    INFO(text);
    CHECK_THROWS_AS(sg::Device::parse(text), sg::ValueError);
  }
}
