#include <scangrad/core/format.h>
#include <scangrad/models/sampling.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

namespace scangrad {

std::int64_t sample_token(const Tensor& logits, const SamplingOptions& options,
                          Generator& generator) {
  check<ValueError>(options.temperature >= 0 && std::isfinite(options.temperature),
                    "sample: temperature {} is not a number of 0 or more", options.temperature);
  check<ValueError>(options.top_k >= 0, "sample: top-k {} is negative", options.top_k);
  check<ValueError>(options.top_p > 0 && options.top_p <= 1, "sample: top-p {} is not in (0, 1]",
                    options.top_p);
  check<ShapeError>(logits.rank() == 1 && logits.numel() > 0,
                    "sample: logits {} are not one vector of scores", logits.shape());
  const std::vector<double> scores = logits.to_vector<double>();
  check<ValueError>(std::all_of(scores.begin(), scores.end(), [](double s) { return s == s; }),
                    "sample: the logits hold NaN; the model has diverged");

  // Likeliest first; equal scores in token order, so that the choice is reproducible.
  std::vector<std::size_t> order(scores.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return scores[a] > scores[b]; });
  if (options.temperature == 0) return static_cast<std::int64_t>(order[0]);

  const auto k = static_cast<std::size_t>(options.top_k);
  if (k > 0 && k < order.size()) order.resize(k);
  std::vector<double> weights;
  for (std::size_t token : order) {
    weights.push_back(std::exp((scores[token] - scores[order[0]]) / options.temperature));
  }
  const double total = std::accumulate(weights.begin(), weights.end(), 0.0);
  double kept = 0;
  std::size_t count = 0;
  while (count < weights.size() && kept < options.top_p * total) kept += weights[count++];

  const double uniform = philox_uniform(philox_word(generator.advance(1), 0));
  double below = 0;
  for (std::size_t i = 0; i < count; ++i) {
    below += weights[i];
    if (uniform * kept < below) return static_cast<std::int64_t>(order[i]);
  }
  return static_cast<std::int64_t>(order[count - 1]);
}

}  // namespace scangrad
