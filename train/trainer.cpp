#include <scangrad/autograd/engine.h>
#include <scangrad/core/backend.h>
#include <scangrad/core/format.h>
#include <scangrad/ops/creation.h>
#include <scangrad/ops/elementwise.h>
#include <scangrad/ops/matmul.h>
#include <scangrad/ops/shape.h>
#include <scangrad/train/evaluate.h>
#include <scangrad/train/open_run.h>
#include <scangrad/train/param_groups.h>
#include <scangrad/train/trainer.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <utility>

namespace scangrad {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

/// The configuration with what the data decide, and independent of the working directory.
RunConfig resolved(RunConfig config, const RunData& data) {
  const std::int64_t vocab_size = data.train->vocab_size();
  check<ValueError>(config.model.vocab_size == 0 || config.model.vocab_size == vocab_size,
                    "config: model.vocab_size is {}, but the data have {} tokens; leave it out",
                    config.model.vocab_size, vocab_size);
  config.model.vocab_size = vocab_size;
  if (config.data.separate_documents) {
    const auto mark = data.tokenizer ? data.tokenizer->end_of_text() : std::nullopt;
    check<ValueError>(
        mark.has_value(),
        "data: there is no {} in {}, so that data.separate_documents has no documents "
        "to separate",
        end_of_text_mark, config.data.file);
    config.model.document_start = *mark;
  }
  for (const auto& dataset : data.validation) {
    config.model.context = std::max(config.model.context, dataset->length());
  }
  for (std::string* file : {&config.from, &config.data.file, &config.data.validation_file}) {
    if (!file->empty()) *file = fs::absolute(*file).string();
  }
  return config;
}

std::unique_ptr<Optimizer> make_optimizer(const RunConfig& config, const LanguageModel& model) {
  const OptimizerConfig& o = config.optimizer;
  auto groups = language_model_groups(model.named_parameters(), {.context = config.data.length,
                                                                 .weight_decay = o.weight_decay,
                                                                 .clip = o.clip,
                                                                 .w_in_rate = o.w_in_rate});
  if (o.name == "sgd") {
    return std::make_unique<Sgd>(std::move(groups), SgdOptions{.momentum = o.momentum});
  }
  return std::make_unique<AdamW>(std::move(groups), AdamWOptions{o.beta1, o.beta2, o.eps});
}

/// A run begins in a folder without any: old files would stand in for new ones.
void refuse_run(const fs::path& folder) {
  check<ValueError>(!fs::exists(folder / "config.json"),
                    "{} already holds a run; resume it or choose another folder", folder.string());
  for (const char* rest : {"checkpoints", "metrics.jsonl"}) {
    check<ValueError>(!fs::exists(folder / rest),
                      "{} holds {} of an earlier run; remove it or choose another folder",
                      folder.string(), rest);
  }
}

Float32Matmul float32_matmul_of(const RunConfig& config) {
  return config.precision == "tf32" ? Float32Matmul::tf32 : Float32Matmul::full;
}

/// While it lives, the default generator is the run's, whose state it takes and leaves.
class RunGenerator {
 public:
  explicit RunGenerator(PhiloxState& state) : state_(state), callers_(default_generator().state()) {
    default_generator().set_state(state);
  }
  ~RunGenerator() {
    state_ = default_generator().state();
    default_generator().set_state(callers_);
  }
  RunGenerator(const RunGenerator&) = delete;
  RunGenerator& operator=(const RunGenerator&) = delete;

 private:
  PhiloxState& state_;
  PhiloxState callers_;
};

/// The tokenizer of the run that this one begins with, if there is one.
std::shared_ptr<const Tokenizer> tokenizer_before(const RunConfig& config) {
  if (config.from.empty()) return nullptr;
  read_run_config(config.from);  // throws where there is no run
  return read_run_tokenizer(config.from);
}

/// What is missing or wrong in the configuration shows before any data is read.
const RunConfig& validated(const RunConfig& config) {
  validate(config);
  return config;
}

}  // namespace

