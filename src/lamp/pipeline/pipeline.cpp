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
  explicit EarlierGradients(const Sequence& chain) {
    for (const torch::Tensor& parameter : chain.parameters())
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
  // Backwards: of a parameter that two layers share the first entry has the gradient.
  void restore() {
    for (auto entry = gradients_.rbegin(); entry != gradients_.rend(); ++entry)
      entry->first.mutable_grad() = entry->second;
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
  check_chain();
  for (std::size_t j = 0; j < count && lanes > 1; ++j)
    sums_.push_back(std::make_unique<GradientSum>());
  for (int replica = 0; replica < options_.replicas; ++replica) {
    for (std::size_t j = 0; j < count && options_.slabs > 1; ++j)
      meetings_.push_back(std::make_shared<SlabMeeting>(options_.slabs));
    for (int slab = 0; slab < options_.slabs; ++slab) build_lane(replica, slab);
  }
  if (options_.devices.size() > 1)
    for (std::size_t i = 0; i < options_.devices.size(); ++i)
      workers_.push_back(std::make_unique<Worker>());
}

void Pipeline::build_lane(int replica, int slab) {
  const std::size_t stages = options_.partition.size();
  const auto slabs = static_cast<std::size_t>(options_.slabs);
  const bool is_first = lanes_.empty();
  TORCH_CHECK(is_first || options_.make_chain,
              "slabs and replicas need a way to make further chains");
  Lane lane{.chain = is_first ? chain_ : options_.make_chain(),
            .transfer = std::make_unique<InProcessTransfer>()};
  for (std::size_t j = 0; j < stages; ++j) {
    const std::size_t of_stage = static_cast<std::size_t>(replica) * stages + j;
    const std::size_t row = of_stage * slabs + static_cast<std::size_t>(slab);
    lane.stages.push_back(std::make_unique<Stage>(
        lane.chain, options_.partition,
        StageOptions{.index = static_cast<int>(j),
                     .stages = static_cast<int>(stages),
                     .links = options_.partition[j],
                     .device = options_.devices[row],
                     .recompute = options_.recompute[j],
                     .split_backward = options_.schedule == ScheduleKind::kZeroBubble,
                     .row = static_cast<int>(row),
                     .replica = replica,
                     .slab = slab,
                     .meeting = slabs > 1 ? meetings_[of_stage] : nullptr,
                     .lane = lanes_.size(),
                     .sum = sums_.empty() ? nullptr : sums_[j].get()},
        *lane.transfer));
  }
  if (!is_first) copies_.push_back(ChainCopy(*chain_, *lane.chain));
  lanes_.push_back(std::move(lane));
  for (std::size_t j = 0; j < sums_.size(); ++j) {
    const auto& parameters = lanes_.front().stages[j]->parameters();
    sums_[j]->add_lane(is_first ? parameters : copies_.back().counterparts(parameters));
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

// Never lanes: slabs wait for each other.
bool Pipeline::stages_take_turns(const Schedule& schedule) const {
  return lanes_.size() == 1 && take_turns(device_names(options_.devices), all_threads_,
                                          schedule.kind, schedule.microbatches);
}

int Pipeline::threads_per_worker() const {
  if (options_.threads_per_stage > 0) return options_.threads_per_stage;
  const std::vector<std::string> devices = device_names(options_.devices);
  if (lanes_.size() > 1 && is_crowded(devices, all_threads_)) return 1;
  return stage_threads(devices, all_threads_);
}

void Pipeline::refresh_copies() {
  for (const auto& sum : sums_) sum->send_weights();
  for (ChainCopy& copy : copies_) copy.refresh();
}

void Pipeline::reset_exchanges(int boundary_slots, std::size_t lanes) {
  for (const auto& sum : sums_) sum->reset(lanes);
  for (const auto& meeting : meetings_) meeting->reset();
  for (const Lane& lane : lanes_) lane.transfer->reset(boundary_slots);
}

void Pipeline::fail(const Stage& stage, const Action& action) {
  {
    const std::lock_guard lock(failure_mutex_);
    if (!failure_.cause)
      failure_ = {std::current_exception(), stage.replica(),  stage.index(), stage.slab(),
                  action.microbatch,        stage.link_name()};
  }
  cancelled_ = true;
  for (const Lane& lane : lanes_) lane.transfer->cancel();
  for (const auto& meeting : meetings_) meeting->cancel();
  for (const auto& sum : sums_) sum->cancel();
}

void Pipeline::run_actions(Lane& lane, const std::vector<StageAction>& actions, int threads) {
  StageAction at = actions.front();
  try {
    if (at::get_num_threads() != threads) at::set_num_threads(threads);
    const NoAutocastCache no_cache;
    for (const StageAction& next : actions) {
      if (cancelled_) return;
      at = next;
      const AccountScope scope(stage_account(lane.stages[at.stage]->row()));
      lane.stages[at.stage]->run(at.action);
    }
    const AccountScope scope(stage_account(lane.stages[at.stage]->row()));
    lane.stages[at.stage]->sum_gradients();
  } catch (const Cancelled&) {
    // The worker that failed has told the cause.
  } catch (...) {
    fail(*lane.stages[at.stage], at.action);
  }
}

void Pipeline::run_stages(std::vector<StepState>& states, const Schedule& schedule) {
  const int threads = threads_per_worker();
  failure_ = {};
  cancelled_ = false;
  for (std::size_t i = 0; i < states.size(); ++i) {
    states[i].cancelled = &cancelled_;
    for (const auto& stage : lanes_[i].stages) {
      stage_account(stage->row()).reset_peak();
      stage->begin(states[i]);
    }
  }
  if (workers_.empty() || stages_take_turns(schedule)) {
    std::vector<StageAction> actions = one_at_a_time(schedule);
    // One input through all stages before the next: few packets may wait (kPredictionSlots), and
    // nobody else would take them.
    if (!states.front().training)
      std::stable_sort(actions.begin(), actions.end(),
                       [](const StageAction& a, const StageAction& b) {
                         return a.action.microbatch < b.action.microbatch;
                       });
    run_actions(lanes_.front(), actions, threads);
  } else {
    const at::ThreadLocalState caller;
    for (std::size_t i = 0; i < states.size(); ++i) {
      Lane& lane = lanes_[i];
      for (const auto& stage : lane.stages) {
        const auto j = static_cast<std::size_t>(stage->index());
        workers_[static_cast<std::size_t>(stage->row())]->start([&, j] {
          const at::ThreadLocalStateGuard guard(caller);
          run_actions(lane, of_stage(schedule, j), threads);
        });
      }
    }
    for (const auto& worker : workers_) worker->wait();
  }
  // Workers set torch's default for threads that are yet to come; that is the caller's.
  if (at::get_num_threads() != all_threads_ || !workers_.empty()) at::set_num_threads(all_threads_);
}

void Pipeline::roll_back(std::size_t lanes) {
  for (std::size_t i = 0; i < lanes; ++i)
    for (const auto& stage : lanes_[i].stages) stage->rollback();
  reset_exchanges(/*boundary_slots=*/0, /*lanes=*/0);
}

// As if their parts had been seen one after another: replicas are further micro-batches.
void Pipeline::commit_statistics(std::size_t lanes) {
  std::vector<NormStatistics> all;
  for (std::size_t i = 0; i < lanes; ++i)
    for (const auto& stage : lanes_[i].stages)
      for (NormStatistics& part : stage->take_statistics()) {
        if (i > 0) part.norm = copies_[i - 1].original(part.norm);
        all.push_back(std::move(part));
      }
  if (options_.deferred_batch_norm) return commit(all);
  for (const NormStatistics& part : all) commit({part});
}

LaneGrid Pipeline::lane_grid(std::int64_t samples) const {
  return {.replicas = std::min<std::int64_t>(options_.replicas, samples),
          .slabs = options_.slabs,
          .slab_shares = options_.slab_shares};
}

void Pipeline::rethrow() const {
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
  const LaneGrid grid = lane_grid(batch.size(0));
  StepState state;
  state.samples = batch.size(0);
  state.parts =
      split_over_replicas(batch.size(0), options_.replicas,
                          options.microbatches > 0 ? options.microbatches : options_.microbatches);
  state.inputs = scatter(batch, state.parts);
  state.loss = &loss;
  state.gradient_scale = options.gradient_scale;
  state.collects_statistics = options_.deferred_batch_norm || grid.replicas > 1;
  state.seed = options_.seed;
  state.step = options.step;
  std::vector<StepState> states = lane_states(state, *chain_, grid);
  const Schedule schedule =
      make_schedule(options_.schedule, static_cast<int>(options_.partition.size()),
                    static_cast<int>(states.front().parts.size()));
  reset_exchanges(/*boundary_slots=*/0, states.size());
  refresh_copies();
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
  for (const auto& sum : sums_) sum->take_sums();
  earlier.add();
  commit_statistics(states.size());
  StepResult result{.loss = joined_loss(states, grid)};
  if (batch.requires_grad()) result.input_gradient = joined_input_gradient(states, grid);
  for (const auto& stage : lanes_.front().stages)
    result.peak_in_flight.push_back(stage->peak_in_flight());
  result.stage_peak_bytes.resize(options_.devices.size());
  for (std::size_t i = 0; i < states.size(); ++i)
    for (const auto& stage : lanes_[i].stages) {
      stage->finish();
      result.stage_peak_bytes[static_cast<std::size_t>(stage->row())] =
          stage_account(stage->row()).peak_bytes();
      result.boundary_bytes += stage->boundary_bytes();
      result.skip_bytes += stage->skip_bytes();
      result.halo_bytes += stage->halo_bytes();
      result.timeline.insert(result.timeline.end(), stage->events().begin(), stage->events().end());
    }
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
  reset_exchanges(kPredictionSlots, /*lanes=*/0);
  refresh_copies();
  run_stages(states, forwards_only(static_cast<int>(options_.partition.size()),
                                   static_cast<int>(inputs.size())));
  if (failure_.cause) {
    roll_back(states.size());
    rethrow();
  }
  for (std::size_t i = 0; i < states.size(); ++i)
    for (const auto& stage : lanes_[i].stages) stage->finish();
  return joined_outputs(states, grid);
}

}  // namespace lamp
