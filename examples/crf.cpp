// A linear-chain CRF (Lafferty, McCallum, Pereira 2001) by two scans of one kind: log-sum-exp gives
// the normaliser, and its gradient the probability of every transition; max-plus gives the best
// path's score, and its gradient the path (Viterbi 1967).
#include <log_semiring.h>
#include <scangrad/scangrad.h>

#include <cmath>
#include <iostream>
#include <vector>

namespace sg = scangrad;

namespace {

constexpr int states = 3;
constexpr std::int64_t steps = 7;

/// Log Z and the best score over all paths s_0 … s_T, one by one.
struct Enumerated {
  double total = 0, best = -1e300;

  explicit Enumerated(const std::vector<double>& scores) {
    const auto paths = static_cast<std::int64_t>(std::pow(states, steps + 1));
    for (std::int64_t path = 0; path < paths; ++path) {
      double score = 0;
      std::int64_t rest = path;
      for (std::int64_t t = 0; t < steps; ++t) {
        const std::int64_t from = rest % states, to = rest / states % states;
        score += scores[static_cast<std::size_t>((t * states + from) * states + to)];
        rest /= states;
      }
      total += std::exp(score);
      best = std::max(best, score);
    }
    total = std::log(total);
  }
};

bool close(double a, double b) { return std::abs(a - b) < 1e-9; }

}  // namespace

int main() {
  sg::Generator generator(2);
  // scores[t][i][j]: of going from state i to state j in step t, as log potentials.
  sg::Tensor scores =
      sg::randn({steps, states, states}, {sg::f64}, &generator).requires_grad_(true);
  const sg::Tensor elements = sg::flatten(scores, 1);  // (T, K·K)

  const sg::Tensor between = sg::monoid_scan<LogSumExpProduct<states>>(elements).last;
  const sg::Tensor log_z = sg::logsumexp(between);
  const sg::Tensor marginals = sg::grad(log_z, scores, {.retain_graph = true});
  const sg::Tensor best = sg::max(sg::monoid_scan<MaxPlusProduct<states>>(elements).last);
  const sg::Tensor path = sg::grad(best, scores);

  const Enumerated expected(scores.to_vector<double>());
  std::cout << "log Z: " << log_z.item<double>() << ", over all paths " << expected.total << "\n";
  std::cout << "best score: " << best.item<double>() << ", over all paths " << expected.best
            << "\n";
  std::cout << "P(transitions of step 0): " << to_string(sg::select(marginals, 0, 0)) << "\n";
  std::cout << "best path's transition of step 0: " << to_string(sg::select(path, 0, 0)) << "\n";

  // Each step's transitions are a distribution, and the path is one of them, worth its score.
  bool right =
      close(log_z.item<double>(), expected.total) && close(best.item<double>(), expected.best);
  for (const double p : sg::sum(marginals, {1, 2}).to_vector<double>())
    right = right && close(p, 1);
  for (const double p : sg::sum(path, {1, 2}).to_vector<double>()) right = right && close(p, 1);
  right = right && close(sg::sum(path * scores.detach()).item<double>(), expected.best);
  return right ? 0 : 1;
}
