// Copies on the device, which go in packs along rows, through tiles where they transpose, and
// element by element elsewhere: the values stay what they were.
#include <scangrad/core/backend.h>
#include <scangrad/ops/creation.h>
#include <scangrad/ops/elementwise.h>
#include <scangrad/ops/shape.h>
#include <scangrad/tests/support/catch.h>
#include <scangrad/tests/support/devices.h>

#include <vector>

namespace sg = scangrad;
using sg::Device;
using sg::Tensor;

namespace {

const std::vector<std::vector<std::int64_t>> orders = {{0, 1, 2, 3}, {0, 2, 1, 3}, {2, 0, 1, 3},
                                                       {0, 1, 3, 2}, {3, 2, 1, 0}, {1, 3, 0, 2}};

}  // namespace

TEST_CASE(
    "cuda: a permuted view is copied as on the CPU, to and from one, for every size of element") {
  if (!has_cuda()) return;
  for (const sg::Shape& shape : {sg::Shape{2, 3, 5, 8},
                                 {3, 64, 2, 64},
                                 {2, 33, 65, 32},
                                 {1, 1, 200, 130},
                                 {40, 2, 3, 16},
                                 {1, 100, 1, 1}}) {
    for (const sg::DType dtype : {sg::bool_, sg::bf16, sg::f32, sg::f64}) {
      const Tensor count = sg::arange(0, static_cast<double>(shape.numel()), 1, {sg::i64});
      const Tensor x = sg::reshape(sg::cast(count, sg::f32), shape);
      const Tensor host = sg::cast(sg::sin(x), dtype), device = sg::to(host, Device::cuda());
      for (const auto& order : orders) {
        INFO(sg::to_string(shape) << " " << sg::name(dtype) << " " << order[0] << order[1]
                                  << order[2] << order[3]);
        const Tensor view = sg::permute(device, order), expected = sg::permute(host, order);
        CHECK(sg::contiguous(view).to_vector<double>() == expected.to_vector<double>());
        const Tensor dense = sg::contiguous(view);
        const Tensor target = sg::permute(sg::empty_like(device), order);
        sg::raw_copy(target, dense);
        CHECK(sg::contiguous(target).to_vector<double>() == expected.to_vector<double>());
        // One element in: no pack may begin where the memory does.
        const Tensor part = sg::slice(view, 3, view.size(3) > 1 ? 1 : 0, view.size(3));
        CHECK(sg::contiguous(part).to_vector<double>() ==
              sg::slice(expected, 3, view.size(3) > 1 ? 1 : 0, view.size(3)).to_vector<double>());
      }
    }
  }
}

TEST_CASE(
    "cuda: operands that repeat along rows, or from row to row, are broadcast as on the CPU") {
  if (!has_cuda()) return;
  for (const std::int64_t n : {1, 3, 8, 64, 65}) {
    for (const sg::DType dtype : {sg::bf16, sg::f32, sg::f64}) {
      INFO(n << " columns");
      const auto on = [&](Device device) {
        const auto numbers = [&](const sg::Shape& shape) {
          const Tensor count =
              sg::arange(0, static_cast<double>(shape.numel()), 1, {sg::i64, device});
          return sg::reshape(sg::cast(count, dtype), shape);
        };
        const Tensor x = numbers({7, n}), row = numbers({n}), column = numbers({7, 1});
        std::vector<double> all;
        for (const Tensor& y : {x + row, x * column, row - column, x + x, column + 1.0}) {
          const auto values = y.to_vector<double>();
          all.insert(all.end(), values.begin(), values.end());
        }
        return all;
      };
      CHECK(on(Device::cuda()) == on(Device::cpu()));
    }
  }
}
