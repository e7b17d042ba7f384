#include <scangrad/models/linear.h>
#include <scangrad/ops/matmul.h>
#include <scangrad/ops/random.h>

namespace scangrad {

Linear::Linear(std::int64_t in, std::int64_t out, double std, Generator& generator, bool has_bias)
    : weight(std == 0 ? zeros({out, in}) : normal({out, in}, 0, std, {}, &generator)) {
  register_parameter("weight", weight);
  if (!has_bias) return;
  bias = zeros({out});
  register_parameter("bias", bias);
}

Tensor Linear::forward(const Tensor& x) const { return linear(x, weight, bias); }

}  // namespace scangrad
