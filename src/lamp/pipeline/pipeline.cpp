// Steps as tasks for the stages' workers, and what happens when one of them fails.
#include "lamp/pipeline/pipeline.h"

#include <ATen/Parallel.h>
#include <ATen/ThreadLocalState.h>
#include <torch/nn/modules/dropout.h>
#include <torch/utils.h>

#include <algorithm>
#include <new>
#include <unordered_map>
#include <utility>

#include "lamp/base/errors.h"
#include "lamp/base/memory_counter.h"
#include "lamp/base/setting_name.h"
#include "lamp/base/text.h"
#include "lamp/pipeline/no_autocast_cache.h"

namespace lamp {
namespace {

constexpr int kPredictionSlots = 2;  // inputs that may wait before each stage

Schedule forwards_only(int stages, int inputs) {
  Schedule schedule{.kind = ScheduleKind::kGPipe, .stages = stages, .microbatches = inputs};
  std::vector<Action> actions;
  for (int i = 0; i < inputs; ++i) actions.push_back({ActionKind::kForward, i});
  schedule.actions.assign(static_cast<std::size_t>(stages), actions);
  return schedule;
}

std::vector<StageAction> of_stage(const Schedule& schedule, std::size_t stage) {
  std::vector<StageAction> actions;
  for (const Action& action : schedule.actions[stage]) actions.push_back({stage, action});
  return actions;
}

// The gradients that parameters had before a step: put aside so that a failed step leaves no trace.
class EarlierGradients {
 public:
  explicit EarlierGradients(const std::vector<std::unique_ptr<Stage>>& stages) {
    for (const auto& stage : stages)
      for (const torch::Tensor& parameter : stage->parameters())
        gradients_.emplace_back(parameter, std::exchange(parameter.mutable_grad(), {}));
  }
  void add() {
    const torch::NoGradGuard no_gradients;
    for (auto& [parameter, before] : gradients_) {
      if (!before.defined()) continue;
      torch::Tensor& now = parameter.mutable_grad();
      now = now.defined() ? before.add_(now) : before;
    }
  }
  void restore() {
    for (auto& [parameter, before] : gradients_) parameter.mutable_grad() = before;
  }

