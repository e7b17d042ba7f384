// Products with small square matrices, which are smaller than cuBLAS's smallest tile: of thousands
// of pairs (the MRU's schemes), or of many rows with a few (its W_down). They cost what moving them
// costs.
#include <scangrad/cuda/gemm.h>
#include <scangrad/cuda/launch.cuh>

#include <limits>

namespace scangrad::cuda {
namespace {

/// How matrices of order n lie in memory: one after another in groups, group after group.
template <class T>
struct Squares {
  const T* data;
  std::int64_t outer, inner;  // from one group to the next, and within one
  bool transposed;
};

constexpr int block_elements = 4 * block_threads;  // of a block's matrices

/// Four elements of a matrix, the ones from `element` on in the order of memory, to `matrix`, where
/// rows lie one after another.
template <int N, class T, class C>
__device__ void load_square(C* matrix, const Squares<T>& from, unsigned group, unsigned place,
                            int element) {
  const Pack<T, 4> pack =
      load_pack<4>(from.data + group * from.outer + place * from.inner + element);
  Pack<C, 4> wide;
  for (int j = 0; j < 4; ++j) wide.values[j] = static_cast<C>(pack.values[j]);
  if (!from.transposed) return store_pack(matrix + element, wide);
  for (int j = 0; j < 4; ++j) matrix[(element % N + j) * N + element / N] = wide.values[j];
}

/// out (count, N, N) ← a b; a thread computes four neighbours of a row.
template <int N, class T>
__global__ void __launch_bounds__(block_threads)
    squares_kernel(unsigned count, unsigned group_size, T* out, Squares<T> a, Squares<T> b) {
  using C = compute_type<T>;
  __shared__ alignas(16) C left[block_elements], right[block_elements];
  constexpr int size = N * N;
  const int thread = static_cast<int>(threadIdx.x);
  const int first = thread * 4 / size * size;  // of the matrix in the block
  const int element = thread * 4 % size;       // in the matrix
  const unsigned index = blockIdx.x * (block_elements / size) + static_cast<unsigned>(first / size);
  if (index < count) {
    const unsigned group = index / group_size, place = index % group_size;
    load_square<N>(left + first, a, group, place, element);
    load_square<N>(right + first, b, group, place, element);
  }
  __syncthreads();
  if (index >= count) return;
  const C* const row = left + first + element / N * N;
  const C* const columns = right + first + element % N;
  Pack<C, 4> total = {};
  for (int l = 0; l < N; l += 4) {
    const Pack<C, 4> x = load_pack<4>(row + l);
    for (int i = 0; i < 4; ++i) {
      const Pack<C, 4> y = load_pack<4>(columns + (l + i) * N);
      for (int j = 0; j < 4; ++j) total.values[j] += x.values[i] * y.values[j];
    }
  }
  Pack<T, 4> result;
  for (int j = 0; j < 4; ++j) result.values[j] = static_cast<T>(total.values[j]);
  store_pack(out + std::int64_t{index} * size + element, result);
}

template <int N, class T>
void launch(const Tensor& out, unsigned group_size, const Squares<T>& a, const Squares<T>& b) {
  const DeviceGuard guard(out.device().index);
  const std::int64_t blocks = (out.numel() + block_elements - 1) / block_elements;
  squares_kernel<N>
      <<<static_cast<unsigned>(blocks), block_threads, 0, stream(out.device().index)>>>(
          static_cast<unsigned>(out.numel() / (N * N)), group_size, out.data<T>(), a, b);
  check_launch(out.device().index, std::source_location::current());
}

template <class T>
bool multiply(const Tensor& out, const Tensor& a, const Tensor& b) {
  const Shape& shape = out.shape();
  const std::int64_t m = shape[1], n = shape[2], group_size = m / n;
  if (b.shape()[1] != n || m % n != 0 || shape[0] * group_size == 1) return false;
  if (shape[0] * group_size > std::numeric_limits<std::int32_t>::max()) return false;
  const auto is_dense = [n](const Tensor& t, bool transposed) {
    const Strides& s = t.strides();
    return s[0] % 4 == 0 && s[transposed ? 1 : 2] == 1 && s[transposed ? 2 : 1] == n &&
           aligned<4>(t.data<T>());
  };
  const bool a_transposed = group_size == 1 && is_dense(a, true);
  const bool b_transposed = is_dense(b, true);
  if (!(a_transposed || is_dense(a, false)) || !(b_transposed || is_dense(b, false))) return false;
  const Squares<T> left{a.data<T>(), a.strides()[0], n * n, a_transposed};
  const Squares<T> right{b.data<T>(), b.strides()[0], 0, b_transposed};
  const auto groups = static_cast<unsigned>(group_size);
  switch (n) {
    case 4:
      launch<4>(out, groups, left, right);
      return true;
    case 8:
      launch<8>(out, groups, left, right);
      return true;
    case 16:
      launch<16>(out, groups, left, right);
      return true;
    default:
      return false;
  }
}

}  // namespace

bool multiply_by_squares(const Tensor& out, const Tensor& a, const Tensor& b) {
  if (out.dtype() != a.dtype()) return false;
  switch (a.dtype()) {
    case DType::f32:
      return multiply<float>(out, a, b);
    case DType::f64:
      return multiply<double>(out, a, b);
    case DType::bf16:
      return multiply<bfloat16>(out, a, b);
    default:
      return false;
  }
}

}  // namespace scangrad::cuda
