// Exponentials of small matrices, each in shared memory from its reading to its writing. A matrix
// of order n ≤ N is continued by zeros and has a few lanes of a warp, which share its rows; warps
// do not wait for each other.
#include <scangrad/cuda/small_matrix.h>
#include <scangrad/cuda/launch.cuh>

#include <cmath>

namespace scangrad::cuda {
namespace {

constexpr unsigned all_lanes = 0xFFFFFFFFu;

/// How a warp's matrices lie in shared memory: in packs of 16 bytes, one more a row and some more a
/// matrix than they need, so that its lanes' packs lie in different banks.
template <int N, class T>
struct Layout {
  static constexpr int pack = 16 / sizeof(T);
  static constexpr int rows = sizeof(T) == 4 ? 4 : N < 32 ? 2 : 1;  // of a lane
  static constexpr int lanes = N / rows;
  static constexpr int matrices = 32 / lanes;
  static constexpr int row = N + pack;
  static constexpr int matrix = N * row + lanes * pack;
};

/// How many matrices of shared memory an exponential takes, and the norm up to which its polynomial
/// is exact but for rounding (θ of ops/cpu/linalg.cpp).
template <class T>
inline constexpr int buffers = sizeof(T) == 4 ? 2 : 4;
template <class T>
inline constexpr double theta = sizeof(T) == 4 ? 0.58 : 0.64;

/// One lane of a matrix: rows lane, lane + lanes, … of it.
template <int N, class T>
struct ExpLane {
  using L = Layout<N, T>;
  using Row = Pack<T, L::pack>;
  /// The lane's rows of one matrix in registers.
  struct Rows {
    T values[L::rows][N] = {};
  };

  int lane;

  /// Where a row of the lane's begins in a matrix.
  __device__ int row(int r) const { return (r * L::lanes + lane) * L::row; }
  /// f(r, j, first) for the lane's packs: of row r, from column j, `first` being where in a matrix.
  template <class F>
  __device__ void for_each_pack(const F& f) const {
#pragma unroll
    for (int r = 0; r < L::rows; ++r) {
#pragma unroll
      for (int j = 0; j < N; j += L::pack) f(r, j, row(r) + j);
    }
  }
  /// 1 on the diagonal.
  __device__ T one(int r, int j) const { return T(j == r * L::lanes + lane); }
  __device__ void store(T* to, const Rows& x) const {
    for_each_pack([&](int r, int j, int first) {
      Row pack;
      for (int v = 0; v < L::pack; ++v) pack.values[v] = x.values[r][j + v];
      store_pack(to + first, pack);
    });
  }
  __device__ void load(Rows& x, const T* from) const {
    for_each_pack([&](int r, int j, int first) {
      const Row pack = load_pack<L::pack>(from + first);
      for (int v = 0; v < L::pack; ++v) x.values[r][j + v] = pack.values[v];
    });
  }
  /// total += left · right, where left(first) is a pack of the lane's rows.
  template <class Left>
  __device__ void multiply(Rows& total, const Left& left, const T* right) const {
#pragma unroll(N <= 8 ? N : 1)
    for (int k = 0; k < N; k += L::pack) {
      Row x[L::rows];
#pragma unroll
      for (int r = 0; r < L::rows; ++r) x[r] = left(row(r) + k);
#pragma unroll
      for (int l = 0; l < L::pack; ++l) {
#pragma unroll
        for (int j = 0; j < N; j += L::pack) {
          const Row y = load_pack<L::pack>(right + (k + l) * L::row + j);
#pragma unroll
          for (int r = 0; r < L::rows; ++r) {
#pragma unroll
            for (int v = 0; v < L::pack; ++v) {
              total.values[r][j + v] += x[r].values[l] * y.values[v];
            }
          }
        }
      }
    }
  }
  __device__ static auto rows_of(const T* matrix) {
    return [=](int at) { return load_pack<L::pack>(matrix + at); };
  }
  __device__ Rows product(const T* left, const T* right) const {
    Rows total;
    multiply(total, rows_of(left), right);
    return total;
  }
  /// `to` ← x when all lanes have read what was there, for all lanes to see.
  __device__ void replace(T* to, const Rows& x, bool wanted = true) const {
    __syncwarp();
    if (wanted) store(to, x);
    __syncwarp();
  }

