#include <scangrad/cuda/families.h>
#include <scangrad/cuda/columns.cuh>
#include <scangrad/cuda/rows.cuh>

// Rows in registers; the parameters' gradients, which go down the columns, in fixed blocks of rows.
namespace scangrad::cuda {
namespace {

template <bool centred, class T>
void norm_typed(const Tensor& out, const Tensor& mean, const Tensor& rstd, const Tensor& x,
                const Tensor& weight, const Tensor& bias, double eps) {
  using C = compute_type<T>;
  const std::int64_t n = x.shape().back();
  const T* const from = x.data<T>();
  const Parameter<T> w{data_or_null<T>(weight), C(1)}, b{data_or_null<T>(bias), C(0)};
  T* const to = out.data<T>();
  C* const means = data_or_null<C>(mean);
  C* const rstds = rstd.data<C>();
  const C share = C(1) / C(n), least = C(eps);
  for_each_row_in_registers(
      x.device(), x.numel() / n, n, rows_in_packs<T>(n, from, to, w.data, b.data),
      Operands<T, 1>{{from}}, [=] __device__(auto& row, std::int64_t r) {
        const C m = centred ? row.sum([](auto, C v) { return v; }) * share : C(0);
        const C variance = row.sum([=](auto, C v) { return (v - m) * (v - m); }) * share;
        const C s = rsqrt(variance + least);
        if (row.first_lane()) {
          if (centred) means[r] = m;
          rstds[r] = s;
        }
        row.store(
            to + r * n, [=](auto, C v, C wj, C bj) { return (v - m) * s * wj + bj; }, w, b);
      });
}

/// With y the normalised row and h = g w: s (h − mean(h) − y mean(h y)), the first mean only where
/// `centred`.
template <bool centred, class T>
void input_gradient(const Tensor& dx, const Tensor& g, const Tensor& x, const Tensor& weight,
                    const Tensor& mean, const Tensor& rstd) {
  using C = compute_type<T>;
  const std::int64_t n = x.shape().back();
  const Operands<T, 2> inputs{{g.data<T>(), x.data<T>()}};
  const Parameter<T> w{data_or_null<T>(weight), C(1)};
  const C* const means = data_or_null<C>(mean);
  const C* const rstds = rstd.data<C>();
  T* const to = dx.data<T>();
  const C share = C(1) / C(n);
  for_each_row_in_registers(
      x.device(), x.numel() / n, n, rows_in_packs<T>(n, inputs.data[0], inputs.data[1], to, w.data),
      inputs, [=] __device__(auto& row, std::int64_t r) {
        const C m = centred ? means[r] : C(0), s = rstds[r];
        C hs = 0, hys = 0;
        row.for_each(
            [&](auto, C d, C v, C wj) {
              hs += d * wj;
              hys += d * wj * ((v - m) * s);
            },
            w);
        const C mean_hy = row.total(hys) * share, mean_h = centred ? row.total(hs) * share : C(0);
        row.store(
            to + r * n,
            [=](auto, C d, C v, C wj) { return s * (d * wj - mean_h - (v - m) * s * mean_hy); }, w);
      });
}

/// Σ g y and Σ g down the columns, y being the normalised rows: parts of them, then their sums.
template <bool centred, int V, class T>
void parameter_gradients(const Tensor& dweight, const Tensor& dbias, const Tensor& g,
                         const Tensor& x, const Tensor& mean, const Tensor& rstd) {
  using C = compute_type<T>;
  constexpr int width = column_lanes * V;
  const std::int64_t n = x.shape().back(), rows = x.numel() / n;
  const std::int64_t length = rows_of_a_block(rows, n, V), parts = (rows + length - 1) / length;
  const std::int64_t tiles = (n + width - 1) / width;
  const Tensor scratch = empty({2, parts, n}, {dtype_of<C>, x.device()});
  const T* const from = x.data<T>();
  const T* const grads = g.data<T>();
  const C* const means = data_or_null<C>(mean);
  const C* const rstds = rstd.data<C>();
  C* const partial = scratch.data<C>();
  const auto plus = [] __device__(C a, C b) { return a + b; };
  struct Loaded {
    Pack<T, V> g, x;
    C mean, rstd;
  };
  for_each_row(x.device(), tiles * parts, [=] __device__(std::int64_t unit) {
    const std::int64_t part = unit / tiles, tile = unit % tiles * width;
    const std::int64_t own = tile + threadIdx.x % column_lanes * V;
    reduce_columns<V, 2>(
        part * length, min(rows, (part + 1) * length), own < n, C(0),
        [=](std::int64_t r) {
          return Loaded{load_pack<V>(grads + r * n + own), load_pack<V>(from + r * n + own),
                        centred ? means[r] : C(0), rstds[r]};
        },
        [](C(&totals)[2][V], const Loaded& row) {
          for (int v = 0; v < V; ++v) {
            const C d = element(row.g, v);
            totals[0][v] += d * ((element(row.x, v) - row.mean) * row.rstd);
            totals[1][v] += d;
          }
        },
        plus,
        [=](int j, const C(&totals)[2]) {
          if (tile + j >= n) return;
          partial[part * n + tile + j] = totals[0];
          partial[(parts + part) * n + tile + j] = totals[1];
        });
  });
  T* const to_w = data_or_null<T>(dweight);
  T* const to_b = data_or_null<T>(dbias);
  for_each_row(
      x.device(), (n + column_lanes - 1) / column_lanes, [=] __device__(std::int64_t unit) {
        const std::int64_t tile = unit * column_lanes, own = tile + threadIdx.x % column_lanes;
        reduce_columns<1, 2>(
            0, parts, own < n, C(0),
            [=](std::int64_t part) {
              return Pack<C, 2>{partial[part * n + own], partial[(parts + part) * n + own]};
            },
            [](C(&totals)[2][1], const Pack<C, 2>& row) {
              for (int k = 0; k < 2; ++k) totals[k][0] += row.values[k];
            },
            plus,
            [=](int j, const C(&totals)[2]) {
              if (tile + j >= n) return;
              if (to_w != nullptr) to_w[tile + j] = T(totals[0]);
              if (to_b != nullptr) to_b[tile + j] = T(totals[1]);
            });
      });
}

template <bool centred>
void norm(const Tensor& out, const Tensor& mean, const Tensor& rstd, const Tensor& x,
          const Tensor& weight, const Tensor& bias, double eps) {
  dispatch(FloatTypes{}, x.dtype(), [&](auto tag) {
    norm_typed<centred, typename decltype(tag)::type>(out, mean, rstd, x, weight, bias, eps);
  });
}

template <bool centred>
void norm_backward(const Tensor& dx, const Tensor& dweight, const Tensor& dbias, const Tensor& g,
                   const Tensor& x, const Tensor& weight, const Tensor& mean, const Tensor& rstd) {
  dispatch(FloatTypes{}, x.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    if (dx.defined()) input_gradient<centred, T>(dx, g, x, weight, mean, rstd);
    if (dweight.defined() || dbias.defined()) {
      if (rows_in_packs<T>(x.shape().back(), g.data<T>(), x.data<T>())) {
        parameter_gradients<centred, row_width<T>, T>(dweight, dbias, g, x, mean, rstd);
      } else {
        parameter_gradients<centred, 1, T>(dweight, dbias, g, x, mean, rstd);
      }
    }
  });
}

}  // namespace

void fill_norm(Kernels& table) {
  table.layer_norm = norm<true>;
  table.layer_norm_backward = norm_backward<true>;
  table.rms_norm = norm<false>;
  table.rms_norm_backward = norm_backward<false>;
}

}  // namespace scangrad::cuda
