// How many bytes a stage of a pipeline holds at most during a training step, from the links' costs
// alone. The stage's actions are replayed in their order with what each leaves behind:
//
//   all the time   parameters, optimizer state, buffers (twice: a failed step gives them back);
//                  the mini-batch on the first device
//   gradients      as large as the parameters, from the first backward on; of slabs that share a
//                  device each has its own
//   in flight      of every micro-batch that is forward and not yet back: the stage's input and the
//                  skips from other devices, and what the links save; under recomputation the
//                  latter is there for one micro-batch only, while it is run again and back
//   weight halves  of a schedule that puts them off: inputs and output gradients of those links,
//                  until each has made its parameters' gradient
//   on their way   gradients that the stage they are for has not taken yet
//   on top         the workspace of the link at work
//
// No torch here. Source: docs/engine.md, "The planner".
#pragma once

#include <cstdint>
#include <vector>

#include "lamp/planner/pipeline_setup.h"
#include "lamp/planner/shared_device.h"

namespace lamp {

class MemoryModel {
 public:
  // Both are copied.
  MemoryModel(NetworkCosts costs, PipelineSetup setup);

  // Of the stage if it has its device to itself. Takes constant time for each of the 2 M or 3 M
  // actions.
  std::int64_t stage_peak_bytes(std::size_t stage, const StageRange& links,
                                RecomputeRule rule) const;
  // By distinct device. Stages that share one follow each other as they take turns, or are laid
  // over each other as the simulator times them, link by link; tensors that they hand to each other
  // are there once.
  std::vector<std::int64_t> device_peak_bytes(const Partition& partition,
                                              const std::vector<RecomputeRule>& recompute) const;

 private:
  // Of one micro-batch on one stage; all in bytes.
  struct MicroBatchBytes {
    std::int64_t kept = 0;             // input and skips from elsewhere, until the backward's end
    std::int64_t saved = 0;            // by the links
    std::int64_t sent_skips = 0;       // one copy each, until taken
    std::int64_t forward = 0;          // peak on top of what is held before, recording
    std::int64_t plain_forward = 0;    // the same without a graph
    std::int64_t first_backward = 0;   // peak in place of kept + saved, parameter gradients new
    std::int64_t later_backward = 0;   // the same, added to those that are there
    std::int64_t deferred = 0;         // of weight halves, between backward and weight action
    std::int64_t first_weight = 0;     // peak in place of deferred, parameter gradients new
    std::int64_t later_weight = 0;     // the same, added to those that are there
    std::int64_t parameters = 0;       // once
    std::int64_t gradients = 0;        // of parameters: once for each slab on the device
    std::int64_t late_parameters = 0;  // of those, whose gradients weight halves make
    std::int64_t largest_layer = 0;    // parameters of one link
    std::int64_t buffers = 0;          // once
  };

  // courses: what they hold is replaced.
  MicroBatchBytes micro_batch(const StageRange& links, const std::vector<bool>& here,
                              Courses& courses) const;
  void add_forward(const StageRange& links, const std::vector<bool>& here, MicroBatchBytes& bytes,
                   Courses& courses) const;
  void add_backward(const StageRange& links, const MicroBatchBytes& bytes, Courses& courses) const;
  void add_weight_halves(const StageRange& links, MicroBatchBytes& bytes, Courses& courses) const;
  std::int64_t input_bytes(std::size_t link) const;          // of the tensor handed to it
  std::int64_t gradients_of(const LayerCosts& layer) const;  // of its parameters
  // What a link's weight half needs, beside the mini-batch.
  std::int64_t weight_half_bytes(std::size_t link) const;
  // Of a skip's gradient, while the stage's backward is at this link.
  std::int64_t gradient_bytes(const SkipBytes& skip, std::size_t link,
                              const StageRange& links) const;
  MicroBatchBytes of_share(MicroBatchBytes bytes, double share) const;
  std::int64_t resident(std::size_t stage, const MicroBatchBytes& bytes) const;
  std::vector<ActionBytes> replay(std::size_t stage, const MicroBatchBytes& largest,
                                  RecomputeRule rule) const;
  std::int64_t update_bytes(std::size_t stage, const MicroBatchBytes& bytes) const;
  // Gradients that the stage's backward sends to each earlier one.
  std::vector<std::int64_t> sent_back(std::size_t stage, const Partition& partition) const;
  std::int64_t shared_peak(std::size_t device, const std::vector<std::size_t>& device_of,
                           const Partition& partition, const std::vector<RecomputeRule>& recompute,
                           const std::vector<TimelineEntry>& timeline) const;
  std::vector<TimelineEntry> timeline(const Partition& partition,
                                      const std::vector<RecomputeRule>& recompute) const;

  NetworkCosts costs_;
  PipelineSetup setup_;
  std::vector<double> shares_;  // [M]: of the largest micro-batch, which the costs are those of
  Schedule schedule_;
  std::vector<StageAction> in_turn_;    // one_at_a_time(), where stages of one device take turns
  std::vector<MicroBatchBytes> alone_;  // by first * (links + 1) + last
};

}  // namespace lamp
