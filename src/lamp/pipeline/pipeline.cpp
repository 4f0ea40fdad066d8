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

#include "lamp/base/device.h"
#include "lamp/base/errors.h"
#include "lamp/base/memory_counter.h"
#include "lamp/base/out_of_memory.h"
#include "lamp/base/setting_name.h"
#include "lamp/base/text.h"
#include "lamp/pipeline/earlier_gradients.h"
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
  options_.replicas = std::max(options_.replicas, 1);
  options_.slabs = std::max(options_.slabs, 1);
  const auto lanes = static_cast<std::size_t>(options_.replicas * options_.slabs);
  if (options_.devices.size() % lanes != 0)
    throw UsageError(setting_name("execution.split") + ": found " +
                     counted(options_.devices.size(), "device") +
                     " for replicas=" + std::to_string(options_.replicas) +
                     ",slabs=" + std::to_string(options_.slabs) + ", expected a multiple");
  const std::size_t count = options_.devices.size() / lanes;
  if (options_.partition.empty())
    options_.partition = partition_by_costs(parameter_bytes(*chain_), count);
  check_partition(options_.partition, chain_->size(), count);
  if (options_.recompute.empty()) options_.recompute.assign(count, RecomputeRule::kNever);
  if (options_.recompute.size() != count)
    throw UsageError("found " + counted(options_.recompute.size(), "recompute rule") + " for " +
                     counted(count, "stage"));
  TORCH_CHECK(!options_.links || options_.links->rows() == options_.devices.size(),
              options_.devices.size(), " devices for the processes of another grid");
  check_chain();
  lanes_ = std::make_unique<LaneSet>(chain_, options_);
  if (options_.devices.size() > 1 && !options_.links)
    for (std::size_t i = 0; i < options_.devices.size(); ++i)
      workers_.push_back(std::make_unique<Worker>());
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

// Never lanes: slabs wait for each other.
bool Pipeline::stages_take_turns(const Schedule& schedule) const {
  return lanes_->has_one() && take_turns(device_names(options_.devices), all_threads_,
                                         schedule.kind, schedule.microbatches);
}

int Pipeline::threads_per_worker() const {
  if (options_.threads_per_stage > 0) return options_.threads_per_stage;
  const std::vector<std::string> devices = device_names(options_.devices);
  if (!lanes_->has_one() && is_crowded(devices, all_threads_)) return 1;
  return stage_threads(devices, all_threads_);
}

void Pipeline::fail(const Stage& stage, const Action& action) {
  {
    const std::lock_guard lock(failure_mutex_);
    if (!failure_.cause)
      failure_ = {std::current_exception(), stage.replica(),  stage.index(), stage.slab(),
                  action.microbatch,        stage.link_name()};
  }
  cancelled_ = true;
  lanes_->cancel();
}

void Pipeline::run_actions(const Lane& lane, const std::vector<StageAction>& actions, int threads) {
  StageAction at = actions.front();
  try {
    if (at::get_num_threads() != threads) at::set_num_threads(threads);
    const NoAutocastCache no_cache;
    for (const StageAction& next : actions) {
      if (cancelled_) return;
      at = next;
      const AccountScope scope(stage_account(lane.stage(at.stage).row()));
      lane.stage(at.stage).run(at.action);
    }
    const AccountScope scope(stage_account(lane.stage(at.stage).row()));
    lane.stage(at.stage).sum_gradients();
  } catch (const Cancelled&) {
    // The worker that failed has told the cause.
  } catch (...) {
    fail(lane.stage(at.stage), at.action);
  }
}

void Pipeline::run_on_workers(std::vector<StepState>& states, const Schedule& schedule,
                              int threads) {
  const at::ThreadLocalState caller;
  for (const Lane& lane : lanes_->at_work(states.size()))
    for (const auto& stage : lane.stages) {
      const auto j = static_cast<std::size_t>(stage->index());
      workers_[static_cast<std::size_t>(stage->row())]->start([&, j] {
        const at::ThreadLocalStateGuard guard(caller);
        run_actions(lane, of_stage(schedule, j), threads);
      });
    }
  for (const auto& worker : workers_) worker->wait();
}

