// Sums into the places of indices, which CUDA cuts into pieces: the CPU's answer, however many
// terms a place has. The terms are small integers, so that their order makes no difference.
#include <scangrad/ops/creation.h>
#include <scangrad/ops/elementwise.h>
#include <scangrad/ops/index.h>
#include <scangrad/ops/kernels.h>
#include <scangrad/ops/random.h>
#include <scangrad/ops/shape.h>
#include <scangrad/tests/support/catch.h>
#include <scangrad/tests/support/devices.h>

#include <vector>

namespace sg = scangrad;
using sg::Device;
using sg::Tensor;

namespace {

Tensor integers(const sg::Shape& shape, std::int64_t limit, sg::DType dtype, sg::Generator& g) {
  return sg::cast(sg::randint(0, limit, shape, {sg::i64}, &g), dtype);
}

/// The sums of x (outer, k, inner) into n places, on a device.
std::vector<double> index_add(const Tensor& index, const Tensor& x, std::int64_t n, Device device) {
  const Tensor out = sg::ones({x.size(0), n, x.size(2)}, {x.dtype(), device});
  sg::kernels(device).index_add(out, sg::to(index, device), sg::to(x, device),
                                {"index_add", "rows"});
  return out.to_vector<double>();
}

}  // namespace

TEST_CASE("cuda: index_add gives the CPU's sums, whatever the pieces that terms are cut into") {
  if (!has_cuda()) return;
  sg::Generator generator(1);
  for (const std::int64_t k :
       reduced<std::int64_t>({1, 31, 32, 33, 64, 65, 1000, 16384, 70000}, {1, 33, 16384})) {
    for (const std::int64_t n : reduced<std::int64_t>({1, 2, 65, 50257}, {2, 50257})) {
      for (const sg::Shape& around : {sg::Shape{1, 1}, {2, 3}, {1, 4}, {3, 20}}) {
        INFO(k << " terms, " << n << " places, " << sg::to_string(around));
        const Tensor index = integers({k}, n, sg::i64, generator);
        for (const sg::DType dtype : {sg::f32, sg::f64, sg::i64}) {
          const Tensor x = integers({around[0], k, around[1]}, 9, dtype, generator);
          CHECK(index_add(index, x, n, Device::cuda()) == index_add(index, x, n, Device::cpu()));
        }
      }
    }
  }
}

TEST_CASE("cuda: the same indices give the same sums, bit for bit") {
  if (!has_cuda()) return;
  sg::Generator generator(2);
  const Tensor index = integers({16384}, 65, sg::i64, generator);
  const Tensor x = sg::randn({1, 16384, compute_sanitizer() ? 32 : 256}, {}, &generator);
  const auto first = index_add(index, x, 65, Device::cuda());
  const int times = compute_sanitizer() ? 1 : 10;
  for (int i = 0; i < times; ++i) CHECK(index_add(index, x, 65, Device::cuda()) == first);
}

TEST_CASE("cuda: scatter_add gives the CPU's sums along few long lines and many short ones") {
  if (!has_cuda()) return;
  sg::Generator generator(3);
  for (const sg::Shape& shape : {sg::Shape{5000}, {2, 3000}, {3000, 2}, {2, 70, 3}, {200, 50}}) {
    for (int dim = 0; dim < shape.rank(); ++dim) {
      INFO(sg::to_string(shape) << " along " << dim);
      const Tensor index = integers(shape, 7, sg::i64, generator);
      sg::Shape wider = shape;
      for (int i = 0; i < wider.rank(); ++i) wider[i] = i == dim ? 7 : wider[i] + 1;
      const Tensor x = integers(wider, 9, sg::f32, generator);
      const Tensor src = integers(shape, 9, sg::f32, generator);
      const auto on = [&](Device device) {
        return sg::scatter_add(sg::to(x, device), dim, sg::to(index, device), sg::to(src, device))
            .to_vector<double>();
      };
      CHECK(on(Device::cuda()) == on(Device::cpu()));
    }
  }
}
