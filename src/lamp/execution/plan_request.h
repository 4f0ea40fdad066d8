// What "auto" in a configuration means: a network, an input and devices turned into numbers, a plan
// made of them, and the plan turned into what a run obeys. Every command decides here.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "lamp/base/size3.h"
#include "lamp/execution/execution_config.h"
#include "lamp/execution/optimizer.h"
#include "lamp/execution/resolved_execution.h"
#include "lamp/nets/network.h"
#include "lamp/planner/plan.h"

namespace lamp {

// Of a device's memory, where costs come from shapes: they do not know the workspaces of kernels.
constexpr double kShareWithoutWorkspaces = 0.9;

struct PlanOptions {
  NetConfig net;
  Size3 input = {64, 64, 64};  // x, y, z
  bool largest_input = false;  // `input` is the most: plan_choices.h
  std::int64_t batch = 1;
  // Of all stages of a curriculum: replicas that have samples in it may have none of this batch.
  std::int64_t largest_batch = 0;
  ExecutionConfig execution;  // .device: what is here; what is "auto" is planned
  OptimizerConfig optimizer;
  bool loss_is_sum = true;  // over samples
  // Devices that are not here: their number, at most; their costs come from shapes alone.
  std::optional<std::int64_t> absent_devices;
  std::optional<std::int64_t> device_memory_bytes;  // of each device; none = what is free
  std::vector<std::int64_t> unequal_memory_bytes;   // instead: one for each device, in their order
  std::optional<double> flops_per_s;                // of absent devices
  std::vector<double> unequal_flops_per_s;          // instead: one for each of them
  std::vector<double> device_speeds;  // of devices that are here: slab_shares.h; empty = all alike
  std::optional<double> bytes_per_s;  // between devices
  bool may_add_replicas = true;       // where the grid is chosen
  std::optional<std::int64_t> most_slabs;  // where volumes that come later have few planes
  std::uint64_t seed = 0;

  PlannedWork work() const {
    return {.net = net,
            .input = input,
            .batch = batch,
            .execution = execution,
            .loss_is_sum = loss_is_sum};
  }
};

// Throws UsageError for options that contradict each other. An input may be smaller than the
// network's stride: a step pads it.
void check_plan_options(const PlanOptions& options);

// Of a link between two of the options' devices: as given, else assumed; on the host without an
// end.
double link_bytes_per_s(const PlanOptions& options);

// What the options ask of the planner, apart from the time of the optimizer's step. shapes: of
// shapes_of().
PlanRequest request_of(const PlanOptions& options, const std::shared_ptr<Network>& shapes);

// Whose seconds a plan tells: always measured ones, for people who want to know how long it takes;
// or measured only where the decision hangs on them, for a run that is to begin.
enum class Seconds { kMeasured, kWhereTheyDecide };

// The micro-batches first, from shapes (microbatch_choice.h), since bits depend on their number;
// then make_plan() with the layers measured on the first device, or worked out from shapes. Where
// the split is "auto", stages alone are weighed against every grid of slabs and replicas. Throws
// UsageError for options that contradict each other.
Plan plan_network(const PlanOptions& options, Seconds seconds = Seconds::kMeasured);

// Of all workers, in the order in which devices are given (device_grid.h).
std::vector<std::string> device_order(const Plan& plan);

// What a run of the plan obeys. options.execution's precision and layout must be decided.
ResolvedExecution resolved(const PlanOptions& options, const Plan& plan);

}  // namespace lamp
