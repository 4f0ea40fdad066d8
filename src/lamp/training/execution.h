// How training and benchmarks share a network out: the configuration's "execution" turned into a
// pipeline.
#pragma once

#include <c10/core/Device.h>
#include <torch/types.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lamp/base/json.h"
#include "lamp/nets/layout_choice.h"
#include "lamp/nets/network.h"
#include "lamp/pipeline/pipeline.h"
#include "lamp/planner/network_costs.h"

namespace lamp {

struct ExecutionConfig {
  std::string device = "auto";  // several with commas = pipeline stages
  // fp32 | bf16 | fp16 (GPU) | auto: bf16 where the device multiplies it itself, else fp32. A run
  // keeps what it began with, as its gradients' bits depend on it.
  std::string precision = "fp32";
  // auto (measured at a run's start, then kept in its config.json) | channels_last | contiguous
  std::string layout = "auto";
  // auto: the planner's; time: stages that take equally long, as measured; layers, parameters,
  // activations: equally many, or equally many bytes; or the layers of each stage: [5, 7, 9].
  std::string partition = "auto";
  std::vector<std::int64_t> partition_counts;
  // 0 = auto: 4 a stage of 2 samples or more; 1 where all stages are on one device, whose cores one
  // stage after another can have all to itself.
  std::int64_t microbatches = 0;
  std::string schedule = "gpipe";  // auto (a run: gpipe) | naive | gpipe | 1f1b | zero-bubble
  // auto (the least that fits) | never | always | except_last, or one of the latter for each stage.
  std::string recompute = "auto";
  std::vector<RecomputeRule> recompute_stages;
  // Of each device, in bytes or as "16GiB"; none ("auto") = what is free. What does not fit is
  // refused before a run begins.
  std::optional<std::int64_t> memory_bytes;
};

// The "execution" object; null gives the defaults. Throws UsageError.
ExecutionConfig parse_execution_config(const Json& json);
Json to_json(const ExecutionConfig& config);

// What the stages of this `partition` get equally much of: the weight of a layer. Nothing for auto
// and counts.
std::function<double(const LayerCosts&)> cut_weight(const std::string& partition);

// What a device may hold: the configuration's memory_bytes, else what is free.
std::int64_t device_memory(const ExecutionConfig& config, c10::Device device);

// What "auto" stands for on this device; any other name is returned as it is.
std::string chosen_precision(const std::string& name, c10::Device device);
// The layout of the network's tensors in training.
Layout training_layout(const ExecutionConfig& config, const NetConfig& net);

// Throws UsageError where the configuration's cut or its rules of recomputation cannot be those of
// this chain on so many devices: all that can be known before the first batch.
void check_cut(const Sequence& chain, const ExecutionConfig& config, std::size_t stages);

// What a pipeline will have to carry.
struct PipelineLoad {
  std::vector<c10::Device> devices;
  torch::Tensor sample;  // a prepared micro-batch [n, C, D, H, W] (Network::prepare)
  std::int64_t microbatches = 1;
  double optimizer_factor = 2;  // optimizer_state_factor(); the largest where it is not known
};

// A pipeline for the network; "auto" is the planner's cut for this load, with the least
// recomputation that fits what is free. Throws UsageError where there are more stages than layers
// or the counts do not fit.
std::unique_ptr<Pipeline> make_pipeline(const Network& network, const ExecutionConfig& config,
                                        const PipelineLoad& load, std::uint64_t seed);

// M for one prepared batch (of which only the sizes matter): what the configuration asks for, at
// most one for each sample, fewer where a micro-batch would leave batch norm a single value, and 1
// where the loss needs the whole batch.
std::int64_t choose_microbatches(const ExecutionConfig& config, const Network& network,
                                 const torch::Tensor& prepared,
                                 const std::vector<c10::Device>& devices, bool loss_is_sum);

// {"device", "precision", "layout", "stages": [{"device", "first", "last"}], "schedule",
// "recompute"}.
Json describe(const Pipeline& pipeline, const ExecutionConfig& config);

}  // namespace lamp
