#include <scangrad/autograd/grad_mode.h>
#include <scangrad/core/format.h>
#include <scangrad/models/sampling.h>
#include <scangrad/ops/elementwise.h>
#include <scangrad/ops/index.h>
#include <scangrad/ops/random.h>
#include <scangrad/ops/scan.h>
#include <scangrad/ops/shape.h>
#include <scangrad/ops/softmax.h>

#include <cmath>

namespace scangrad {

void check_sampling(const SamplingOptions& options) {
  check<ValueError>(options.temperature >= 0 && std::isfinite(options.temperature),
                    "sample: temperature {} is not a number of 0 or more", options.temperature);
  check<ValueError>(options.top_k >= 0, "sample: top-k {} is negative", options.top_k);
  check<ValueError>(options.top_p > 0 && options.top_p <= 1, "sample: top-p {} is not in (0, 1]",
                    options.top_p);
}

std::int64_t sample_token(const Tensor& logits, const SamplingOptions& options,
                          Generator& generator) {
  check_sampling(options);
  check<ShapeError>(logits.rank() == 1 && logits.numel() > 0,
                    "sample: logits {} are not one vector of scores", logits.shape());
  const auto guard = no_grad();

  // Likeliest first; equal scores in token order, so that the choice is reproducible. NaN and then
  // infinity would be the first.
  auto [scores, tokens] = sort(cast(logits, DType::f64), -1, /*descending=*/true);
  const double best = select(scores, 0, 0).item<double>();
  check<ValueError>(std::isfinite(best), "sample: the largest of the logits is {}; {}", best,
                    best < 0
                        ? "no token can be drawn"
                        : "the model has diverged, or its state has grown too large over so many "
                          "tokens, as an MRU's may without normalize = frobenius");
  if (options.temperature == 0) return select(tokens, 0, 0).item<std::int64_t>();

  if (options.top_k > 0) scores = slice(scores, 0, 0, options.top_k);
  const Tensor probs =
      softmax((scores - best) / full({}, options.temperature, scores.options()), 0);
  const Tensor before = cumsum(probs, 0) - probs;  // of the likelier tokens together
  const Tensor kept = masked_fill(probs, ge(before, options.top_p), 0);
  return index_select(tokens, 0, multinomial(kept, 1, &generator)).item<std::int64_t>();
}

}  // namespace scangrad
