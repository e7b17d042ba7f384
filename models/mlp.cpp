#include <scangrad/models/mlp.h>
#include <scangrad/ops/elementwise.h>

namespace scangrad {

Mlp::Mlp(std::int64_t width, double out_std, double dropout, Generator& generator)
    : c_fc_(width, 4 * width, 0.02, generator),
      c_proj_(4 * width, width, out_std, generator),
      dropout_(dropout) {
  register_module("c_fc", c_fc_);
  register_module("c_proj", c_proj_);
  register_module("dropout", dropout_);
}

Tensor Mlp::forward(const Tensor& x) {
  return dropout_.forward(c_proj_.forward(gelu(c_fc_.forward(x))));
}

}  // namespace scangrad
