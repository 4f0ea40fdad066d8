// How a network is to run, as the user wrote it: the configuration's "execution". What it leaves
// open, "auto", the planner decides (plan_choices.h), once, for every command alike.
#pragma once

#include <c10/core/Device.h>
#include <torch/types.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "lamp/base/json.h"
#include "lamp/execution/device_grid.h"
#include "lamp/nets/layout_choice.h"
#include "lamp/nets/network.h"
#include "lamp/pipeline/partition.h"
#include "lamp/pipeline/recompute.h"
#include "lamp/planner/network_costs.h"

namespace lamp {

struct ExecutionConfig {
  std::string device = "auto";  // several with commas = pipeline stages, or as `split` says
  // None: every device is a stage, or as the planner finds best (grid_choice.h) with auto_split.
  std::optional<DeviceGrid> split;
  bool auto_split = false;  // "auto"
  // fp32 | bf16 | fp16 (GPU) | auto: bf16 where the device multiplies it itself, else fp32. A run
  // keeps what it began with, as its gradients' bits depend on it.
  std::string precision = "fp32";
  // auto (measured at a run's start, then kept in its config.json) | channels_last | contiguous
  std::string layout = "auto";
  // auto: the planner's; time: stages that take equally long, as measured; layers, parameters,
  // activations: equally many, or equally many bytes; or the layers of each stage: [5, 7, 9].
  std::string partition = "auto";
  std::vector<std::int64_t> partition_counts;
  std::int64_t microbatches = 0;  // 0 = auto: 1 on one device, else the fewest about as fast as any
  std::string schedule = "auto";  // auto | naive | gpipe | 1f1b | zero-bubble
  // auto (the least that fits) | never | always | except_last, or one of the latter for each stage.
  std::string recompute = "auto";
  std::vector<RecomputeRule> recompute_stages;
  // Running statistics of batch norms as if the batch had not been split into micro-batches.
  bool deferred_batch_norm = false;
  // Of each device, in bytes or as "16GiB"; none ("auto") = what is free. What does not fit is
  // refused before a run begins.
  std::optional<std::int64_t> memory_bytes;
  // Where "auto" gets its seconds: "measured" on this machine, or "shapes": worked out from sizes
  // alone, so that the same is decided wherever it is asked.
  std::string costs = "measured";
};

// The "execution" object; null gives the defaults. Throws UsageError.
ExecutionConfig parse_execution_config(const Json& json);
Json to_json(const ExecutionConfig& config);
// ["never", "always"].
Json rule_names(const std::vector<RecomputeRule>& rules);

// How so many devices are shared out. Throws UsageError where the split is not theirs.
DeviceGrid grid_of(const ExecutionConfig& config, std::int64_t devices);

// What the stages of this `partition` get equally much of: the weight of a layer. Nothing for auto
// and counts.
std::function<double(const LayerCosts&)> cut_weight(const std::string& partition);

// The part of a host's memory that tensors may take: all of it for one CPU stage; less for several,
// which share a heap where blocks that come and go at different times leave holes (a process of two
// stages was found to take up to 1.7 times its tensors).
inline constexpr double kTensorShareOfSharedHeap = 0.6;
double tensor_share(const std::string& devices);

// What a device may hold: the configuration's memory_bytes, else what is free.
std::int64_t device_memory(const ExecutionConfig& config, c10::Device device);

// What "auto" stands for on this device; any other name is returned as it is.
std::string chosen_precision(const std::string& name, c10::Device device);
// The layout of the network's tensors in training.
Layout training_layout(const ExecutionConfig& config, const NetConfig& net);

}  // namespace lamp
