// scangrad convert: GPT-2 from Hugging Face's files to a run, and back.
#include <scangrad/core/error.h>
#include <scangrad/tools/commands.h>
#include <scangrad/train/bpe_tokenizer.h>
#include <scangrad/train/files.h>
#include <scangrad/train/gpt2.h>
#include <scangrad/train/trainer.h>

#include <fmt/format.h>

#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>

namespace scangrad::tools {
namespace {

namespace fs = std::filesystem;

struct Arguments {
  std::string hugging_face, run, out;
};

void to_run(const fs::path& folder, const fs::path& out) {
  PretrainedModel pretrained = load_gpt2(folder);
  RunConfig config;
  config.model = pretrained.config;
  config.data.length = config.model.context;
  Generator generator(config.seed);
  LanguageModel model(config.model, generator);
  model.load_state_dict(pretrained.state);
  std::unique_ptr<const Tokenizer> tokenizer;
  if (fs::exists(folder / "vocab.json") || fs::exists(folder / "encoder.json")) {
    tokenizer = std::make_unique<BpeTokenizer>(load_gpt2_vocabulary(folder));
    if (tokenizer->vocab_size() != config.model.vocab_size) {
      throw ValueError(fmt::format("{}: its vocabulary has {} tokens and its model {}",
                                   folder.string(), tokenizer->vocab_size(),
                                   config.model.vocab_size));
    }
  }
  make_folder(out);
  save_checkpoint(out, {}, model);
  if (tokenizer) write_file(out / "tokenizer.json", tokenizer->to_json() + "\n");
  write_file(out / "config.json", to_json(config) + "\n");  // last: the run now exists
  fmt::print("{}: a run of {} parameters{}\n", out.string(), model.parameter_count(),
             tokenizer ? "" : ", without a tokenizer (no vocab.json)");
}

void to_hugging_face(const fs::path& run, const fs::path& out) {
  const OpenRun opened = open_run(run);
  make_folder(out);
  save_gpt2(out, *opened.model);
  const char* without = ", without a tokenizer (the run has none)";
  if (opened.tokenizer != nullptr) {
    const auto* bpe = dynamic_cast<const BpeTokenizer*>(opened.tokenizer.get());
    const bool whole = bpe != nullptr && bpe->vocabulary().kept.empty();
    if (whole) save_gpt2_vocabulary(out, bpe->vocabulary());
    without = whole ? "" : ", without a tokenizer (the run's is no whole GPT-2 vocabulary)";
  }
  fmt::print("{}: {} parameters, trained for {} steps{}\n", (out / "model.safetensors").string(),
             opened.model->parameter_count(), opened.step, without);
}

void convert(const Arguments& arguments) {
  const fs::path out = arguments.out;
  if (fs::exists(out) && !fs::is_empty(out)) {
    throw ValueError(fmt::format("{} is not empty; name another folder", out.string()));
  }
  arguments.run.empty() ? to_run(arguments.hugging_face, out) : to_hugging_face(arguments.run, out);
}

}  // namespace

void add_convert(CLI::App& program) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command = program.add_subcommand(
      "convert", "GPT-2 from Hugging Face's files to a run that can be sampled, and back");
  CLI::Option_group* from = command->add_option_group("from");
  from->add_option("--hugging-face", arguments->hugging_face,
                   "A folder with config.json, model.safetensors and, for text, vocab.json and "
                   "merges.txt");
  from->add_option("--run", arguments->run, "The folder of a run of GPT-2's architecture");
  from->require_option(1);
  command->add_option("--out", arguments->out, "A new folder: the run, or Hugging Face's files")
      ->required();
  command->callback([arguments] { convert(*arguments); });
}

}  // namespace scangrad::tools
