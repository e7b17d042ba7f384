// Reductions, which CUDA cuts by rows or by columns, into packs where it can and into parts where
// they are long: the CPU's answer for every way of lying in memory. The terms are small integers,
// so that the order of additions makes no difference.
#include <scangrad/ops/elementwise.h>
#include <scangrad/ops/random.h>
#include <scangrad/ops/reduce.h>
#include <scangrad/ops/shape.h>
#include <scangrad/tests/support/catch.h>
#include <scangrad/tests/support/devices.h>

#include <vector>

namespace sg = scangrad;
using sg::Device;
using sg::Tensor;

namespace {

/// f on the device and on the CPU alike.
template <class F>
void check_same(const Tensor& x, const F& f) {
  CHECK(f(sg::to(x, Device::cuda())).template to_vector<double>() ==
        f(x).template to_vector<double>());
}

}  // namespace

TEST_CASE("cuda: reductions give the CPU's results, over any dimensions of any view") {
  if (!has_cuda()) return;
  sg::Generator generator(1);
  const std::vector<sg::Shape> shapes =
      reduced<sg::Shape>({{1, 1, 1},
                          {3, 5, 7},
                          {2, 33, 8},
                          {5, 64, 16},
                          {3, 257, 68},
                          {1, 9000, 4},
                          {2, 3, 300},
                          {70, 300, 1},
                          {1, 50000, 3},
                          {1, 5000, 65},
                          {1, 4200, 1024},
                          {9, 1, 20000},
                          {1, 1, 70001}},
                         {{2, 33, 8}, {1, 9000, 4}, {1, 1, 70001}});
  for (const sg::Shape& shape : shapes) {
    for (const sg::DType dtype : {sg::f32, sg::bf16, sg::i64, sg::bool_}) {
      const Tensor x = sg::cast(sg::randint(0, 2, shape, {sg::i64}, &generator), dtype);
      for (const std::vector<std::int64_t>& dims : std::vector<std::vector<std::int64_t>>{
               {0}, {1}, {2}, {0, 1}, {1, 2}, {0, 2}, {0, 1, 2}}) {
        INFO(sg::to_string(shape) << " over " << dims.size() << " dimensions from " << dims[0]);
        const auto every_view = [&](const auto& f) {
          check_same(x, f);
          check_same(x, [&](const Tensor& t) { return f(sg::transpose(t, 0, 2)); });
          check_same(x,
                     [&](const Tensor& t) { return f(sg::slice(t, 2, t.size(2) > 1, t.size(2))); });
        };
        every_view([&](const Tensor& t) { return sg::amax(t, dims); });
        if (dtype != sg::bool_) every_view([&](const Tensor& t) { return sg::sum(t, dims); });
      }
    }
  }
}

TEST_CASE("cuda: max along a dimension names the first of equals, as the CPU does") {
  if (!has_cuda()) return;
  sg::Generator generator(2);
  for (const sg::Shape& shape : {sg::Shape{3, 1}, {7, 5}, {9, 33}, {40, 1000}}) {
    const Tensor x = sg::cast(sg::randint(0, 9, shape, {sg::i64}, &generator), sg::f32);
    for (const int dim : {0, 1}) {
      check_same(x, [&](const Tensor& t) { return sg::max(t, dim).indices; });
      check_same(x, [&](const Tensor& t) { return sg::min(t, dim).values; });
    }
  }
}
