#pragma once
#include <scangrad/cuda/matrix_exponent.cuh>

#include <cmath>

// Exponentials of small matrices and their derivatives in registers. A matrix of order n ≤ N is
// continued by zeros and has a warp for each 16 of its rows. Products are float64 whatever the
// dtype (fragments.cuh), so that squarings lose nothing of a float32 matrix.
namespace scangrad::cuda {

/// Tiles of 8 columns of a matrix; two matrices of order 4 are the diagonal blocks of one.
template <int N>
inline constexpr int tiles_of = N < 8 ? 1 : N / 8;
/// Warps that share a matrix, and matrices that share a warp or a block.
template <int N>
inline constexpr int warps_of = N <= 16 ? 1 : 2;
template <int N>
inline constexpr int matrices_of_warp = N < 8 ? 2 : 1;
template <int N>
inline constexpr int matrices_of_block = N <= 16 ? 4 * matrices_of_warp<N> : 1;

/// The largest ‖B‖ up to which the Taylor polynomial T of degree 8 (f32) or 15 (f64) is exact but
/// for rounding: T(B) = exp(B + h(B)) with ‖h(B)‖ ≤ u ‖B‖, as in ops/cpu/linalg.cpp, and for
/// derivatives ‖h'(B)‖ ≤ u (Al-Mohy and Higham 2009, with T for the Padé approximant).
template <class T, bool derivative>
inline constexpr double theta = derivative ? (sizeof(T) == 4 ? 0.445 : 0.535)
                                           : (sizeof(T) == 4 ? 0.58 : 0.64);

/// Where the matrices of a warp lie in memory: `count` of order n.
struct Extent {
  int count, n;
  bool packs;  // of 4 elements

  /// Of the element in a row and column of what the warp has; −1 for one of the padding.
  template <int N>
  __device__ int place(int row, int column) const {
    const int which = row / N, r = row % N, c = column - which * N;
    return which < count && r < n && 0 <= c && c < n ? (which * n + r) * n + c : -1;
  }
};

/// The least e with x < 2ᵉ, for normal x ≥ 0; −1022 for 0, 1025 for ∞ and NaN.
__device__ inline int exponent_above(double x) { return (__double2hiint(x) >> 20 & 0x7FF) - 1022; }

/// One warp of a matrix x, which with `derivative` has a tangent ẋ: (x, ẋ)(y, ẏ) = (xy, ẋy + xẏ).
template <int N, bool derivative, class T>
struct ExpWarp {
  static constexpr int NT = tiles_of<N>, parts = derivative ? 2 : 1, groups = NT == 1 ? 1 : 2;
  static constexpr int stored = 64 * NT * NT;  // elements of a part in shared memory
  /// The warp's rows of x and ẋ.
  struct Rows {
    Fragment<1, NT> part[parts] = {};
  };

  double* right;  // of a product, in shared memory: its parts
  int* norms;     // of each warp's rows, there
  int first_row;

