#include <scangrad/core/backend.h>
#include <scangrad/cuda/families.h>
#include <scangrad/cuda/gemm.h>
#include <scangrad/cuda/launch.cuh>

namespace scangrad::cuda {
namespace {

// ---- long sums: a result of few tiles would keep most of the chip idle

constexpr int slices = block_threads / 32;

template <class Out, class C>
__device__ void add_pack(Pack<C, 4>& total, const Pack<Out, 4>& pack) {
  for (int j = 0; j < 4; ++j) total.values[j] += static_cast<C>(pack.values[j]);
}

/// out ← Σ_p parts[p] (+ out), of (batch, packs) ← (batch, count, packs) packs of four. Each warp
/// of a block adds every eighth part, the first warp what they have: always in this order.
template <class Out, class C>
__global__ void __launch_bounds__(block_threads)
    sum_parts_kernel(Out* out, const C* parts, int count, std::int64_t packs, bool accumulate) {
  __shared__ Pack<C, 4> sums[slices][32];
  const int lane = threadIdx.x % 32, slice = threadIdx.x / 32;
  const std::int64_t pack = std::int64_t{blockIdx.x} * 32 + lane;
  Pack<C, 4> total = {};
  if (pack < packs) {
    const C* const from = parts + (blockIdx.y * count * packs + pack) * 4;
#pragma unroll 8
    for (int p = slice; p < count; p += slices) add_pack(total, load_pack<4>(from + p * packs * 4));
  }
  sums[slice][lane] = total;
  __syncthreads();
  if (slice > 0 || pack >= packs) return;
  for (int s = 1; s < slices; ++s) add_pack(total, sums[s][lane]);
  Out* const to = out + (blockIdx.y * packs + pack) * 4;
  if (accumulate) add_pack(total, load_pack<4>(to));
  Pack<Out, 4> result;
  for (int j = 0; j < 4; ++j) result.values[j] = static_cast<Out>(total.values[j]);
  store_pack(to, result);
}

/// out (batch, m, n) ← the sums of `count` neighbours each in parts (batch count, m, n).
template <class Out, class C>
void sum_parts(const Tensor& out, const Tensor& parts, int count, bool accumulate) {
  const std::int64_t batch = out.shape()[0], packs = out.numel() / batch / 4;
  const dim3 grid(static_cast<unsigned>((packs + 31) / 32), static_cast<unsigned>(batch));
  const DeviceGuard guard(out.device().index);
  sum_parts_kernel<<<grid, block_threads, 0, stream(out.device().index)>>>(
      out.data<Out>(), parts.data<C>(), count, packs, accumulate);
  check_launch(out.device().index, std::source_location::current());
}

void sum_parts(const Tensor& out, const Tensor& parts, int count, bool accumulate) {
  if (out.dtype() == DType::f64) return sum_parts<double, double>(out, parts, count, accumulate);
  if (out.dtype() == DType::f32) return sum_parts<float, float>(out, parts, count, accumulate);
  sum_parts<bfloat16, float>(out, parts, count, accumulate);
}

/// Matrices cut along dimension `dim` into `count` each: (batch count, …).
Tensor in_parts(const Tensor& t, int dim, int count) {
  Shape shape = t.shape();
  Strides strides = t.strides();
  shape[0] *= count;
  shape[dim] /= count;
  strides[0] = shape[dim] * strides[dim];
  return t.as_strided(shape, strides, t.offset());
}

/// Into how many products the sum over k is cut, of which the chip can run many at a time. It
/// depends on sizes and layouts alone.
int parts_of(const Tensor& out, const Tensor& a, const Tensor& b) {
  constexpr std::int64_t tile = 64, enough_tiles = 600, shortest_sum = 256;
  const std::int64_t batch = out.shape()[0], m = out.shape()[1], n = out.shape()[2];
  const std::int64_t k = a.shape()[2];
  const std::int64_t tiles = batch * ((m + tile - 1) / tile) * ((n + tile - 1) / tile);
  const bool even_batch =
      batch == 1 || (a.strides()[0] == k * a.strides()[2] && b.strides()[0] == k * b.strides()[1]);
  const bool packs = m * n % 4 == 0 && reinterpret_cast<std::uintptr_t>(out.raw_data()) % 16 == 0;
  if (k < 8 * shortest_sum || !even_batch || !packs) return 1;
  std::int64_t parts = 1;
  while (2 * parts * tiles <= enough_tiles && k % (16 * parts) == 0 &&  // 8 are 16 bytes of bf16
         k / (2 * parts) >= shortest_sum) {
    parts *= 2;
  }
  return static_cast<int>(parts);
}

void float_product(const Tensor& out, const Tensor& a, const Tensor& b,
                   const GemmOptions& options) {
  const Tensor left = readable(a), right = readable(b);
  const int parts = parts_of(out, left, right);
  if (parts == 1) return gemm(out, left, right, options);
  const DType dtype = out.dtype() == DType::f64 ? DType::f64 : DType::f32;
  const Tensor partial =
      empty({out.shape()[0] * parts, out.shape()[1], out.shape()[2]}, {dtype, out.device()});
  gemm(partial, in_parts(left, 2, parts), in_parts(right, 1, parts), {options.float32});
  sum_parts(out, partial, parts, options.accumulate);
}

// ---- integers

template <class T>
void integer_product(const Tensor& out, const Tensor& a, const Tensor& b, bool accumulate) {
  const std::int64_t m = out.shape()[1], n = out.shape()[2], k = a.shape()[2];
  const std::int64_t a0 = a.strides()[0], a1 = a.strides()[1], a2 = a.strides()[2];
  const std::int64_t b0 = b.strides()[0], b1 = b.strides()[1], b2 = b.strides()[2];
  const T* const pa = a.data<T>();
  const T* const pb = b.data<T>();
  T* const to = out.data<T>();
  for_each(out.device(), out.numel(), [=] __device__(std::int64_t i) {
    const std::int64_t batch = i / (m * n), row = i / n % m, column = i % n;
    T total = accumulate ? to[i] : 0;
    for (std::int64_t l = 0; l < k; ++l) {
      total += pa[batch * a0 + row * a1 + l * a2] * pb[batch * b0 + l * b1 + column * b2];
    }
    to[i] = total;
  });
}

void matmul(const Tensor& out, const Tensor& a, const Tensor& b, Float32Matmul float32,
            bool accumulate) {
  if (!accumulate && multiply_by_squares(out, a, b)) return;
  switch (a.dtype()) {
    case DType::f32:
    case DType::f64:
    case DType::bf16:
      return float_product(out, a, b, {float32, accumulate});
    case DType::i32:
      return integer_product<std::int32_t>(out, a, b, accumulate);
    case DType::i64:
      return integer_product<std::int64_t>(out, a, b, accumulate);
    default:
      unexpected_dtype(a.dtype());
  }
}

// ---- products with an epilogue

/// (1, rows, columns), or the transpose of that.
Tensor as_batch(const Tensor& t, bool transposed = false) {
  const std::int64_t rows = t.shape()[0], columns = t.shape()[1];
  if (!transposed) return t.as_strided({1, rows, columns}, {0, columns, 1}, t.offset());
  return t.as_strided({1, columns, rows}, {0, 1, columns}, t.offset());
}

bool linear(const Tensor& out, const Tensor& gelu_input, const Tensor& x, const Tensor& weight,
            const Tensor& bias, Float32Matmul float32) {
  using Kind = Epilogue::Kind;
  const Kind kind = gelu_input.defined() ? Kind::gelu : Kind::bias;
  return gemm_with_epilogue(as_batch(out), as_batch(x), as_batch(weight, true), float32,
                            {kind, bias, gelu_input});
}

bool gelu_linear_backward(const Tensor& out, const Tensor& dbias, const Tensor& g,
                          const Tensor& weight, const Tensor& gelu_input, Float32Matmul float32) {
  return gemm_with_epilogue(as_batch(out), as_batch(g), as_batch(weight), float32,
                            {Epilogue::Kind::gelu_backward, dbias, gelu_input});
}

}  // namespace

void fill_matmul(Kernels& table) {
  table.matmul = matmul;
  table.linear = linear;
  table.gelu_linear_backward = gelu_linear_backward;
}

}  // namespace scangrad::cuda
