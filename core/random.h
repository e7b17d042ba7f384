#pragma once
#include <scangrad/core/philox.h>

#include <cstdint>

namespace scangrad {

/// A reproducible source of randomness: a seed and a counter, both plain numbers, so that its state
/// is saved and restored exactly. Every random operation takes one (the default where none is
/// given) and advances it by the words it used.
class Generator {
 public:
  explicit Generator(std::uint64_t seed = 0) : state_{seed, 0} {}

  /// The state for an operation on n elements; the next call gets fresh words.
  PhiloxState advance(std::int64_t n) {
    const PhiloxState current = state_;
    state_.offset += (static_cast<std::uint64_t>(n) + 3) / 4;
    return current;
  }
  PhiloxState state() const { return state_; }
  void set_state(PhiloxState state) { state_ = state; }

 private:
  PhiloxState state_;
};

/// The generator of operations that are given none. Not for use from several threads at once.
Generator& default_generator();
/// Restarts the default generator.
void manual_seed(std::uint64_t seed);

}  // namespace scangrad
