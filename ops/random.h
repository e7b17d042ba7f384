#pragma once
#include <scangrad/core/random.h>
#include <scangrad/core/tensor.h>

#include <cstdint>

// Random tensors. Each takes a Generator (null: the default one) and advances it by the words it
// used: element i takes word i, whatever the dtype, the device or the number of threads, so that a
// seed means the same numbers everywhere (normals within 4 ulp).
namespace scangrad {

/// TensorOptions for indices and other integers. The order of members is frozen.
struct IndexOptions {
  DType dtype = DType::i64;
  Device device = {};
};

/// Uniform on [low, high); a multiple of 2^-24 of the range, rounded to the dtype.
Tensor uniform(const Shape& shape, const TensorOptions& options = {}, double low = 0,
               double high = 1, Generator* generator = nullptr);
/// Normal with mean 0 and standard deviation 1.
Tensor randn(const Shape& shape, const TensorOptions& options = {}, Generator* generator = nullptr);
/// Normal. Throws ValueError for a negative standard deviation.
Tensor normal(const Shape& shape, double mean, double std, const TensorOptions& options = {},
              Generator* generator = nullptr);
/// Integers low … high − 1, i32 or i64. Throws ValueError for an empty range, one above 2^32, and
/// one that the dtype does not hold.
Tensor randint(std::int64_t low, std::int64_t high, const Shape& shape,
               const IndexOptions& options = {}, Generator* generator = nullptr);
/// 0 … n − 1 in random order, (n), i32 or i64.
Tensor permutation(std::int64_t n, const IndexOptions& options = {},
                   Generator* generator = nullptr);
/// n different indices from each row of probs (…, classes), drawn in proportion to the entries
/// (which need not sum to 1) without replacement: (…, n), i64. Throws ValueError where an entry is
/// negative or not finite, or fewer than n of a row are above 0 (and so reads back from the
/// device).
Tensor multinomial(const Tensor& probs, std::int64_t n = 1, Generator* generator = nullptr);

/// While training: each element is 0 with probability p, else x / (1 − p); x itself otherwise.
/// The mask is not stored: backward makes it again from the counter. Srivastava et al. 2014.
Tensor dropout(const Tensor& x, double p, bool training = true, Generator* generator = nullptr);

}  // namespace scangrad
