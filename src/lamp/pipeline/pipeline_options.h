// How a pipeline runs, and what comes of a step.
#pragma once

#include <c10/core/Device.h>
#include <torch/types.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "lamp/pipeline/partition.h"
#include "lamp/pipeline/pipeline_links.h"
#include "lamp/pipeline/recompute.h"
#include "lamp/pipeline/schedule.h"
#include "lamp/pipeline/timeline.h"
#include "lamp/sequence/sequence.h"

namespace lamp {

struct PipelineOptions {
  // One a stage, and for each stage one a slab, one after another, for each replica; the same one
  // may come twice.
  std::vector<c10::Device> devices = {c10::kCPU};
  Partition partition;  // one range a stage; empty = as many parameters on each as possible
  // R: so many share the samples of a batch, each with stages of its own. A batch of fewer samples
  // leaves the last ones idle; a prediction is the first one's.
  int replicas = 1;
  // L: every volume is cut into so many slabs, each with a worker of its own in every stage.
  int slabs = 1;
  std::vector<double> slab_shares;  // how fast each slab's workers are; empty = all alike
  // A further chain with the same layers and parameter names, for each slab of each replica but the
  // first; what its parameters and buffers hold does not matter.
  std::function<std::shared_ptr<Sequence>()> make_chain;
  ScheduleKind schedule = ScheduleKind::kGPipe;
  int microbatches = 1;                  // M of each replica; of fewer samples as many as those
  std::vector<RecomputeRule> recompute;  // one a stage; empty = never
  // Running statistics of DeferrableBatchNorm3d as if the batch had not been split.
  bool deferred_batch_norm = false;
  // CPU threads of each CPU worker; 0 = stage_threads().
  int threads_per_stage = 0;
  std::uint64_t seed = 0;  // of dropout masks
  // Where each device is another process's: every process has a pipeline of the same options over
  // its own copy of the chain, and all call step() and predict() alike. Null = all are this
  // process's.
  std::shared_ptr<PipelineLinks> links;
};

struct StepResult {
  double loss = 0;  // of the batch: micro-batch losses weighted by their samples, unscaled
  torch::Tensor input_gradient;     // like the batch, if it requires one
  std::vector<int> peak_in_flight;  // micro-batches, by stage
  // By worker, in the devices' order. Allocated by each CPU worker's thread and not yet freed, at
  // most: activations and gradients, its output included, its input not, since nothing is copied on
  // the CPU. 0 unless count_cpu_memory() was called, and on a GPU, whose allocator knows
  // (peak_bytes).
  std::vector<std::int64_t> stage_peak_bytes;
  std::int64_t boundary_bytes = 0;  // sent forward from stage to stage
  std::int64_t skip_bytes = 0;      // sent forward from the stage that stashes to that which pops
  std::int64_t halo_bytes = 0;      // sent from slab to slab, forward and backward
  std::vector<TimelineEntry> timeline;  // of this process; "stage" = which of the devices
};

}  // namespace lamp
