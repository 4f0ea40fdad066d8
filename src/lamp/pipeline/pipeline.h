// One network over several devices. A chain of layers is cut into stages, one device and one worker
// thread each; a mini-batch is split into micro-batches that stream through. What comes out is what
// one device would have computed from the same micro-batches one after another: the same loss,
// gradients and running statistics.
//
//   Pipeline pipeline(chain, {.devices = {c10::kCPU, c10::kCPU},
//                             .partition = partition_by_counts({5, 7}, chain->size()),
//                             .microbatches = 4});
//   optimizer.zero_grad();
//   auto loss = [&](const torch::Tensor& output, const MicroBatch& part) {
//     return torch::mse_loss(output, targets.narrow(0, part.first, part.count));
//   };
//   StepResult result = pipeline.step(images, loss);
//   optimizer.step();
//
// Source: Huang et al. 2019 (GPipe), Kim et al. 2020 (torchgpipe); the paper's section 2.
#pragma once

#include <c10/core/Device.h>
#include <torch/types.h>

#include <atomic>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "lamp/pipeline/chain_copy.h"
#include "lamp/pipeline/gradient_sum.h"
#include "lamp/pipeline/in_process_slabs.h"
#include "lamp/pipeline/lanes.h"
#include "lamp/pipeline/partition.h"
#include "lamp/pipeline/recompute.h"
#include "lamp/pipeline/schedule.h"
#include "lamp/pipeline/stage.h"
#include "lamp/pipeline/stage_threads.h"
#include "lamp/pipeline/transfer.h"
#include "lamp/pipeline/worker.h"
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
};

struct StepOptions {
  std::int64_t step = 0;      // a number of its own for each step: it keys the dropout masks
  double gradient_scale = 1;  // of the loss, before the backward pass (loss scaling)
  int microbatches = 0;       // for this step; 0 = the pipeline's
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
  std::vector<TimelineEntry> timeline;  // "stage" = which of the devices
};

// One caller at a time. The chain belongs to the pipeline while it lives: its layers lie on their
// stages' devices.
class Pipeline {
 public:
  // Throws UsageError if the partition does not fit the chain or the devices; c10::Error that names
  // the layers if two stages share a parameter or a layer draws from torch's own dropout, which
  // cannot be drawn again.
  Pipeline(std::shared_ptr<Sequence> chain, PipelineOptions options);

  // Forward and backward of a mini-batch [N, ...] on any device. Gradients are added to the
  // parameters' in micro-batch order, those of replicas and slabs in theirs: the same bits for any
  // partition and schedule. With R replicas it is the step of R * M micro-batches. The caller's
  // autocast and grad mode hold on every stage during the chain, not during loss and backward.
  // Throws what the first stage to fail threw, with stage, layer and micro-batch (of its replica)
  // named; then
  // parameters' gradients, buffers and the pipeline itself are as before the step.
  StepResult step(const torch::Tensor& batch, const LossFunction& loss,
                  const StepOptions& options = {});

  // Outputs without gradients, in the order of `inputs`, on the last stage's device. Each input is
  // a micro-batch of its own size and they stream through; the layers' training mode is the
  // caller's business. between_links: called by every worker before each link; what it throws ends
  // the prediction. Throws as step().
  std::vector<torch::Tensor> predict(const std::vector<torch::Tensor>& inputs,
                                     const std::function<void()>& between_links = nullptr);

  // Its parameters are the optimizer's business.
  Sequence& chain() { return *chain_; }
  const Partition& partition() const { return options_.partition; }
  const PipelineOptions& options() const { return options_; }

 private:
  // One slab's way through all stages (lanes.h).
  struct Lane {
    std::shared_ptr<Sequence> chain;
    std::unique_ptr<InProcessTransfer> transfer;
    std::vector<std::unique_ptr<Stage>> stages;
  };
  struct Failure {
    std::exception_ptr cause;
    int replica = -1;
    int stage = -1;
    int slab = -1;
    int microbatch = -1;
    std::string layer;
  };

  void check_chain() const;
  void build_lane(int replica, int slab);
  LaneGrid lane_grid(std::int64_t samples) const;
  // States of some lanes, the first ones.
  void run_stages(std::vector<StepState>& states, const Schedule& schedule);
  void run_actions(Lane& lane, const std::vector<StageAction>& actions, int threads);
  bool stages_take_turns(const Schedule& schedule) const;
  int threads_per_worker() const;
  void refresh_copies();
  // lanes: whose gradients the next step sums.
  void reset_exchanges(int boundary_slots, std::size_t lanes);
  void fail(const Stage& stage, const Action& action);
  void roll_back(std::size_t lanes);
  void commit_statistics(std::size_t lanes);
  [[noreturn]] void rethrow() const;

  std::shared_ptr<Sequence> chain_;
  PipelineOptions options_;
  int all_threads_;
  // By replica, and there by stage; none without slabs.
  std::vector<std::shared_ptr<SlabMeeting>> meetings_;
  std::vector<std::unique_ptr<GradientSum>> sums_;  // by stage; none for a single lane
  std::vector<Lane> lanes_;
  std::vector<ChainCopy> copies_;  // of each lane but the first
  // By device; none for a single one. Its caller works, as for stages that take turns.
  std::vector<std::unique_ptr<Worker>> workers_;
  std::atomic<bool> cancelled_ = false;
  std::mutex failure_mutex_;
  Failure failure_;  // guarded by failure_mutex_ while stages work
};

}  // namespace lamp
