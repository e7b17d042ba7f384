// Evaluation is what training is judged by: the loss is the mean over batches, the accuracies are
// shares of all targets, however many batches there are and however small the last one is.
#include <scangrad/scangrad.h>
#include <scangrad/tests/support/catch.h>
#include <scangrad/train/evaluate.h>
#include <scangrad/train/word_problem.h>

#include <algorithm>
#include <cmath>
#include <vector>

using namespace scangrad;

TEST_CASE("evaluate counts what a reader of the logits would count") {
  Generator generator(3);
  LanguageModel model({.vocab_size = 6, .width = 8, .heads = 1, .layers = {"mlp"}, .dropout = 0.5},
                      generator);
  const WordProblem words("s3", 5, 7, 1);  // 7 sequences: batches of 3, 3 and 1
  const Evaluation result = evaluate(model, words, 3);
  CHECK(model.is_training());  // as it was

  model.eval();
  const auto guard = no_grad();
  double loss = 0;
  int correct = 0, last_correct = 0;
  for (const std::vector<std::int64_t>& indices :
       {std::vector<std::int64_t>{0, 1, 2}, {3, 4, 5}, {6}}) {
    const Batch batch = words.batch(indices);
    loss += language_model_loss(model, batch).item<double>() / 3;
    const auto logits = model.forward(batch.inputs).to_vector<float>();
    const auto targets = batch.targets.to_vector<std::int64_t>();
    for (std::size_t i = 0; i < targets.size(); ++i) {
      const auto row = logits.begin() + static_cast<std::ptrdiff_t>(6 * i);
      if (std::max_element(row, row + 6) - row != targets[i]) continue;
      ++correct;
      last_correct += i % 5 == 4 ? 1 : 0;
    }
  }
  CHECK(result.loss == Approx(loss).epsilon(1e-12));
  CHECK(result.accuracy == correct / 35.0);
  CHECK(result.last_accuracy == last_correct / 7.0);
}

TEST_CASE("The largest norm of a state is that over all batches; a model without states has none") {
  Generator generator(3);
  LanguageModel model({.vocab_size = 6,
                       .width = 8,
                       .heads = 2,
                       .layers = {"mru", "mlp", "mru"},
                       .scheme = "identity"},
                      generator);
  const WordProblem words("s3", 5, 7, 1);
  // W_in is zero, so that every state is the identity, of order 2.
  CHECK(log10_state_norm(model, words, 3) == Approx(0.5 * std::log10(2.0)));
  {
    const auto guard = no_grad();
    for (auto [name, tensor] : model.named_parameters()) {
      if (name.ends_with("w_in.weight")) copy_(tensor, randn(tensor.shape(), {}, &generator));
    }
  }
  const double whole = log10_state_norm(model, words, 7);
  CHECK(whole > 1);
  CHECK(log10_state_norm(model, words, 3) == Approx(whole));
  CHECK(model.is_training());  // as it was

  LanguageModel mlp({.vocab_size = 6, .width = 8, .heads = 1, .layers = {"mlp"}}, generator);
  CHECK(std::isnan(log10_state_norm(mlp, words, 3)));
}
