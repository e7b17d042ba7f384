#pragma once
#include <scangrad/core/bfloat16.h>

#include <cmath>
#include <cstdint>

namespace scangrad {

/// The randomness of one operation: element i takes lane i mod 4 of the block at offset + i/4.
/// CPU and CUDA kernels derive the same words from it, whatever order they work in.
struct PhiloxState {
  std::uint64_t seed = 0;
  std::uint64_t offset = 0;
  /// A number on the device that is added to `offset` when a kernel runs, so that each replay of
  /// captured work (core/graph_capture.h) draws anew; null for none.
  const std::uint64_t* base = nullptr;
};
/// The counter of element 0's block, where `base` can be read.
SCANGRAD_FN std::uint64_t philox_counter(PhiloxState state) {
  return state.base == nullptr ? state.offset : state.offset + *state.base;
}

struct PhiloxBlock {
  std::uint32_t words[4];
};

/// Philox 4x32-10: ten rounds on a 128-bit counter (whose upper half scangrad leaves 0) with a
/// 64-bit key.
/// Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as 1, 2, 3" (SC 2011).
SCANGRAD_FN void philox_words(std::uint64_t seed, std::uint64_t counter, std::uint64_t counter_high,
                              std::uint32_t& w0, std::uint32_t& w1, std::uint32_t& w2,
                              std::uint32_t& w3) {
  // 32-bit numbers held in 64 bits: a loop over counters then vectorises twice as well.
  constexpr std::uint64_t low = 0xFFFFFFFFu;
  std::uint64_t c0 = counter & low, c1 = counter >> 32;
  std::uint64_t c2 = counter_high & low, c3 = counter_high >> 32;
  std::uint64_t k0 = seed & low, k1 = seed >> 32;
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t p0 = std::uint64_t{0xD2511F53u} * (c0 & low);
    const std::uint64_t p1 = std::uint64_t{0xCD9E8D57u} * (c2 & low);
    c0 = (p1 >> 32) ^ c1 ^ k0;
    c1 = p1 & low;
    c2 = (p0 >> 32) ^ c3 ^ k1;
    c3 = p0 & low;
    k0 = (k0 + 0x9E3779B9u) & low;
    k1 = (k1 + 0xBB67AE85u) & low;
  }
  w0 = static_cast<std::uint32_t>(c0);
  w1 = static_cast<std::uint32_t>(c1);
  w2 = static_cast<std::uint32_t>(c2);
  w3 = static_cast<std::uint32_t>(c3);
}
/// The same, returned.
SCANGRAD_FN PhiloxBlock philox(std::uint64_t seed, std::uint64_t counter,
                               std::uint64_t counter_high = 0) {
  PhiloxBlock block;
  philox_words(seed, counter, counter_high, block.words[0], block.words[1], block.words[2],
               block.words[3]);
  return block;
}

/// The 32 random bits of element i.
SCANGRAD_FN std::uint32_t philox_word(PhiloxState state, std::int64_t i) {
  const std::uint64_t n = static_cast<std::uint64_t>(i);
  return philox(state.seed, philox_counter(state) + n / 4).words[n % 4];
}

/// Uniform in [0, 1), a multiple of 2^-24, exact in float.
SCANGRAD_FN float philox_uniform(std::uint32_t word) {
  return static_cast<float>(word >> 8) * (1.0f / 16777216.0f);
}

/// Standard normals of elements 2k (cosine) and 2k + 1 (sine) from their two words, in double for
/// every dtype. Box and Muller: "A note on the generation of random normal deviates" (1958).
SCANGRAD_FN void philox_normals(std::uint32_t even, std::uint32_t odd, double out[2]) {
  constexpr double two_pi = 6.28318530717958647693;
  constexpr double scale = 1.0 / 4294967296.0;
  const double radius = std::sqrt(-2.0 * std::log((even + 1.0) * scale));  // of (0, 1]
  const double angle = two_pi * (odd * scale);
  out[0] = radius * std::cos(angle);
  out[1] = radius * std::sin(angle);
}

/// Elements whose uniform number is below p are dropped: those with word >> 8 below this.
SCANGRAD_FN std::uint32_t philox_drop_threshold(double p) {
  return static_cast<std::uint32_t>(std::ceil(p * 16777216.0));
}

/// One of range ≤ 2^32 values from 0, off the uniform distribution by at most range / 2^32.
SCANGRAD_FN std::int64_t philox_below(std::uint32_t word, std::uint64_t range) {
  return static_cast<std::int64_t>((std::uint64_t{word} * range) >> 32);
}

}  // namespace scangrad
