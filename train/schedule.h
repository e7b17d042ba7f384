#pragma once
#include <cstdint>
#include <string>

namespace scangrad {

/// How the learning rate runs over the steps: up in a straight line from `warmup_rate` to `rate`
/// over `warmup_steps`, then, over `decay_steps`, by `kind` to `final_rate`, where it stays. The
/// order of members is frozen.
struct Schedule {
  std::string kind = "cosine";  ///< `cosine`, `linear` or `constant` (which stays at `rate`)
  double rate = 1e-3;
  double warmup_rate = 1e-4;
  double final_rate = 1e-4;
  std::int64_t warmup_steps = 100;
  std::int64_t decay_steps = 0;   ///< counted from the end of the warm-up; 0: to the run's end
  std::int64_t update_every = 1;  ///< the rate changes only at multiples of this many steps
};

/// The rate of a step, counted from 0, in a run of `total_steps`. Throws ValueError on an unknown
/// kind or negative lengths.
double learning_rate(const Schedule& schedule, std::int64_t step, std::int64_t total_steps);

}  // namespace scangrad
