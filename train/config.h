#pragma once
#include <scangrad/models/language_model.h>
#include <scangrad/train/schedule.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

// Everything that decides what a run does, as plain structs and as JSON with the same names and
// nesting: `{"model": {"width": 256, …}, "data": {…}, …}`. Keys that are left out keep their
// defaults; unknown keys and wrong types are ValueErrors that name the key.
namespace scangrad {

/// From a step on, how many of each sequence's first tokens are trained on.
struct CurriculumStage {
  std::int64_t from_step = 0;
  std::int64_t length = 0;
};

/// What the model is trained on.
struct DataConfig {
  std::string kind = "text";         ///< `text`: a file's characters; `words`: products in a group
  std::string file = "";             ///< of `text`: a text or token file
  std::string validation_file = "";  ///< of `text`: validates, and all of `file` trains
  std::string group = "s3";          ///< of `words`: `s3`, `s4`, `s5`, `a4` or `a5`
  std::int64_t length = 256;         ///< T, tokens that a sequence predicts
  std::vector<CurriculumStage> curriculum = {};  ///< stages from step 0 on; none: all `length`
  bool separate_documents = false;  ///< of `text`: nothing is remembered across `<|endoftext|>`
  double train_fraction = 0.9;      ///< of `text`: the rest validates, without a file for it
  std::vector<std::int64_t> eval_lengths = {};  ///< of `words`: besides `length`
  std::int64_t eval_sequences = 1024;           ///< of `words`: fresh ones for each length
};

struct OptimizerConfig {
  std::string name = "adamw";  ///< `adamw` or `sgd`
  double beta1 = 0.9;
  double beta2 = 0.99;
  double eps = 1e-8;
  double momentum = 0;          ///< of `sgd`
  double weight_decay = 0.1;    ///< of matrices; embeddings and norms have none
  double clip = 1;              ///< largest gradient norm of a group; 0 for none
  double w_in_rate = 1;         ///< multiplies the rate of MRU's W_in (and of `mru` positions)
  std::int64_t accumulate = 1;  ///< batches whose gradients make one step
};

struct RunConfig {
  /// A run's folder: this one begins with the weights of its latest checkpoint, and its tokenizer
  std::string from = "";
  LanguageModelConfig model = {};
  DataConfig data = {};
  OptimizerConfig optimizer = {};
  Schedule schedule = {.update_every = 10};
  std::int64_t steps = 5000;            ///< how long the run is
  std::int64_t batch = 64;              ///< sequences a batch
  std::int64_t validation_batch = 64;   ///< the validation loss is the mean over such batches
  std::int64_t validate_every = 250;    ///< steps; also at the end
  std::int64_t checkpoint_every = 250;  ///< steps; 0 for at the end only
  std::int64_t log_every = 10;          ///< steps
  std::uint64_t seed = 1;
  /// `fp32`; `tf32`: matrix products on tensor cores, on CUDA; `bf16`: activations too, with f32
  /// weights, norms and scans
  std::string precision = "fp32";
  std::string device = "cpu";
  bool capture = true;  ///< a step is one CUDA graph; else its kernels are started one by one
};

/// The whole configuration, indented.
std::string to_json(const RunConfig& config);
/// `base` with what the JSON text says.
RunConfig run_config_from_json(const std::string& text, const RunConfig& base = {});
/// Reads a JSON file. Throws IoError where it cannot be read.
RunConfig load_run_config(const std::filesystem::path& path);
/// One change, `optimizer.w_in_rate=16` or `model.layers=["mru","mlp"]`: the value is JSON or,
/// where it is none, a string.
void set(RunConfig& config, const std::string& assignment);
/// Throws ValueError naming the first value that no run can have.
void validate(const RunConfig& config);

/// The length of the sequences that a step, counted from 0, trains on.
std::int64_t length_at(const DataConfig& data, std::int64_t step);
/// On how many tokens the first `steps` steps train.
std::int64_t tokens_trained(const RunConfig& config, std::int64_t steps);

}  // namespace scangrad
