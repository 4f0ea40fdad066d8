// The answer to what users ask first: will this network train on these devices, how fast, and how
// should it be cut? Chooses the number of stages, micro-batches, the schedule and what to
// recompute: the fastest that fits, among equals the one that recomputes least, then the one that
// holds least; and says why. Costs come from a function, so that they may be measured or worked out
// from shapes. No torch here.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lamp/planner/balance.h"
#include "lamp/planner/pipeline_setup.h"
#include "lamp/planner/search_clock.h"
#include "lamp/planner/simulate.h"

namespace lamp {

struct CostQuery {
  std::int64_t samples = 1;  // of a micro-batch
  int sharing = 1;           // stages that the CPU's threads are shared out among
  double overlap = 0;        // how much those are at work at the same time: overlap.h
};
using CostProvider = std::function<NetworkCosts(const CostQuery&)>;

// What the plan does not choose itself but may advise where nothing fits, such as a smaller input.
struct Alternative {
  std::string advice;  // "input=96,96,96" (base/setting_name.h)
  CostProvider costs;
  double memory_share = 1;  // of the devices; less where these costs leave something out
};

struct PlanRequest {
  std::vector<PlanDevice> devices;    // a stage each, at most; the first K are used
  bool any_devices = false;           // instead of the first the K with most memory, in their order
  bool all_devices = false;           // K is their number
  std::vector<PlanDevice> workers;    // of slabs, as in PipelineSetup; needs all_devices
  std::size_t replicas = 1;           // the same
  std::vector<double> slab_parts;     // as in PipelineSetup
  std::int64_t slab_fixed_bytes = 0;  // the same
  int threads = std::numeric_limits<int>::max();  // of the process, for stages on "cpu"
  std::int64_t batch = 1;                         // samples of a mini-batch
  double bytes_per_s = std::numeric_limits<double>::infinity();  // between devices
  double optimizer_factor = 1;                                   // optimizer.h
  double update_s_per_byte = 0;   // the optimizer's step, for each byte of parameters
  std::int64_t sample_bytes = 0;  // a sample's own image, beside what the network takes
  std::int64_t label_bytes = 0;   // a sample's labels, on the last device
  bool loss_is_sum = true;        // over samples; if not, a batch is one micro-batch
  // What the user has fixed.
  std::optional<ScheduleKind> schedule;
  std::optional<int> microbatches;
  bool microbatches_are_steady = false;  // chosen by microbatch_choice.h, not by the user
  bool seconds_are_measured = true;      // or said of devices that are not here; else only compared
  std::optional<RecomputeRule> recompute;       // of every stage
  std::vector<RecomputeRule> recompute_stages;  // or of each; needs `partition`
  std::optional<Partition> partition;
  // Instead: a cut into stages of equal sums of this, whatever its time, as others cut.
  std::function<double(const LayerCosts&)> cut_by;
  bool can_add_devices = true;            // advice may; stages of the host share its memory
  std::vector<Alternative> alternatives;  // the nearest first; each needs less than those before
  // Of this request and those that advice tries instead.
  std::shared_ptr<SearchClock> clock = std::make_shared<SearchClock>();

  bool has_cut() const { return partition.has_value() || cut_by != nullptr; }
};

struct Plan {
  bool fits = false;
  PipelineSetup setup;  // K devices, schedule, M
  NetworkCosts costs;   // of its micro-batches
  Balance balance;      // the cut and recomputation; step_s without the update
  Simulation simulation;
  std::vector<std::int64_t> stage_peak_bytes;  // [K], the slab with most planes as if alone
  double update_s = 0;
  // Slabs and replicas on devices of their own: their gradients' sum, as far as it outlasts the
  // backward pass, and what layers wait for weights (gradient_transfer.h).
  double merge_s = 0;
  std::vector<std::string> reasons;  // whole sentences

  double step_s() const { return simulation.makespan + update_s + merge_s; }
};

struct DeviceNeed {
  PlanDevice device;
  std::int64_t peak_bytes;
};
// Each device once, in order of appearance. A further slab's device holds what the first one's
// does, or less by its planes.
std::vector<DeviceNeed> device_needs(const Plan& plan);
// Of a replica's slab, as if alone on its device.
std::int64_t slab_peak_bytes(const Plan& plan, std::size_t stage, std::size_t slab);

// Sent from slab to slab in a step by the layers' planes: forward, again where that is recomputed,
// and back. Sums over slabs, a few bytes a layer, are not counted.
std::int64_t halo_bytes(const Plan& plan);
// Of a step's seconds at work, those in which the slabs of all stages wait for exchanges.
double exchange_s(const Plan& plan);

// Where nothing fits: `fits` is false, the cut is the one that holds least, and the reasons say
// what would fit. Throws UsageError for a request that contradicts itself.
Plan make_plan(const PlanRequest& request, const CostProvider& costs);

// Of the plan's step, the update left out, if its layers took as long as these costs say.
Simulation simulate_with(const Plan& plan, const NetworkCosts& costs);

}  // namespace lamp
