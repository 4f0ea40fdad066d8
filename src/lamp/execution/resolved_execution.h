// How a network runs on one input size, with everything decided: what the planner chose and what a
// step obeys. The same text is the plan.json of a run (a list, one for each stage of its
// curriculum) and part of what `lamp plan -o` writes, so that a plan can be carried to a run.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "lamp/base/json.h"
#include "lamp/base/size3.h"
#include "lamp/execution/execution_config.h"
#include "lamp/nets/network.h"
#include "lamp/pipeline/pipeline.h"

namespace lamp {

struct ResolvedExecution {
  // What it was decided for.
  NetConfig net;
  Size3 input{};  // x, y, z, at most
  std::int64_t batch = 1;
  // What was decided.
  std::vector<std::string> devices;      // in the order of device_grid.h
  std::int64_t replicas = 1;             // that share the batch; those beyond its samples idle
  std::int64_t slabs = 1;                // of every volume, in each stage
  std::vector<double> slab_shares;       // [L] of its planes; empty = all alike
  Partition partition;                   // [K]
  std::string precision = "fp32";        // fp32 | bf16 | fp16
  std::string layout = "channels_last";  // channels_last | contiguous
  ScheduleKind schedule = ScheduleKind::kGPipe;
  std::int64_t microbatches = 1;         // of each replica
  std::vector<RecomputeRule> recompute;  // [K]
  bool deferred_batch_norm = false;
  int threads = 1;                   // of the process, shared out among stages on the CPU
  std::vector<std::string> reasons;  // why, in whole sentences

  std::size_t stages() const { return devices.size() / static_cast<std::size_t>(replicas * slabs); }
  DeviceGrid grid() const {
    return {.replicas = replicas, .stages = static_cast<std::int64_t>(stages()), .slabs = slabs};
  }
  std::string device() const;  // "cpu,cpu"
  std::vector<c10::Device> torch_devices() const;
  // "2 stages of 9 and 25 layers on cpu, cpu, 1f1b, 4 micro-batches, recompute never".
  std::string describe() const;
};

// Whether the plan's slabs, where they have shares, have planes of an input of x, y, z voxels at
// every level of its network's chain.
bool bears_shares(const ResolvedExecution& plan, const Sequence& chain, const Size3& input);

// A row for each replica, stage and slab: {"replica", "slab", "device", "first", "last"}, both
// layers included. devices: in the order of device_grid.h, a multiple of stages and replicas.
Json stage_rows(const std::vector<std::string>& devices, const Partition& partition,
                std::int64_t replicas = 1);

// "net", "input", "batch", "device", "split", "threads", "precision", "layout", "partition" [layers
// of each stage], "stages" [rows of replicas, stages and slabs], "schedule", "microbatches",
// "recompute", "deferred_batch_norm", "reasons"; "slab_shares" where they are not all alike.
Json to_json(const ResolvedExecution& execution);
// Of such an object, which may hold more; `where` is its place for messages. Throws UsageError that
// names `file`.
ResolvedExecution parse_resolved_execution(const Json& json, const std::filesystem::path& file,
                                           const std::string& where = "");
// The same of a file that the program wrote for itself: throws InputError.
ResolvedExecution parse_own_plan(const Json& json, const std::filesystem::path& file,
                                 const std::string& where = "");

// The plans in a file: of `lamp plan -o` one, or one for each stage of a curriculum; of a run's
// plan.json the list. Null for a stage that was not planned. Throws UsageError.
std::vector<Json> read_plans(const std::filesystem::path& file);

// The first plan in a file, for work that has one.
ResolvedExecution read_plan(const std::filesystem::path& file);

// Micro-batches of a prepared batch that may be smaller than the plan's: at most one for each
// sample, and none that would leave batch norm a single value.
std::int64_t most_microbatches(std::int64_t samples, const Size3& input, std::int64_t stride);

// What a plan is held against.
struct PlannedWork {
  const NetConfig& net;
  Size3 input;
  std::int64_t batch;
  const ExecutionConfig& execution;
  bool loss_is_sum = true;  // over samples
};
// "net.width: 32 in the plan, 64 here": the first field in which a plan is not one for this
// network, input and batch, or contradicts what the configuration fixes; empty if there is none.
// "auto" contradicts nothing.
std::string differing_field(const ResolvedExecution& plan, const PlannedWork& work);
// Of the network alone.
std::string differing_net(const ResolvedExecution& plan, const NetConfig& net);

}  // namespace lamp