Trainer::Trainer(const RunConfig& config, const fs::path& folder,
                 std::shared_ptr<const Tokenizer> tokenizer)
    : folder_(folder),
      data_(open_run_data(validated(config), std::move(tokenizer))),
      loader_(*data_.train, config.batch, stream_seed(config.seed, Stream::order), data_.shuffle) {
  config_ = resolved(config, data_);
  learning_rate(config_.schedule, 0, config_.steps);  // throws where it makes no sense
  model_ = make_model(config_);
  if (config_.precision == "bf16") model_->set_activations(DType::bf16);
  optimizer_ = make_optimizer(config_, *model_);
  state_.generator = {stream_seed(config.seed, Stream::dropout), 0};
  state_.data = data_.fingerprint;
  loss_ = zeros({}, {DType::f32, model_->device()});
}

Trainer::Trainer(const RunConfig& config, const fs::path& folder)
    : Trainer(config, folder, tokenizer_before(config)) {
  refuse_run(folder);
  if (!config_.from.empty()) load_run_weights(config_.from, *model_);
}

void Trainer::open_folder() {
  if (!lock_) {
    make_folder(folder_);
    lock_.emplace(folder_);
    refuse_run(folder_);  // one that began after this object was made
  }
  if (data_.tokenizer) write_file(folder_ / "tokenizer.json", data_.tokenizer->to_json() + "\n");
  write_file(folder_ / "config.json", to_json(config_) + "\n");  // last: the run now exists
}

std::unique_ptr<Trainer> Trainer::resume(const fs::path& folder,
                                         std::optional<std::int64_t> steps) {
  RunConfig config = read_run_config(folder);
  if (steps) config.steps = *steps;
  std::unique_ptr<Trainer> trainer(new Trainer(config, folder, read_run_tokenizer(folder)));
  trainer->lock_.emplace(folder);
  if (const auto checkpoint = latest_checkpoint(folder)) {
    trainer->state_ = load_checkpoint(*checkpoint, *trainer->model_, trainer->optimizer_.get());
    const Fingerprint then = trainer->state_.data, now = trainer->data_.fingerprint;
    check<ValueError>(then == now,
                      "data: {} has changed since the run in {} was saved ({} tokens with hash "
                      "{:016x} then, {} with {:016x} now); restore it or begin a new run",
                      config.data.file, folder.string(), then.tokens, then.hash, now.tokens,
                      now.hash);
    trainer->loader_.set_state(trainer->state_.loader);
  } else if (!config.from.empty()) {
    load_run_weights(config.from, *trainer->model_);
  }
  check<ValueError>(trainer->state_.step <= config.steps, "{} has already {} steps; {} are fewer",
                    folder.string(), trainer->state_.step, config.steps);
  return trainer;
}

void Trainer::compute_step() {
  optimizer_->zero_grad();
  zero_(loss_);
  for (const Batch& batch : batches_) {
    const Tensor loss = language_model_loss(*model_, batch) / static_cast<double>(batches_.size());
    backward(loss);
    add_(loss_, loss.detach());
  }
  optimizer_->step();
}

/// Makes the tensors for batches of this length. A captured step is one of their shapes, so the
/// step is captured anew.
void Trainer::set_length(std::int64_t length) {
  const Shape shape = {config_.batch, length};
  if (!batches_.empty() && batches_[0].inputs.shape() == shape) return;
  const Device device = model_->device();
  computation_.emplace(device, [this] { compute_step(); });
  batches_.clear();
  for (std::int64_t i = 0; i < config_.optimizer.accumulate; ++i) {
    batches_.push_back({empty(shape, {DType::i64, device}), empty(shape, {DType::i64, device})});
  }
}

