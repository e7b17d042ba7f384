#pragma once
#include <scangrad/ops/monoid_scan.h>

#include <cmath>
#include <limits>

// Matrix products in the semirings of sequence models: the sum over k of l_ik r_kj with "times"
// replaced by + (of log potentials) and "plus" by log-sum-exp or by max. Over a chain of K states,
// scanning its K×K transition scores gives the forward algorithm of a CRF and that of Viterbi. See
// Rush, "Torch-Struct: deep structured prediction library" (2020).

/// What the two share: a K×K matrix row by row, −∞ for what cannot be.
template <int K>
struct ScoreMatrix {
  static constexpr int size = K * K;

  /// 0 ("one") on the diagonal, −∞ ("zero") elsewhere.
  template <class C>
  SCANGRAD_FN static void identity(C* out) {
    for (int i = 0; i < size; ++i) {
      out[i] = i % (K + 1) == 0 ? C(0) : -std::numeric_limits<C>::infinity();
    }
  }

 protected:
  /// The largest l_ik + r_kj, and the last k where it is.
  template <class C>
  struct Best {
    C score;
    int k;
  };
  template <class C>
  SCANGRAD_FN static Best<C> best(const C* l, const C* r, int i, int j) {
    Best<C> most{l[i * K] + r[j], 0};
    for (int k = 1; k < K; ++k) {
      const C score = l[i * K + k] + r[k * K + j];
      if (score >= most.score || score != score) most = {score, k};
    }
    return most;
  }
};

/// (l ∘ r)_ij = log Σ_k exp(l_ik + r_kj): all paths together.
template <int K>
struct LogSumExpProduct : ScoreMatrix<K> {
  static constexpr const char* name = "log_sum_exp_scan";

  template <class C>
  SCANGRAD_FN static void combine(C* out, const C* l, const C* r) {
    for (int i = 0; i < K; ++i) {
      for (int j = 0; j < K; ++j) {
        const C most = LogSumExpProduct::best(l, r, i, j).score;
        C total = 0;
        for (int k = 0; k < K; ++k) total += std::exp(l[i * K + k] + r[k * K + j] - most);
        // No path at all: −∞ − −∞ is not a number.
        out[i * K + j] =
            most == -std::numeric_limits<C>::infinity() ? most : most + std::log(total);
      }
    }
  }
  /// A path's share exp(l_ik + r_kj − out_ij) of g_ij goes to both of its parts.
  template <class C>
  SCANGRAD_FN static void adjoint(C* dl, C* dr, const C* l, const C* r, const C* g) {
    C out[K * K];
    combine(out, l, r);
    for (int i = 0; i < K * K; ++i) dl[i] = dr[i] = 0;
    for (int i = 0; i < K; ++i) {
      for (int j = 0; j < K; ++j) {
        const C total = out[i * K + j];
        if (total == -std::numeric_limits<C>::infinity()) continue;
        for (int k = 0; k < K; ++k) {
          const C share = g[i * K + j] * std::exp(l[i * K + k] + r[k * K + j] - total);
          dl[i * K + k] += share;
          dr[k * K + j] += share;
        }
      }
    }
  }
};

/// (l ∘ r)_ij = max_k (l_ik + r_kj): the best path. Its gradient says which path that is; of
/// equally good ones the last k.
template <int K>
struct MaxPlusProduct : ScoreMatrix<K> {
  static constexpr const char* name = "max_plus_scan";

  template <class C>
  SCANGRAD_FN static void combine(C* out, const C* l, const C* r) {
    for (int i = 0; i < K; ++i) {
      for (int j = 0; j < K; ++j) out[i * K + j] = MaxPlusProduct::best(l, r, i, j).score;
    }
  }
  template <class C>
  SCANGRAD_FN static void adjoint(C* dl, C* dr, const C* l, const C* r, const C* g) {
    for (int i = 0; i < K * K; ++i) dl[i] = dr[i] = 0;
    for (int i = 0; i < K; ++i) {
      for (int j = 0; j < K; ++j) {
        const int k = MaxPlusProduct::best(l, r, i, j).k;
        dl[i * K + k] += g[i * K + j];
        dr[k * K + j] += g[i * K + j];
      }
    }
  }
};