  /// For the other lanes, and warps, of the matrix.
  __device__ static void wait() {
    if constexpr (warps_of<N> == 1) {
      __syncwarp();
    } else {
      __syncthreads();
    }
  }
  /// Whether the lane is of no matrix but between two that share the warp. There all is 0, so that
  /// neither is NaN because the other one is.
  __device__ static bool between() {
    const Lane lane = lane_of_warp();
    return N < 8 && lane.g / 4 != lane.q / 2;
  }
  /// f(1 on x's diagonal, an element of each) for all elements.
  template <class F, class... X>
  __device__ void for_each(const F& f, X&... x) const {
    const Lane lane = lane_of_warp();
#pragma unroll
    for (int p = 0; p < parts; ++p) {
#pragma unroll
      for (int i = 0; i < groups; ++i) {
#pragma unroll
        for (int j = 0; j < NT; ++j) {
#pragma unroll
          for (int u = 0; u < 2; ++u) {
            const int row = first_row + 8 * i + lane.g;
            f(p == 0 && row == column_of<NT>(j, u, lane.q) ? 1.0 : 0.0,
              x.part[p].values[i][j][u]...);
          }
        }
      }
    }
  }
  /// Part p of x ← matrices in memory, or their transposes.
  template <bool transposed>
  __device__ void load(Rows& x, int p, const T* from, const Extent& at) const {
    for_each_run<0, groups>(x.part[p], first_row, [=](int row, int column, auto& run) {
      constexpr int width = sizeof(run) / sizeof(run[0]);
      Pack<T, width> pack;
      if (!transposed && at.packs) {
        pack = load_pack<width>(from + row * N + column);
      } else {
        for (int i = 0; i < width; ++i) {
          const int place =
              transposed ? at.place<N>(column + i, row) : at.place<N>(row, column + i);
          pack.values[i] = place >= 0 ? from[place] : T(0);
        }
      }
      for (int i = 0; i < width; ++i) *run[i] = static_cast<double>(pack.values[i]);
    });
  }
  __device__ void store(T* to, Rows& x, int p, const Extent& at) const {
    for_each_run<0, groups>(x.part[p], first_row, [=](int row, int column, auto& run) {
      constexpr int width = sizeof(run) / sizeof(run[0]);
      Pack<T, width> pack;
      for (int i = 0; i < width; ++i) pack.values[i] = static_cast<T>(*run[i]);
      if (at.packs) {
        store_pack(to + row * N + column, pack);
      } else {
        for (int i = 0; i < width; ++i) {
          const int place = at.place<N>(row, column + i);
          if (place >= 0) to[place] = pack.values[i];
        }
      }
    });
  }
  /// x for all lanes to multiply with.
  __device__ void put(Rows& x) const {
    wait();
    for (int p = 0; p < parts; ++p) {
      store_from<0, groups>(right + p * stored, x.part[p], first_row);
    }
    wait();
  }
  /// total += left · what was put last; of the tangent alone where not `valued`.
  __device__ void multiply(Rows& total, const Rows& left, bool valued = true) const {
#pragma unroll
    for (int pair = 0; pair < tile_pairs<NT>; ++pair) {
      double b[in_pair<NT>][NT][2];
      load_right<false, NT>(b, right, pair);
      if constexpr (NT == 1) {  // x above ẋ, as one matrix of 16 rows
        double none[2] = {};
        const double zero[2] = {};
        auto& value = total.part[0].values[0][0];
        const auto& x = left.part[0].values[0][0];
        if constexpr (derivative) {
          auto& tangent = total.part[1].values[0][0];
          multiply_add(value, tangent, x, left.part[1].values[0][0], b[0][0]);
          load_right<false, NT>(b, right + stored, pair);
          multiply_add(tangent, none, x, zero, b[0][0]);
        } else {
          multiply_add(value, none, x, zero, b[0][0]);
        }
      } else {
        const auto add = [&](Fragment<1, NT>& y, const Fragment<1, NT>& x) {
#pragma unroll
          for (int k = 0; k < in_pair<NT>; ++k) {
            const int tile = 2 * pair + k;
#pragma unroll
            for (int j = 0; j < NT; ++j) {
              multiply_add(y.values[0][j], y.values[1][j], x.values[0][tile], x.values[1][tile],
                           b[k][j]);
            }
          }
        };
        if (valued) add(total.part[0], left.part[0]);
        if constexpr (derivative) {
          add(total.part[1], left.part[1]);
          load_right<false, NT>(b, right + stored, pair);
          add(total.part[1], left.part[0]);
        }
      }
    }
    if (between()) total = {};
  }

  /// The upper half of ‖x‖, the largest sum of a row, as a bit pattern, for all lanes of the
  /// matrix.
  __device__ int norm(const Rows& x) const {
    int largest = 0;
#pragma unroll
    for (int i = 0; i < groups; ++i) {
      double sum = 0;
#pragma unroll
      for (int j = 0; j < NT; ++j) {
        for (int u = 0; u < 2; ++u) sum += fabs(x.part[0].values[i][j][u]);
      }
      sum = reduce_lanes(4, sum, 0.0, [](double a, double b) { return a + b; });
      largest = max(largest, __double2hiint(sum) & 0x7FFFFFFF);  // of NaN with a sign, too
    }
    constexpr int lanes = 32 / matrices_of_warp<N>;
    const unsigned own = 0xFFFFFFFFu >> (32 - lanes) << (threadIdx.x % 32 / lanes * lanes);
    largest = __reduce_max_sync(own, largest);
    if constexpr (1 < warps_of<N>) {
      wait();
      if (threadIdx.x % 32 == 0) norms[threadIdx.x / 32] = largest;
      wait();
      for (int warp = 0; warp < warps_of<N>; ++warp) largest = max(largest, norms[warp]);
    }
    return largest;
  }

