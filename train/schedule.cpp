#include <scangrad/core/format.h>
#include <scangrad/train/schedule.h>

#include <algorithm>
#include <cmath>
#include <numbers>

namespace scangrad {

double learning_rate(const Schedule& schedule, std::int64_t step, std::int64_t total_steps) {
  check<ValueError>(
      schedule.kind == "cosine" || schedule.kind == "linear" || schedule.kind == "constant",
      "schedule: unknown kind '{}'; there are cosine, linear and constant", schedule.kind);
  check<ValueError>(
      schedule.warmup_steps >= 0 && schedule.decay_steps >= 0 && schedule.update_every >= 1,
      "schedule: warmup_steps {} and decay_steps {} must not be negative, nor update_every {} be "
      "below 1",
      schedule.warmup_steps, schedule.decay_steps, schedule.update_every);
  const std::int64_t at = step - step % schedule.update_every;
  if (at < schedule.warmup_steps) {
    const double done = static_cast<double>(at) / static_cast<double>(schedule.warmup_steps);
    return schedule.warmup_rate + (schedule.rate - schedule.warmup_rate) * done;
  }
  if (schedule.kind == "constant") return schedule.rate;
  const std::int64_t length =
      schedule.decay_steps > 0 ? schedule.decay_steps : total_steps - schedule.warmup_steps;
  const double done = length > 0 ? std::min(1.0, static_cast<double>(at - schedule.warmup_steps) /
                                                     static_cast<double>(length))
                                 : 0.0;
  const double left =
      schedule.kind == "linear" ? 1 - done : 0.5 * (1 + std::cos(std::numbers::pi * done));
  return schedule.final_rate + (schedule.rate - schedule.final_rate) * left;
}

}  // namespace scangrad
