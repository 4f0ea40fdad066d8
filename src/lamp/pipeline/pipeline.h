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

#include <torch/types.h>

#include <atomic>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "lamp/pipeline/lane_set.h"
#include "lamp/pipeline/lanes.h"
#include "lamp/pipeline/partition.h"
#include "lamp/pipeline/pipeline_options.h"
#include "lamp/pipeline/recompute.h"
#include "lamp/pipeline/schedule.h"
#include "lamp/pipeline/stage.h"
#include "lamp/pipeline/stage_threads.h"
#include "lamp/pipeline/transfer.h"
#include "lamp/pipeline/worker.h"
#include "lamp/sequence/sequence.h"

namespace lamp {

struct StepOptions {
  std::int64_t step = 0;      // a number of its own for each step: it keys the dropout masks
  double gradient_scale = 1;  // of the loss, before the backward pass (loss scaling)
  int microbatches = 0;       // for this step; 0 = the pipeline's
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
  // named; then parameters' gradients, buffers and the pipeline itself are as before the step.
  // Over several processes each is given the whole batch, which wants no gradient, and gets the
  // gradients and statistics of its own stage, the same in all lanes; after a failure the run is
  // over.
  StepResult step(const torch::Tensor& batch, const LossFunction& loss,
                  const StepOptions& options = {});

  // Outputs without gradients, in the order of `inputs`, on the last stage's device. Each input is
  // a micro-batch of its own size and they stream through; the layers' training mode is the
  // caller's business. between_links: called by every worker before each link; what it throws ends
  // the prediction. Throws as step(). Over several processes each gets all outputs, on the CPU.
  std::vector<torch::Tensor> predict(const std::vector<torch::Tensor>& inputs,
                                     const std::function<void()>& between_links = nullptr);

  // Its parameters are the optimizer's business.
  Sequence& chain() { return *chain_; }
  const Partition& partition() const { return options_.partition; }
  const PipelineOptions& options() const { return options_; }

 private:
  struct Failure {
    std::exception_ptr cause;
    int replica = -1;
    int stage = -1;
    int slab = -1;
    int microbatch = -1;
    std::string layer;
  };

  void check_chain() const;
  LaneGrid lane_grid(std::int64_t samples) const;
  // States of some lanes, the first ones.
  void run_stages(std::vector<StepState>& states, const Schedule& schedule);
  void run_on_workers(std::vector<StepState>& states, const Schedule& schedule, int threads);
  void run_actions(const Lane& lane, const std::vector<StageAction>& actions, int threads);
  bool stages_take_turns(const Schedule& schedule) const;
  int threads_per_worker() const;
  void fail(const Stage& stage, const Action& action);
  void roll_back(std::size_t lanes);
  [[noreturn]] void rethrow() const;

  std::shared_ptr<Sequence> chain_;
  PipelineOptions options_;
  int all_threads_;
  std::unique_ptr<LaneSet> lanes_;
  // By device; none for a single one. Its caller works, as for stages that take turns.
  std::vector<std::unique_ptr<Worker>> workers_;
  std::atomic<bool> cancelled_ = false;
  std::mutex failure_mutex_;
  Failure failure_;  // guarded by failure_mutex_ while stages work
};

}  // namespace lamp