/// Gives the device the next step, and does not wait for it: the host prepares the one after.
void Trainer::train_step(double rate) {
  const std::int64_t length = length_at(config_.data, state_.step);
  set_length(length);
  for (const Batch& batch : batches_) {
    const Batch next = loader_.next();
    raw_copy(batch.inputs, contiguous(slice(next.inputs, 1, 0, length)));
    raw_copy(batch.targets, contiguous(slice(next.targets, 1, 0, length)));
  }
  optimizer_->set_learning_rate(rate);
  const RunGenerator dropout(state_.generator);
  const Float32MatmulMode mode(float32_matmul_of(config_));
  config_.capture ? computation_->run() : compute_step();
}

double Trainer::gradient_norm() const {
  double total = 0;
  for (const double norm : optimizer_->gradient_norms()) total += norm * norm;
  return std::sqrt(total);
}

void Trainer::save() {
  state_.loader = loader_.state();
  save_checkpoint(folder_, state_, *model_, optimizer_.get());
}

TrainingResult Trainer::run(const TrainingCallbacks& callbacks) {
  const RunConfig& c = config_;
  open_folder();
  model_->train();
  MetricsLog log(folder_ / "metrics.jsonl", state_.step);
  TrainingResult result;
  Clock::time_point start = Clock::now();
  double logged_seconds = 0;
  std::int64_t logged_step = state_.step;
  while (state_.step < c.steps && !result.stopped) {
    const double rate = learning_rate(c.schedule, state_.step, c.steps);
    train_step(rate);
    ++state_.step;

    const bool ends = state_.step == c.steps;
    const bool logs = ends || state_.step % c.log_every == 0;
    const bool validates = ends || state_.step % c.validate_every == 0;
    result.stopped = !ends && callbacks.should_stop && callbacks.should_stop();
    const bool saves =
        ends || result.stopped || (c.checkpoint_every > 0 && state_.step % c.checkpoint_every == 0);
    if (!logs && !validates && !saves) continue;

    result.train_loss = loss_.item<double>();
    const double norm = gradient_norm();
    const bool finite = std::isfinite(result.train_loss) && std::isfinite(norm);
    result.seconds += seconds_since(start);
    Metrics line = {{"step", static_cast<double>(state_.step)}};
    if (logs || !finite) {
      const auto tokens =
          static_cast<double>(tokens_trained(c, state_.step) - tokens_trained(c, logged_step));
      line.insert(line.end(), {{"train_loss", result.train_loss},
                               {"lr", rate},
                               {"gradient_norm", norm},
                               {"tokens_per_second", tokens / (result.seconds - logged_seconds)}});
      logged_seconds = result.seconds;
      logged_step = state_.step;
    }
    if (logs && !c.data.curriculum.empty()) {
      line.emplace_back("length", static_cast<double>(length_at(c.data, state_.step - 1)));
    }
    if (!finite) {
      log.write(line);
      fail<DivergenceError>(
          "training: at step {} the loss is {} with gradient norm {}; a lower "
          "learning rate (schedule.rate, optimizer.w_in_rate) may help",
          state_.step, result.train_loss, norm);
    }
    if (validates) {
      result.validation = evaluate();
      line.insert(line.end(), result.validation.begin(), result.validation.end());
      const double val_loss = metric(result.validation, "val_loss");
      if (val_loss < state_.best_loss) {
        state_.best_loss = val_loss;
        state_.best_step = state_.step;
      }
    }
    // The line before the checkpoint: a run killed between the two cuts it and writes it again.
    if (logs || validates) log.write(line);
    if (saves) {
      log.sync();
      save();
    }
    if (logs && callbacks.on_log) callbacks.on_log(line);
    if (validates && callbacks.on_validation) callbacks.on_validation(line);
    start = Clock::now();
  }
  result.steps = state_.step;
  result.best_loss = state_.best_loss;
  result.best_step = state_.best_step;
  return result;
}

Metrics Trainer::evaluate() {
  const Float32MatmulMode mode(float32_matmul_of(config_));
  return evaluate_run(*model_, data_, config_);
}

}  // namespace scangrad
