#include <scangrad/models/embedding.h>
#include <scangrad/ops/index.h>
#include <scangrad/ops/random.h>

namespace scangrad {

Embedding::Embedding(std::int64_t count, std::int64_t width, double std, Generator& generator)
    : weight(normal({count, width}, 0, std, {}, &generator)) {
  register_parameter("weight", weight);
}

Tensor Embedding::forward(const Tensor& indices) const { return embedding(indices, weight); }

}  // namespace scangrad
