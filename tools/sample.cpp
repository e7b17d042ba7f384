// scangrad sample: text from a trained model, written as it is drawn.
#include <scangrad/autograd/grad_mode.h>
#include <scangrad/core/error.h>
#include <scangrad/models/sampling.h>
#include <scangrad/ops/creation.h>
#include <scangrad/ops/shape.h>
#include <scangrad/tools/commands.h>
#include <scangrad/tools/stopwatch.h>
#include <scangrad/train/trainer.h>

#include <fmt/format.h>

#include <cstdio>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

namespace scangrad::tools {
namespace {

struct Arguments {
  std::string run, prompt = "\n";
  std::int64_t tokens = 500;
  SamplingOptions sampling = {.temperature = 0.8};
  std::uint64_t seed = 1;
  bool interactive = false;
};

/// Writes the prompt and what the model continues it with, each token as it is drawn, and to stderr
/// how fast it drew them.
void continue_text(OpenRun& run, const std::string& prompt, const Arguments& arguments,
                   Generator& generator) {
  if (prompt.empty()) throw ValueError("sample: the prompt is empty");
  const std::vector<std::int32_t> encoded = run.tokenizer->encode(prompt);
  std::vector<std::int64_t> text(encoded.begin(), encoded.end()), next = text;
  LanguageModelState state = run.model->initial_state(1);
  fmt::print("{}", prompt);
  std::fflush(stdout);
  const auto start = Clock::now();
  for (std::int64_t i = 0; i < arguments.tokens; ++i) {
    const LanguageModelConfig& model = run.model->config();
    if (model.positions == "learned" &&
        state.position + static_cast<std::int64_t>(next.size()) > model.context) {
      // There are no further positions: go on as if the text began half a context back.
      next.assign(text.end() - (model.context + 1) / 2, text.end());
      state = run.model->initial_state(1);
    }
    const auto count = static_cast<std::int64_t>(next.size());
    const Tensor tokens = from<std::int64_t>(next, {1, count}, run.model->device());
    const Tensor logits = run.model->step(tokens, state);  // (1, count, vocab)
    next = {
        sample_token(reshape(slice(logits, 1, count - 1), {-1}), arguments.sampling, generator)};
    text.push_back(next[0]);
    fmt::print("{}", run.tokenizer->decode(next));
    std::fflush(stdout);
  }
  fmt::print("\n");
  std::fflush(stdout);
  const double seconds = milliseconds_since(start) / 1000;
  fmt::print(stderr, "{} tokens in {:.2f} s, {:.0f} tokens/s\n", arguments.tokens, seconds,
             static_cast<double>(arguments.tokens) / seconds);
}

/// Continues each line of stdin by itself; one that cannot be continued costs a message.
void converse(OpenRun& run, const Arguments& arguments, Generator& generator) {
  const auto ask = [](std::string& line) {
    fmt::print(stderr, "> ");
    std::fflush(stderr);
    return static_cast<bool>(std::getline(std::cin, line));
  };
  for (std::string line; ask(line);) {
    try {
      continue_text(run, line, arguments, generator);
    } catch (const ValueError& error) {
      fmt::print(stderr, "{}\n", error.what());
    }
  }
  fmt::print(stderr, "\n");
}

void sample(const Arguments& arguments) {
  check_sampling(arguments.sampling);
  OpenRun run = open_run(arguments.run);
  if (!run.tokenizer) {
    throw ValueError(fmt::format("sample: {} was not trained on text", arguments.run));
  }
  const auto guard = no_grad();
  Generator generator(arguments.seed);
  arguments.interactive ? converse(run, arguments, generator)
                        : continue_text(run, arguments.prompt, arguments, generator);
}

}  // namespace

void add_sample(CLI::App& program) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command = program.add_subcommand("sample", "Text from a trained model");
  command->add_option("--run", arguments->run, "The run's folder")->required();
  auto* prompt =
      command->add_option("--prompt", arguments->prompt, "What the text begins with (a new line)");
  command
      ->add_flag("--interactive", arguments->interactive,
                 "Read prompts from stdin, one a line, and continue each")
      ->excludes(prompt);
  command->add_option("--tokens", arguments->tokens, "How many to draw")
      ->capture_default_str()
      ->check(at_least(0));
  command
      ->add_option("--temperature", arguments->sampling.temperature,
                   "Divides the logits; 0 takes the likeliest token")
      ->capture_default_str();
  command->add_option("--top-k", arguments->sampling.top_k, "Of the k likeliest tokens; 0 for all")
      ->capture_default_str();
  command
      ->add_option("--top-p", arguments->sampling.top_p,
                   "Of the likeliest tokens that have this probability together")
      ->capture_default_str();
  command->add_option("--seed", arguments->seed, "The same seed draws the same text")
      ->capture_default_str();
  command->callback([arguments] { sample(*arguments); });
}

}  // namespace scangrad::tools