  /// b ← its Taylor polynomial of degree 8 in three products (Bader, Blanes and Casas 2019): with
  /// c = (x₁ b + x₂ b²) b² it is 1 + b + y₂ b² + (x₃ b² + c)(x₄ + x₅ b + x₆ b² + x₇ c). `square` is
  /// scratch.
  __device__ void polynomial(T* b, T* square) const {
    constexpr double root = 13.30413469565007, x3 = 2.0 / 3;  // √177
    constexpr T x1 = x3 * (1 + root) / 88, x2 = x3 * (1 + root) / 352;
    constexpr T x4 = (29 * root - 271) / (315 * x3), x5 = 11 * (root - 1) / (1260 * x3);
    constexpr T x6 = 11 * (root - 9) / (5040 * x3), x7 = (89 - root) / (5040 * x3 * x3);
    constexpr T y2 = (857 - 58 * root) / 630;
    replace(square, product(b, b));
    Rows c;
    const auto combined = [=](int at) {
      Row pack = load_pack<L::pack>(b + at);
      const Row b2 = load_pack<L::pack>(square + at);
      for (int v = 0; v < L::pack; ++v) {
        pack.values[v] = x1 * pack.values[v] + x2 * b2.values[v];
      }
      return pack;
    };
    multiply(c, combined, square);
    __syncwarp();
    for_each_pack([&](int r, int j, int at) {
      const Row b1 = load_pack<L::pack>(b + at), b2 = load_pack<L::pack>(square + at);
      Row left, right;
      for (int v = 0; v < L::pack; ++v) {
        T& value = c.values[r][j + v];
        left.values[v] = T(x3) * b2.values[v] + value;
        right.values[v] = x4 * one(r, j + v) + x5 * b1.values[v] + x6 * b2.values[v] + x7 * value;
        value = one(r, j + v) + b1.values[v] + y2 * b2.values[v];
      }
      store_pack(square + at, left);
      store_pack(b + at, right);
    });
    __syncwarp();
    multiply(c, rows_of(square), b);
    replace(b, c);
  }
  /// b ← its Taylor polynomial of degree 15 in powers of b³ (Paterson and Stockmeyer 1973), in six
  /// products. The other matrices are scratch.
  __device__ void polynomial(T* b, T* square, T* cube, T* sum) const {
    store(square, product(b, b));
    replace(cube, product(square, b));
    for (int group = 4; group >= 0; --group) {
      double factorial = 1;  // (3 group)!
      for (int i = 2; i <= 3 * group; ++i) factorial *= i;
      T coefficients[4];
      for (int k = 0; k < 4; ++k) {
        coefficients[k] = static_cast<T>(1 / factorial);
        factorial *= 3 * group + k + 1;
      }
      // The highest group ends with b³; the others' is the lowest of the group above.
      if (group < 4) coefficients[3] = 0;
      Rows total;
      for_each_pack([&](int r, int j, int at) {
        const Row b1 = load_pack<L::pack>(b + at), b2 = load_pack<L::pack>(square + at),
                  b3 = load_pack<L::pack>(cube + at);
        for (int v = 0; v < L::pack; ++v) {
          total.values[r][j + v] = coefficients[0] * one(r, j + v) +
                                   coefficients[1] * b1.values[v] + coefficients[2] * b2.values[v] +
                                   coefficients[3] * b3.values[v];
        }
      });
      if (group < 4) multiply(total, rows_of(sum), cube);
      store(group > 0 ? sum : b, total);
    }
    __syncwarp();
  }
};

/// out (count, n, n) ← eᵃ by one warp a block: with B = a/2ˢ of norm ≤ θ, T(B)^{2ˢ}.
template <int N, class T>
__global__ void __launch_bounds__(32)
    exp_kernel(std::int64_t count, unsigned n, T* out, const T* a) {
  using L = Layout<N, T>;
  constexpr T largest = std::numeric_limits<T>::max();
  __shared__ alignas(16) T memory[buffers<T>][L::matrices * L::matrix];
  const std::int64_t first = std::int64_t{blockIdx.x} * L::matrices;
  const auto exist = static_cast<unsigned>(min(count - first, std::int64_t{L::matrices}));
  // f(where in memory, whether it is of a matrix, where in the matrices).
  const auto for_each_element = [=](const auto& f) {
#pragma unroll 16
    for (unsigned e = threadIdx.x; e < L::matrices * N * N; e += 32) {
      const unsigned k = e / (N * N), i = e / N % N, j = e % N;
      const bool inside = k < exist && i < n && j < n;
      f(k * L::matrix + i * L::row + j, inside, (k * n + i) * n + j);
    }
  };
  const T* const from = a + first * n * n;
  for_each_element([&](unsigned at, bool inside, unsigned index) {
    memory[0][at] = inside ? from[index] : T(0);
  });
  __syncwarp();

  const ExpLane<N, T> self{static_cast<int>(threadIdx.x) % L::lanes};
  const int own = static_cast<int>(threadIdx.x) / L::lanes * L::matrix;
  T* const b = memory[0] + own;
  typename ExpLane<N, T>::Rows rows;
  T norm = 0;  // the largest sum of a row, ∞ for NaN
  self.load(rows, b);
  for (int r = 0; r < L::rows; ++r) {
    T total = 0;
    for (int j = 0; j < N; ++j) total += fabs(rows.values[r][j]);
    norm = max(norm, total <= largest ? total : std::numeric_limits<T>::infinity());
  }
  norm = reduce_lanes(L::lanes, norm, T(0), [](T x, T y) { return max(x, y); });
  int squarings = 0;
  if (norm <= largest) frexp(static_cast<double>(norm) / theta<T>, &squarings);
  squarings = max(squarings, 0);
  const T scale = norm <= largest ? static_cast<T>(ldexp(1.0, -squarings))
                                  : std::numeric_limits<T>::quiet_NaN();
  for (auto& row : rows.values) {
    for (T& x : row) x *= scale;
  }
  self.replace(b, rows);
  if constexpr (buffers<T> == 2) {
    self.polynomial(b, memory[1] + own);
  } else {
    self.polynomial(b, memory[1] + own, memory[2] + own, memory[3] + own);
  }
  for (int done = 0; __any_sync(all_lanes, done < squarings); ++done) {
    self.replace(b, self.product(b, b), done < squarings);
  }
  T* const to = out + first * n * n;
  for_each_element([&](unsigned at, bool inside, unsigned index) {
    if (inside) to[index] = memory[0][at];
  });
}

template <int N, class T>
void launch(const Tensor& out, const Tensor& a) {
  constexpr int matrices = Layout<N, T>::matrices;
  const std::int64_t n = a.shape().back(), count = a.numel() / (n * n);
  const int device = out.device().index;
  const DeviceGuard guard(device);
  exp_kernel<N>
      <<<static_cast<unsigned>((count + matrices - 1) / matrices), 32, 0, stream(device)>>>(
          count, static_cast<unsigned>(n), out.data<T>(), a.data<T>());
  check_launch(device, std::source_location::current());
}

}  // namespace

void small_matrix_exp(const Tensor& out, const Tensor& a) {
  dispatch(TypeList<float, double>{}, a.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    with_padded_order(a.shape().back(),
                      [&](auto order) { launch<decltype(order)::value, T>(out, a); });
  });
}

}  // namespace scangrad::cuda
