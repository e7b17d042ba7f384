#include <scangrad/core/format.h>
#include <scangrad/train/config.h>
#include <scangrad/train/word_problem.h>

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <initializer_list>
#include <string>
#include <utility>
#include <vector>

namespace scangrad {
namespace {

void positive(const char* key, std::int64_t value) {
  check<ValueError>(value > 0, "config: {} must be 1 or more, not {}", key, value);
}

void not_negative(const char* key, double value) {
  check<ValueError>(value >= 0 && std::isfinite(value), "config: {} must be 0 or more, not {}", key,
                    value);
}

void one_of(const char* key, const std::string& value, const std::vector<std::string>& names) {
  check<ValueError>(std::find(names.begin(), names.end(), value) != names.end(),
                    "config: {} '{}' does not exist; use {}", key, value, fmt::join(names, ", "));
}

void validate_curriculum(const DataConfig& data) {
  std::int64_t before = -1;
  for (std::size_t i = 0; i < data.curriculum.size(); ++i) {
    const auto [from_step, length] = data.curriculum[i];
    const std::string stage = fmt::format("data.curriculum[{}]", i);
    check<ValueError>(i > 0 || from_step == 0, "config: {}.from_step must be 0, not {}", stage,
                      from_step);
    check<ValueError>(from_step > before,
                      "config: {}.from_step must be more than {}, that of the stage before, not {}",
                      stage, before, from_step);
    check<ValueError>(length >= 1 && length <= data.length,
                      "config: {}.length must be 1 to {}, which is data.length, not {}", stage,
                      data.length, length);
    before = from_step;
  }
}

}  // namespace

void validate(const RunConfig& c) {
  one_of("data.kind", c.data.kind, {"text", "words"});
  one_of("data.group", c.data.group, PermutationGroup::names());
  one_of("optimizer.name", c.optimizer.name, {"adamw", "sgd"});
  one_of("schedule.kind", c.schedule.kind, {"cosine", "linear", "constant"});
  one_of("precision", c.precision, {"fp32", "tf32", "bf16"});
  one_of("device", c.device, {"cpu", "cuda"});
  check_language_model(c.model);
  positive("data.length", c.data.length);
  validate_curriculum(c.data);
  for (const std::int64_t length : c.data.eval_lengths) positive("data.eval_lengths", length);
  positive("data.eval_sequences", c.data.eval_sequences);
  positive("optimizer.accumulate", c.optimizer.accumulate);
  positive("steps", c.steps);
  positive("schedule.update_every", c.schedule.update_every);
  positive("batch", c.batch);
  positive("validation_batch", c.validation_batch);
  positive("validate_every", c.validate_every);
  positive("log_every", c.log_every);
  check<ValueError>(c.data.train_fraction > 0 && c.data.train_fraction < 1,
                    "config: data.train_fraction must be between 0 and 1, not {}",
                    c.data.train_fraction);
  for (const auto& [key, value] : std::initializer_list<std::pair<const char*, double>>{
           {"optimizer.eps", c.optimizer.eps},
           {"optimizer.momentum", c.optimizer.momentum},
           {"optimizer.weight_decay", c.optimizer.weight_decay},
           {"optimizer.clip", c.optimizer.clip},
           {"optimizer.w_in_rate", c.optimizer.w_in_rate},
           {"schedule.rate", c.schedule.rate},
           {"schedule.warmup_rate", c.schedule.warmup_rate},
           {"schedule.final_rate", c.schedule.final_rate},
           {"schedule.warmup_steps", static_cast<double>(c.schedule.warmup_steps)},
           {"schedule.decay_steps", static_cast<double>(c.schedule.decay_steps)},
           {"checkpoint_every", static_cast<double>(c.checkpoint_every)}}) {
    not_negative(key, value);
  }
}

}  // namespace scangrad