void Pipeline::run_stages(std::vector<StepState>& states, const Schedule& schedule) {
  const int threads = threads_per_worker();
  failure_ = {};
  cancelled_ = false;
  for (const Lane& lane : lanes_->at_work(states.size())) {
    states[lane.index].cancelled = &cancelled_;
    for (const auto& stage : lane.stages) {
      stage_account(stage->row()).reset_peak();
      stage->begin(states[lane.index]);
    }
  }
  if (options_.links) {
    for (const Lane& lane : lanes_->at_work(states.size()))
      run_actions(lane, of_stage(schedule, static_cast<std::size_t>(lane.stages.front()->index())),
                  threads);
  } else if (workers_.empty() || stages_take_turns(schedule)) {
    std::vector<StageAction> actions = one_at_a_time(schedule);
    // One input through all stages before the next: few packets may wait (kPredictionSlots), and
    // nobody else would take them.
    if (!states.front().training)
      std::stable_sort(actions.begin(), actions.end(),
                       [](const StageAction& a, const StageAction& b) {
                         return a.action.microbatch < b.action.microbatch;
                       });
    run_actions(lanes_->at_work(1).front(), actions, threads);
  } else {
    run_on_workers(states, schedule, threads);
  }
  // Workers set torch's default for threads that are yet to come; that is the caller's.
  if (at::get_num_threads() != all_threads_ || !workers_.empty()) at::set_num_threads(all_threads_);
}

void Pipeline::roll_back(std::size_t lanes) {
  for (const Lane& lane : lanes_->at_work(lanes))
    for (const auto& stage : lane.stages) stage->rollback();
  lanes_->reset_exchanges(/*boundary_slots=*/0, /*lanes=*/0);
}

LaneGrid Pipeline::lane_grid(std::int64_t samples) const {
  return {.replicas = std::min<std::int64_t>(options_.replicas, samples),
          .slabs = options_.slabs,
          .slab_shares = options_.slab_shares};
}

void Pipeline::rethrow() const {
  if (options_.links) options_.links->throw_if_failed();
  const std::string replica =
      options_.replicas > 1 ? "replica " + std::to_string(failure_.replica) + ", " : "";
  const std::string slab = options_.slabs > 1 ? "slab " + std::to_string(failure_.slab) + ", " : "";
  const std::string where = replica + "stage " + std::to_string(failure_.stage) + ", " + slab +
                            "layer " + failure_.layer + ", micro-batch " +
                            std::to_string(failure_.microbatch);
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
    if (is_out_of_memory(error)) throw std::bad_alloc();
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
  TORCH_CHECK(!options_.links || !batch.requires_grad(),
              "over several processes a batch has no gradient");
  const LaneGrid grid = lane_grid(batch.size(0));
  StepState state;
  state.samples = batch.size(0);
  state.parts =
      split_over_replicas(batch.size(0), options_.replicas,
                          options.microbatches > 0 ? options.microbatches : options_.microbatches);
  state.inputs = scatter(batch, state.parts);
  state.loss = &loss;
  state.gradient_scale = options.gradient_scale;
  // Of slabs only the first updates its norms itself; in another process nobody would see it.
  state.collects_statistics =
      options_.deferred_batch_norm || grid.replicas > 1 || (options_.links && options_.slabs > 1);
  state.seed = options_.seed;
  state.step = options.step;
  std::vector<StepState> states = lane_states(state, *chain_, grid);
  const Schedule schedule =
      make_schedule(options_.schedule, static_cast<int>(options_.partition.size()),
                    static_cast<int>(states.front().parts.size()));
  lanes_->reset_exchanges(/*boundary_slots=*/0, states.size());
  lanes_->refresh_copies();
  EarlierGradients earlier(*chain_);
  try {
    run_stages(states, schedule);
  } catch (...) {  // before the first action: no stage has done anything
    earlier.restore();
    throw;
  }
  if (failure_.cause) {
    roll_back(states.size());
    earlier.restore();
    rethrow();
  }
  lanes_->take_gradients(states.size());
  earlier.add();
  lanes_->commit_statistics(states);
  StepResult result = lanes_->result_of(states, grid);
  if (batch.requires_grad()) result.input_gradient = joined_input_gradient(states, grid);
  return result;
}

std::vector<torch::Tensor> Pipeline::predict(const std::vector<torch::Tensor>& inputs,
                                             const std::function<void()>& between_links) {
  if (inputs.empty()) return {};
  StepState state;
  state.training = false;
  state.between_links = between_links;
  state.seed = options_.seed;
  for (const torch::Tensor& input : inputs) {
    TORCH_CHECK(input.defined() && input.dim() > 0 && input.size(0) > 0,
                "a prediction needs inputs [N, ...] of at least one sample");
    state.parts.push_back({0, input.size(0)});
  }
  state.inputs = inputs;
  const LaneGrid grid = lane_grid(1);
  std::vector<StepState> states = lane_states(state, *chain_, grid);
  lanes_->reset_exchanges(kPredictionSlots, /*lanes=*/0);
  lanes_->refresh_copies();
  run_stages(states, forwards_only(static_cast<int>(options_.partition.size()),
                                   static_cast<int>(inputs.size())));
  if (failure_.cause) {
    roll_back(states.size());
    rethrow();
  }
  for (const Lane& lane : lanes_->at_work(states.size()))
    for (const auto& stage : lane.stages) stage->finish();
  lanes_->share_outputs(states);
  return joined_outputs(states, grid);
}

}  // namespace lamp