 private:
  std::vector<std::pair<torch::Tensor, torch::Tensor>> gradients_;
};

bool draws_from_torch(const torch::nn::Module& module) {
  return module.as<torch::nn::Dropout>() != nullptr ||
         module.as<torch::nn::Dropout2d>() != nullptr ||
         module.as<torch::nn::Dropout3d>() != nullptr ||
         module.as<torch::nn::AlphaDropout>() != nullptr ||
         module.as<torch::nn::FeatureAlphaDropout>() != nullptr;
}

}  // namespace

Pipeline::Pipeline(std::shared_ptr<Sequence> chain, PipelineOptions options)
    : chain_(std::move(chain)), options_(std::move(options)), all_threads_(at::get_num_threads()) {
  if (options_.devices.empty()) throw UsageError("a pipeline needs at least one device");
  if (options_.microbatches < 1)
    throw UsageError(setting_name("execution.microbatches") + ": found " +
                     std::to_string(options_.microbatches) + ", expected 1 or more");
  const std::size_t count = options_.devices.size();
  if (options_.partition.empty())
    options_.partition = partition_by_costs(parameter_bytes(*chain_), count);
  check_partition(options_.partition, chain_->size(), count);
  if (options_.recompute.empty()) options_.recompute.assign(count, RecomputeRule::kNever);
  if (options_.recompute.size() != count)
    throw UsageError("found " + counted(options_.recompute.size(), "recompute rule") + " for " +
                     counted(count, "stage"));
  check_chain();
  for (std::size_t j = 0; j < count; ++j) {
    stages_.push_back(std::make_unique<Stage>(
        chain_, options_.partition,
        StageOptions{.index = static_cast<int>(j),
                     .stages = static_cast<int>(count),
                     .links = options_.partition[j],
                     .device = options_.devices[j],
                     .recompute = options_.recompute[j],
                     .split_backward = options_.schedule == ScheduleKind::kZeroBubble},
        transfer_));
    if (count > 1) workers_.push_back(std::make_unique<Worker>());
  }
}

void Pipeline::check_chain() const {
  std::unordered_map<const void*, std::size_t> owner;
  for (std::size_t j = 0; j < options_.partition.size(); ++j) {
    for (std::size_t link = options_.partition[j].first; link < options_.partition[j].last;
         ++link) {
      const Layer& layer = *chain_->layers()[link];
      for (const torch::Tensor& parameter : layer.parameters()) {
        const auto [found, is_new] = owner.emplace(parameter.unsafeGetTensorImpl(), j);
        TORCH_CHECK(is_new || found->second == j, "layer ", chain_->names()[link],
                    " shares a parameter with a layer of stage ", found->second,
                    "; they must be on one stage");
      }
      for (const auto& module : layer.modules())
        TORCH_CHECK(!draws_from_torch(*module), "layer ", chain_->names()[link],
                    " draws from torch's process-wide generator; use lamp::Dropout, whose masks "
                    "can be drawn again");
    }
  }
}

// CPU stages of which never two have work at the same time, or more stages than work side by side.
bool Pipeline::take_turns(const Schedule& schedule) const {
  if (is_crowded(options_.devices, all_threads_)) return true;
  const auto on_cpu = [](c10::Device device) { return device.is_cpu(); };
  return (schedule.microbatches == 1 || schedule.kind == ScheduleKind::kNaive) &&
         std::all_of(options_.devices.begin(), options_.devices.end(), on_cpu);
}

void Pipeline::fail(StepState& state, const Stage& stage, const Action& action) {
  {
    const std::lock_guard lock(failure_mutex_);
    if (!failure_.cause)
      failure_ = {std::current_exception(), stage.index(), action.microbatch, stage.link_name()};
  }
  state.cancelled = true;
  transfer_.cancel();
}

void Pipeline::run_actions(const std::vector<StageAction>& actions, StepState& state, int threads) {
  StageAction at = actions.front();
  try {
    if (at::get_num_threads() != threads) at::set_num_threads(threads);
    const NoAutocastCache no_cache;
    for (const StageAction& next : actions) {
      if (state.cancelled) return;
      at = next;
      const AccountScope scope(stage_account(stages_[at.stage]->index()));
      stages_[at.stage]->run(at.action);
    }
  } catch (const Cancelled&) {
    // The stage that failed has told the cause.
  } catch (...) {
    fail(state, *stages_[at.stage], at.action);
  }
}

void Pipeline::run_stages(StepState& state, const Schedule& schedule) {
  const int threads = options_.threads_per_stage > 0
                          ? options_.threads_per_stage
                          : stage_threads(options_.devices, all_threads_);
  failure_ = {};
  for (const auto& stage : stages_) {
    stage_account(stage->index()).reset_peak();
    stage->begin(state);
  }
  if (workers_.empty() || take_turns(schedule)) {
    std::vector<StageAction> actions = one_at_a_time(schedule);
    // One input through all stages before the next: few packets may wait (kPredictionSlots), and
    // nobody else would take them.
    if (!state.training)
      std::stable_sort(actions.begin(), actions.end(),
                       [](const StageAction& a, const StageAction& b) {
                         return a.action.microbatch < b.action.microbatch;
                       });
    run_actions(actions, state, threads);
  } else {
    const at::ThreadLocalState caller;
    for (std::size_t j = 0; j < workers_.size(); ++j) {
      workers_[j]->start([&, j] {
        const at::ThreadLocalStateGuard guard(caller);
        run_actions(of_stage(schedule, j), state, threads);
      });
    }
    for (const auto& worker : workers_) worker->wait();
  }
  // Workers set torch's default for threads that are yet to come; that is the caller's.
  if (at::get_num_threads() != all_threads_ || !workers_.empty()) at::set_num_threads(all_threads_);
}

void Pipeline::rethrow() const {
  const std::string where = "stage " + std::to_string(failure_.stage) + ", layer " +
                            failure_.layer + ", micro-batch " + std::to_string(failure_.microbatch);
  try {
    std::rethrow_exception(failure_.cause);
  } catch (c10::Error& error) {
    error.add_context("in " + where);
    throw;
  } catch (const Error& error) {
    if (error.exit_code() != kExitRuntime) throw;  // what the user should do has its own message
    throw Error(std::string(error.what()) + " (in " + where + ")");
  } catch (const std::bad_alloc&) {  // so has memory that ran out
    throw;
  } catch (const std::exception& error) {
    throw Error(std::string(error.what()) + " (in " + where + ")");
  } catch (...) {
    throw Error("something that is no exception was thrown (in " + where + ")");
  }
}

StepResult Pipeline::step(const torch::Tensor& batch, const LossFunction& loss,
                          const StepOptions& options) {
  TORCH_CHECK(loss != nullptr, "a training step needs a loss");
  TORCH_CHECK(batch.defined() && batch.dim() > 0 && batch.size(0) > 0,
              "a training step needs a batch [N, ...] of at least one sample");
  StepState state;
  state.parts = split_batch(
      batch.size(0), options.microbatches > 0 ? options.microbatches : options_.microbatches);
  state.inputs = scatter(batch, state.parts);
  state.loss = &loss;
  state.gradient_scale = options.gradient_scale;
  state.deferred_batch_norm = options_.deferred_batch_norm;
  state.seed = options_.seed;
  state.step = options.step;
  state.losses.resize(state.parts.size());
  state.input_gradients.resize(state.parts.size());
  const Schedule schedule = make_schedule(options_.schedule, static_cast<int>(stages_.size()),
                                          static_cast<int>(state.parts.size()));
  transfer_.reset(/*boundary_slots=*/0);
  EarlierGradients earlier(stages_);
  try {
    run_stages(state, schedule);
  } catch (...) {  // before the first action: no stage has done anything
    earlier.restore();
    throw;
  }
  if (failure_.cause) {
    for (const auto& stage : stages_) stage->rollback();
    transfer_.reset(0);
    earlier.restore();
    rethrow();
  }
  earlier.add();
  StepResult result;
  for (std::size_t i = 0; i < state.parts.size(); ++i)
    result.loss += state.losses[i].item<double>() * static_cast<double>(state.parts[i].count) /
                   static_cast<double>(batch.size(0));
  if (batch.requires_grad()) {
    for (std::size_t i = 0; i < state.parts.size(); ++i)
      if (!state.input_gradients[i].defined())
        state.input_gradients[i] = torch::zeros_like(state.inputs[i]);
    result.input_gradient = gather(state.input_gradients).to(batch.device());
  }
  for (const auto& stage : stages_) {
    stage->finish();
    result.peak_in_flight.push_back(stage->peak_in_flight());
    result.stage_peak_bytes.push_back(stage_account(stage->index()).peak_bytes());
    result.boundary_bytes += stage->boundary_bytes();
    result.skip_bytes += stage->skip_bytes();
    result.timeline.insert(result.timeline.end(), stage->events().begin(), stage->events().end());
  }
  return result;
}

std::vector<torch::Tensor> Pipeline::predict(const std::vector<torch::Tensor>& inputs) {
  if (inputs.empty()) return {};
  StepState state;
  state.training = false;
  state.seed = options_.seed;
  for (const torch::Tensor& input : inputs) {
    TORCH_CHECK(input.defined() && input.dim() > 0 && input.size(0) > 0,
                "a prediction needs inputs [N, ...] of at least one sample");
    state.parts.push_back({0, input.size(0)});
  }
  state.inputs = inputs;
  state.outputs.resize(inputs.size());
  transfer_.reset(kPredictionSlots);
  run_stages(state,
             forwards_only(static_cast<int>(stages_.size()), static_cast<int>(inputs.size())));
  if (failure_.cause) {
    for (const auto& stage : stages_) stage->rollback();
    transfer_.reset(0);
    rethrow();
  }
  for (const auto& stage : stages_) stage->finish();
  return std::move(state.outputs);
}

}  // namespace lamp
