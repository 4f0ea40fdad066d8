// The loop: batch, loss, backward, checks, step, and at the right moments validation and saving.
#include "lamp/training/trainer.h"

#include <torch/optim/optimizer.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <memory>
#include <new>
#include <utility>

#include "lamp/base/errors.h"
#include "lamp/base/interrupt.h"
#include "lamp/base/log.h"
#include "lamp/base/out_of_memory.h"
#include "lamp/base/progress.h"
#include "lamp/base/setting_name.h"
#include "lamp/base/stopwatch.h"
#include "lamp/base/text.h"
#include "lamp/execution/training_step.h"
#include "lamp/nets/model_file.h"
#include "lamp/nets/net_factory.h"
#include "lamp/training/batch_plan.h"
#include "lamp/training/batch_source.h"
#include "lamp/training/best_model.h"
#include "lamp/training/data_survey.h"
#include "lamp/training/run_folder.h"
#include "lamp/training/run_log.h"
#include "lamp/training/run_place.h"
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
  void start_step(bool inside_stage);
  void run_epochs(const BatchPlan& plan, Prefetcher<Batch>& batches);
  // One optimizer step; returns the loss.
  double step(const Batch& batch);
  // A number of its own for each step of the run: it keys dropout masks.
  std::int64_t step_key() const {
    return cursor_.epochs_done * (std::int64_t{1} << 32) + cursor_.step;
  }
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
  const CaseSplit& split_;  // folder_'s
  CaseStore store_;
  Json intensities_;  // of the training cases
  Network network_;
  torch::Tensor class_weights_;  // [C]
  LossScaler scaler_;
  std::unique_ptr<Loss> loss_;          // on the last device of the stage's plan
  std::unique_ptr<TrainingStep> step_;  // of a stage of the curriculum
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
      split_(folder_.split),
      store_(folder_.dataset, config().data, store_options(config().loader)),
      network_(make_network(config().net)),
      scaler_(config().execution.precision == "fp16") {
  intensities_ = survey_training_data(folder_.path, store_, split_, config());
  network_.initialise(config().seed);
  torch::manual_seed(
      config().seed);  // for layers that draw from torch's own generator, such as dropout
  if (folder_.state) {
    folder_.state->restore(network_);
    cursor_ = folder_.state->cursor();
  }
  cursor_.data = folder_.data_digest;
  cursor_.split = split_digest(split_, folder_.dataset);
  class_weights_ = class_weights(config(), store_, split_.training);
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
  if (!folder_.plan.empty())  // else nothing is left to train
    log_info("training on " + folder_.plan.front().device() + ": " +
             counted(split_.training.size(), "case") + ", " +
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
  start_step(done > 0);
  log_info("stage " + std::to_string(cursor_.stage + 1) + " of " +
           std::to_string(config().curriculum.size()) + ": " + stage().describe() + ", " +
           counted(stage().epochs, "epoch") +
           (done > 0
                ? ", going on at step " + std::to_string(done + 1) + " of " + std::to_string(steps)
                : ""));
  progress_ = std::make_unique<Progress>("stage " + std::to_string(cursor_.stage + 1), steps, done);
  Prefetcher<Batch> batches = prefetch_batches(plan, store_, config().loader, done, steps);
  run_epochs(plan, batches);
  progress_.reset();
}

// Cut as the stage's plan says: larger patches may need another cut and more recomputation. The
// same optimizer keeps what it remembers from one stage to the next: RMSProp's first steps without
// a history are ten times too long.
void Trainer::start_step(bool inside_stage) {
  const auto& stages = config().curriculum;
  const bool same =
      cursor_.stage > 0 &&
      stages[static_cast<std::size_t>(cursor_.stage - 1)].optimizer.name == stage().optimizer.name;
  const auto before = step_ && same ? optimizer_state(step_->optimizer(), step_->parameters())
                                    : std::map<std::string, torch::Tensor>();
  step_.reset();
  const ResolvedExecution& plan = folder_.plan.at(static_cast<std::size_t>(cursor_.stage));
  loss_ = make_loss(config().loss, class_weights_.to(plan.torch_devices().back()));
  step_ = std::make_unique<TrainingStep>(network_, *loss_, plan, stage().optimizer, scaler_,
                                         config().seed);
  restore_optimizer(step_->optimizer(), step_->parameters(), before);
  if (folder_.state && (inside_stage || same))
    folder_.state->restore(step_->optimizer(), step_->parameters());
  folder_.state.reset();  // only the first stage goes on from it
}

void Trainer::run_epochs(const BatchPlan& plan, Prefetcher<Batch>& batches) {
  epoch_start_ = {};
  while (auto batch = batches.next()) {
    const std::int64_t at = cursor_.epoch * plan.steps_per_epoch() + cursor_.step;
    set_learning_rate(step_->optimizer(), learning_rate(stage().optimizer, at,
                                                        stage().epochs * plan.steps_per_epoch()));
    last_loss_ = step(*batch);
    cursor_.loss_sum += last_loss_;
    ++cursor_.step;
    progress_->advance("loss " + fixed(last_loss_, 4));
    if (cursor_.step == plan.steps_per_epoch()) end_epoch(plan);
    stop_if_asked();
  }
}

double Trainer::step(const Batch& batch) {
  const StepBatch given{
      .image = batch.image,
      .label = batch.label,
      .flags = annotation_flags(batch.annotated, static_cast<int>(config().net.classes))};
  try {
    return step_->run(given, step_key()).loss;
  } catch (const NotFinite& fault) {
    throw Error("training stopped at " + place() + ": " + fault.what() +
                "; the last saved state is untouched: lower the learning rate of what is left and "
                "go on with " +
                setting_name("resume") + " " +
                setting_to("set", "optimizer.lr=" + shortest(stage().optimizer.lr / 10)));
  }
}

void Trainer::end_epoch(const BatchPlan& plan) {
  EpochRow row{.epoch = ++cursor_.epochs_done,
               .stage = cursor_.stage + 1,
               .loss = cursor_.loss_sum / static_cast<double>(plan.steps_per_epoch()),
               .learning_rate = static_cast<torch::optim::OptimizerOptions&>(
                                    step_->optimizer().param_groups()[0].options())
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
             .best_dice = cursor_.best_dice,
             .data = cursor_.data,
             .split = cursor_.split};
  if (last || last_save_.seconds() >= config().checkpoint_seconds) save(true);
}

void Trainer::validate_into(EpochRow& row) {
  const Validation validation =
      validate(network_, store_, split_.validation,
               [this](const torch::Tensor& image) { return step_->predict(image); });
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
  save_state(folder_.path, network_, step_->optimizer(), cursor_);
  mark_run_saved(folder_.path);
  last_save_ = {};
}

void Trainer::stop_if_asked() {
  if (caught_signal() == 0) return;
  cursor_.epoch_seconds += epoch_start_.seconds();
  progress_.reset();
  save(true);
  throw_if_interrupted(("the state is saved, go on with " + setting_name("resume")).c_str());
}

}  // namespace

TrainSummary train(const TrainRequest& request) {
  RunFolder folder = open_run_folder(request);
  open_log_file((folder.path / "train.log").string());
  for (const std::string& note : folder.notes) log_info(note);
  return Trainer(std::move(folder)).run();
}

}  // namespace lamp