  /// b ← T(b), of degree 8 in three products (Bader, Blanes and Casas 2019), b² being at hand: with
  /// c = (x₁ b + x₂ b²) b² it is 1 + b + y₂ b² + (x₃ b² + c)(x₄ + x₅ b + x₆ b² + x₇ c).
  __device__ void polynomial_8(Rows& b, Rows& square) const {
    constexpr double root = 13.30413469565007, x3 = 2.0 / 3;  // √177
    constexpr double x1 = x3 * (1 + root) / 88, x2 = x3 * (1 + root) / 352;
    constexpr double x4 = (29 * root - 271) / (315 * x3), x5 = 11 * (root - 1) / (1260 * x3);
    constexpr double x6 = 11 * (root - 9) / (5040 * x3), x7 = (89 - root) / (5040 * x3 * x3);
    constexpr double y2 = (857 - 58 * root) / 630;
    Rows c, left;
    for_each([](double, double& l, double b1, double b2) { l = x1 * b1 + x2 * b2; }, left, b,
             square);
    put(square);
    multiply(c, left);
    for_each(
        [](double one, double& b1, double& b2, double& b4) {
          const double by = x4 * one + x5 * b1 + x6 * b2 + x7 * b4;
          b1 = one + b1 + y2 * b2;
          b2 = x3 * b2 + b4;
          b4 = by;
        },
        b, square, c);
    put(c);
    multiply(b, square);
  }
  /// b ← T(b), of degree 15 in powers of b³ (Paterson and Stockmeyer 1973), b² being at hand and b
  /// having been put.
  __device__ void polynomial_15(Rows& b, const Rows& square) const {
    Rows cube, sum;
    multiply(cube, square);
    put(cube);
#pragma unroll(N < 32 ? 5 : 1)  // for the terms to be constants
    for (int group = 4; group >= 0; --group) {
      double terms[4] = {1};  // 1/(3 group + k)!
#pragma unroll
      for (int i = 2; i <= 3 * group; ++i) terms[0] /= i;
#pragma unroll
      for (int k = 1; k < 4; ++k) terms[k] = terms[k - 1] / (3 * group + k);
      // The highest group ends with b³; the others' is the lowest of the group above.
      if (group < 4) terms[3] = 0;
      Rows total;
      for_each(
          [&](double one, double& t, double b1, double b2, double b3) {
            t = terms[0] * one + terms[1] * b1 + terms[2] * b2 + terms[3] * b3;
          },
          total, b, square, cube);
      if (group < 4) multiply(total, sum);
      sum = total;
    }
    b = sum;
  }

  /// x ← eˣ: with B = x/2ˢ, T(B)^{2ˢ}. What bounds h(B) is not ‖B‖ but (‖B²‖ ‖B‖)^{1/3}, which may
  /// be much less (Al-Mohy and Higham 2010, theorem 4.2).
  __device__ void exponential(Rows& x) const {
    constexpr double unit = 1 / theta<T, derivative>;
    const double size = __hiloint2double(norm(x), 0);
    const bool bounded = size <= std::numeric_limits<double>::max(), finite = bounded || between();
    const int squarings = bounded ? min(max(exponent_above(size * unit), 0), 1022) : 0;
    double scale = two_to(-squarings);
    for_each([=](double, double& b) { b *= finite ? scale : std::nan(""); }, x);
    Rows square;
    put(x);
    multiply(square, x);
    const double of_square = __hiloint2double(norm(square), 0) * unit * unit;
    const int excess = exponent_above(of_square * (size * unit * scale)) / 3;
    int left = squarings - min(max(-excess, 0), squarings);
    scale = two_to(squarings - left);
    for_each(
        [=](double, double& b, double& b2) {
          b *= scale;
          b2 *= scale * scale;
        },
        x, square);
    if constexpr (sizeof(T) == 4) {
      polynomial_8(x, square);
    } else {
      put(x);
      polynomial_15(x, square);
    }
    // Matrices that share a warp wait for each other.
    constexpr bool alone = matrices_of_warp<N> == 1;
    for (; alone ? left > 0 : __any_sync(0xFFFFFFFFu, left > 0); --left) {
      Rows product;
      put(x);
      multiply(product, x, !derivative || left > 1);
      if (alone || left > 0) x = product;
    }
  }
};

}  // namespace scangrad::cuda
