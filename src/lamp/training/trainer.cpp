// The loop: batch, loss, backward, checks, step, and at the right moments validation and saving.
#include "lamp/training/trainer.h"

#include <torch/torch.h>

#include <cmath>
#include <memory>
#include <new>
#include <utility>

#include "lamp/base/device.h"
#include "lamp/base/errors.h"
#include "lamp/base/files.h"
#include "lamp/base/interrupt.h"
#include "lamp/base/log.h"
#include "lamp/base/out_of_memory.h"
#include "lamp/base/progress.h"
#include "lamp/base/stopwatch.h"
#include "lamp/base/text.h"
#include "lamp/nets/model_file.h"
#include "lamp/nets/net_factory.h"
#include "lamp/nets/precision.h"
#include "lamp/pipeline/microbatch.h"
#include "lamp/training/batch_plan.h"
#include "lamp/training/batch_source.h"
#include "lamp/training/best_model.h"
#include "lamp/training/data_survey.h"
#include "lamp/training/execution.h"
#include "lamp/training/loss_scaler.h"
#include "lamp/training/numeric_guard.h"
#include "lamp/training/run_folder.h"
#include "lamp/training/run_log.h"
#include "lamp/training/run_state.h"
#include "lamp/training/validation.h"

namespace lamp {
namespace {

class Trainer {
 public:
  explicit Trainer(RunFolder folder);
  TrainSummary run();

 private:
  // Where the run is, for messages.
  std::string place() const;
  [[noreturn]] void refuse_size() const;
  bool go_to_open_stage();
  void run_stage();
  void start_optimizer(bool inside_stage);
  void run_epochs(const BatchPlan& plan, Prefetcher<Batch>& batches);
  // One optimizer step; returns the loss.
  double step(const Batch& batch);
  StepResult run_pipeline(const Batch& batch);
  // A number of its own for each step of the run: it keys dropout masks.
  std::int64_t step_key() const {
    return cursor_.epochs_done * (std::int64_t{1} << 32) + cursor_.step;
  }
  void start_pipeline(const torch::Tensor& prepared, std::int64_t microbatches);
  torch::Tensor predict_whole(const torch::Tensor& image);
  void end_epoch(const BatchPlan& plan);
  void validate_into(EpochRow& row);
  void save(bool weights);
  void stop_if_asked();
  Model model() const;
  const TrainConfig& config() const { return folder_.config; }
  const StageConfig& stage() const {
    return config().curriculum[static_cast<std::size_t>(cursor_.stage)];
  }

  RunFolder folder_;
  std::vector<c10::Device> devices_;  // one a pipeline stage
  const CaseSplit& split_;            // folder_'s
  CaseStore store_;
  Json intensities_;  // of the training cases
  Network network_;
  NamedParameters parameters_;
  std::unique_ptr<Pipeline> pipeline_;  // from the first batch on
  Precision precision_;
  LossScaler scaler_;
  std::unique_ptr<Loss> loss_;
  std::unique_ptr<torch::optim::Optimizer> optimizer_;
  Cursor cursor_;
  std::unique_ptr<RunLog> log_;
  std::unique_ptr<BestModel> best_;
  std::unique_ptr<Progress> progress_;
  Stopwatch epoch_start_;
  Stopwatch last_save_;
  double last_loss_ = 0;
};

Trainer::Trainer(RunFolder folder)
    : folder_(std::move(folder)),
      devices_(parse_devices(config().execution.device)),
      split_(folder_.split),
      store_(folder_.dataset, config().data, store_options(config().loader)),
      network_(make_network(config().net)),
      precision_(parse_precision(config().execution.precision, devices_.front().type())),
      scaler_(precision_ == Precision::kFp16) {
  intensities_ = survey_training_data(folder_.path, store_, split_.training, config());
  network_.initialise(config().seed);
  torch::manual_seed(
      config().seed);  // for layers that draw from torch's own generator, such as dropout
  if (folder_.state) {
    folder_.state->restore(network_);
    cursor_ = folder_.state->cursor();
  }
  network_.chain->to(devices_.front());
  if (training_layout(config().execution, config().net) == Layout::kChannelsLast)
    network_.use_channels_last();
  parameters_ = named_parameters(network_);
  loss_ = make_loss(config().loss,
                    class_weights(config(), store_, split_.training).to(devices_.back()));
  log_ = std::make_unique<RunLog>(folder_.path / "metrics.csv", folder_.dataset.labels,
                                  cursor_.epochs_done);
  best_ = std::make_unique<BestModel>(folder_.path, cursor_.best_dice, cursor_.epochs_done);
  cursor_.best_dice = best_->dice();
}

void Trainer::refuse_size() const {
  const std::string key = "curriculum." + std::to_string(cursor_.stage);
  const std::string patch = stage().patch ? size_text(*stage().patch, "x") : std::string("whole");
  throw DoesNotFit("out of memory at " + place() + ": found batches of " +
                   std::to_string(stage().batch) + ", patch " + patch + ", net.width " +
                   std::to_string(config().net.width) + "; use a smaller " + key + ".batch or " +
                   key +
                   ".patch, a narrower network, more devices or execution.recompute; lamp plan "
                   "says what fits, and the last saved state is whole");
}

std::string Trainer::place() const {
  return "stage " + std::to_string(cursor_.stage + 1) + ", epoch " +
         std::to_string(cursor_.epoch + 1) + ", step " + std::to_string(cursor_.step + 1);
}

TrainSummary Trainer::run() {
  log_info("training on " +
           (devices_.size() == 1 ? devices_.front().str() : config().execution.device) + ": " +
           std::to_string(split_.training.size()) + " cases, " +
           std::to_string(split_.validation.size()) + " held out for validation");
  if (!split_.validation.empty())
    log_info("held out (" + split_.origin + "): " + held_out_text(split_, folder_.dataset));
  if (const auto cache = cache_options(config().loader))
    log_info("prepared cases are kept in " + cache->folder.string() +
             " for other runs (loader.cache)");
  try {
    while (go_to_open_stage()) run_stage();
  } catch (const c10::Error& error) {
    if (!is_out_of_memory(error)) throw;
    refuse_size();
  } catch (const std::bad_alloc&) {
    refuse_size();
  }
  best_->keep_latest(model(), cursor_.epochs_done);  // lest it was lost since the last save
  return {cursor_.epochs_done, last_loss_, best_->dice(), best_->file()};
}

Model Trainer::model() const {
  Model model{
      .network = network_, .labels = folder_.dataset.labels, .data = to_json(config().data)};
  model.mirrored_axes = mirrored_axes(config().augment);
  model.intensities = intensities_;
  return model;
}

// A cursor stays in a stage that it has finished, so that a resume with more epochs goes on there.
// False at the end of the curriculum.
bool Trainer::go_to_open_stage() {
  const auto& stages = config().curriculum;
  const auto count = static_cast<std::int64_t>(stages.size());
  while (cursor_.stage < count && cursor_.epoch >= stage().epochs) {
    if (cursor_.stage + 1 == count) return false;
    ++cursor_.stage;
    cursor_.epoch = 0;
  }
  return cursor_.stage < count;
}

void Trainer::run_stage() {
  const BatchPlan plan(stage(), cursor_.stage, config().centre_by_class, config().seed,
                       split_.training, Augmenter(config().augment, folder_.dataset.labels));
  const std::int64_t steps = stage().epochs * plan.steps_per_epoch();
  const std::int64_t done = cursor_.epoch * plan.steps_per_epoch() + cursor_.step;
  pipeline_.reset();  // larger patches may need another cut and more recomputation
  network_.chain->to(devices_.front());
  start_optimizer(done > 0);
  log_info("stage " + std::to_string(cursor_.stage + 1) + " of " +
           std::to_string(config().curriculum.size()) + ": " + stage().describe() + ", " +
           std::to_string(stage().epochs) + " epochs" +
           (done > 0
                ? ", going on at step " + std::to_string(done + 1) + " of " + std::to_string(steps)
                : ""));
  progress_ = std::make_unique<Progress>("stage " + std::to_string(cursor_.stage + 1), steps, done);
  Prefetcher<Batch> batches = prefetch_batches(plan, store_, config().loader, done, steps);
  run_epochs(plan, batches);
  progress_.reset();
}

// The same optimizer keeps what it remembers from one stage to the next: RMSProp's first steps
// without a history are ten times too long.
void Trainer::start_optimizer(bool inside_stage) {
  const auto& stages = config().curriculum;
  const bool same =
      cursor_.stage > 0 &&
      stages[static_cast<std::size_t>(cursor_.stage - 1)].optimizer.name == stage().optimizer.name;
  const auto before = optimizer_ && same ? optimizer_state(*optimizer_, parameters_)
                                         : std::map<std::string, torch::Tensor>();
  optimizer_ = make_optimizer(stage().optimizer, parameters_);
  restore_optimizer(*optimizer_, parameters_, before);
  if (folder_.state && (inside_stage || same)) folder_.state->restore(*optimizer_, parameters_);
  folder_.state.reset();  // only the first stage goes on from it
}

void Trainer::run_epochs(const BatchPlan& plan, Prefetcher<Batch>& batches) {
  epoch_start_ = {};
  while (auto batch = batches.next()) {
    const std::int64_t at = cursor_.epoch * plan.steps_per_epoch() + cursor_.step;
    set_learning_rate(
        *optimizer_, learning_rate(stage().optimizer, at, stage().epochs * plan.steps_per_epoch()));
    last_loss_ = step(*batch);
    cursor_.loss_sum += last_loss_;
    ++cursor_.step;
    progress_->advance("loss " + fixed(last_loss_, 4));
    if (cursor_.step == plan.steps_per_epoch()) end_epoch(plan);
    stop_if_asked();
  }
}

// Cut once a stage, by its first batch: how it is cut changes no result.
void Trainer::start_pipeline(const torch::Tensor& prepared, std::int64_t microbatches) {
  const torch::Tensor sample =
      prepared.narrow(0, 0, split_batch(prepared.size(0), microbatches).front().count);
  pipeline_ = make_pipeline(network_, config().execution,
                            {.devices = devices_,
                             .sample = sample,
                             .microbatches = microbatches,
                             .optimizer_factor = optimizer_state_factor(stage().optimizer)},
                            config().seed);
  Json plan = describe(*pipeline_, config().execution);
  plan["curriculum_stage"] = cursor_.stage + 1;
  plan["microbatches"] = microbatches;
  plan["microbatch"] = sample.sizes().vec();  // N, C, D, H, W of the largest
  write_file(folder_.path / "plan.json", dump_json(plan) + "\n");
}

torch::Tensor Trainer::predict_whole(const torch::Tensor& image) {
  const torch::Tensor input = network_.prepare(image.to(devices_.front()));
  return network_.crop(pipeline_->predict({input})[0], image);
}

StepResult Trainer::run_pipeline(const Batch& batch) {
  const torch::Tensor image = batch.image.to(devices_.front());
  const torch::Tensor prepared = network_.prepare(image);
  const std::int64_t microbatches = choose_microbatches(config().execution, network_, prepared,
                                                        devices_, loss_->sum_over_samples());
  if (!pipeline_) start_pipeline(prepared, microbatches);
  const torch::Tensor flags =
      annotation_flags(batch.annotated, static_cast<int>(config().net.classes)).to(devices_.back());
  const torch::Tensor labels = batch.label.to(devices_.back());
  const LossFunction loss = [&](const torch::Tensor& output, const MicroBatch& part) {
    return (*loss_)(network_.crop(output, image), labels.narrow(0, part.first, part.count),
                    flags.narrow(0, part.first, part.count));
  };
  const PrecisionScope scope(precision_, devices_.front());
  return pipeline_->step(prepared, loss,
                         {.step = step_key(),
                          .gradient_scale = scaler_.scale(),
                          .microbatches = static_cast<int>(microbatches)});
}

double Trainer::step(const Batch& batch) {
  network_.chain->train();
  optimizer_->zero_grad(/*set_to_none=*/true);
  const double value = run_pipeline(batch).loss;
  const std::string advice =
      "; the last saved state is untouched: lower the learning rate of what is left and go on with "
      "--resume --set optimizer.lr=" +
      shortest(stage().optimizer.lr / 10);
  if (!std::isfinite(value)) {
    throw Error("training stopped: the loss is " + shortest(value) + " at " + place() +
                ", first in " + first_non_finite_layer(network_, batch.image) + advice);
  }
  const double scale = scaler_.scale();
  double norm = gradient_norm(parameters_);
  if (!scaler_.unscale(parameters_, norm)) {
    if (precision_ == Precision::kFp16 && !scaler_.exhausted())
      return value;  // an overflow of the scaled gradients
    throw Error("training stopped: a gradient is not finite at " + place() + ", first in " +
                first_non_finite_gradient(parameters_) + advice);
  }
  norm /= scale;
  if (const double limit = stage().optimizer.clip_norm; limit > 0 && norm > limit) {
    for (auto& [name, parameter] : parameters_)
      if (parameter.grad().defined()) parameter.mutable_grad().mul_(limit / norm);
  }
  optimizer_->step();
  return value;
}

void Trainer::end_epoch(const BatchPlan& plan) {
  EpochRow row{.epoch = ++cursor_.epochs_done,
               .stage = cursor_.stage + 1,
               .loss = cursor_.loss_sum / static_cast<double>(plan.steps_per_epoch()),
               .learning_rate = static_cast<torch::optim::OptimizerOptions&>(
                                    optimizer_->param_groups()[0].options())
                                    .get_lr()};
  const bool last = cursor_.epoch + 1 == stage().epochs;
  if (!split_.validation.empty() && (last || row.epoch % config().validation.every_epochs == 0))
    validate_into(row);
  row.seconds = cursor_.epoch_seconds + epoch_start_.seconds();
  log_->append(row);
  log_debug("epoch " + std::to_string(row.epoch) + ": loss " + fixed(row.loss, 5) + ", " +
            fixed(row.seconds, 2) + " s");
  epoch_start_ = {};
  cursor_ = {.stage = cursor_.stage,
             .epoch = cursor_.epoch + 1,
             .epochs_done = cursor_.epochs_done,
             .best_dice = cursor_.best_dice};
  if (last || last_save_.seconds() >= config().checkpoint_seconds) save(true);
}

void Trainer::validate_into(EpochRow& row) {
  const Validation validation =
      validate(network_, store_, split_.validation,
               [this](const torch::Tensor& image) { return predict_whole(image); });
  row.dice = validation.dice;
  row.dice_mean = validation.dice_mean();
  progress_->clear();
  log_info("epoch " + std::to_string(row.epoch) + ": loss " + fixed(row.loss, 4) +
           ", validation Dice " + validation.describe());
  best_->offer(validation, model(), row.epoch);
  cursor_.best_dice = best_->dice();
}

void Trainer::save(bool weights) {
  save_config(folder_);  // from now on it is true of the state
  if (weights) {
    save_model(folder_.path / "last.safetensors", model());
    best_->keep_latest(model(), cursor_.epochs_done);
    cursor_.best_dice = best_->dice();
  }
  save_state(folder_.path, network_, *optimizer_, cursor_);
  last_save_ = {};
}

void Trainer::stop_if_asked() {
  if (caught_signal() == 0) return;
  cursor_.epoch_seconds += epoch_start_.seconds();
  progress_.reset();
  save(true);
  throw_if_interrupted("the state is saved, go on with --resume");
}

}  // namespace

TrainSummary train(const TrainRequest& request) {
  RunFolder folder = open_run_folder(request);
  open_log_file((folder.path / "train.log").string());
  for (const std::string& note : folder.notes) log_info(note);
  return Trainer(std::move(folder)).run();
}

}  // namespace lamp
