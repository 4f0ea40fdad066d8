// The lanes of a pipeline (lanes.h) that this process runs, and all that goes between them:
// packets, slabs' planes, weights and gradients, statistics, reports; with other processes over
// PipelineLinks.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include "lamp/pipeline/chain_copy.h"
#include "lamp/pipeline/gradient_sum.h"
#include "lamp/pipeline/in_process_slabs.h"
#include "lamp/pipeline/lanes.h"
#include "lamp/pipeline/pipeline_options.h"
#include "lamp/pipeline/stage.h"
#include "lamp/pipeline/stage_report.h"
#include "lamp/pipeline/transfer.h"

namespace lamp {

// One slab's way through all stages.
struct Lane {
  std::size_t index;  // among all
  std::shared_ptr<Sequence> chain;
  std::unique_ptr<Transfer> transfer;
  std::vector<std::unique_ptr<Stage>> stages;  // those of this process

  Stage& stage(std::size_t number) const {
    return *stages[number - static_cast<std::size_t>(stages.front()->index())];
  }
};

class LaneSet {
 public:
  // options: complete ones; they outlive this.
  LaneSet(const std::shared_ptr<Sequence>& chain, const PipelineOptions& options);

  bool has_one() const { return options_.replicas * options_.slabs == 1; }
  // Of this process, among the first `lanes` of all.
  std::span<const Lane> at_work(std::size_t lanes) const;

  // Only while no stage is at work. lanes: whose gradients the next step sums.
  void reset_exchanges(int boundary_slots, std::size_t lanes);
  // The chain's weights and buffers to the others.
  void refresh_copies();
  // Lets every wait end.
  void cancel();

  // After a step, in this order.
  void take_gradients(std::size_t lanes);
  void commit_statistics(const std::vector<StepState>& states);
  StepResult result_of(std::vector<StepState>& states, const LaneGrid& grid) const;
  // After a prediction: other processes' outputs into the states.
  void share_outputs(std::vector<StepState>& states) const;

 private:
  // Of a lane's stage, among the devices.
  std::size_t row(std::size_t lane, std::size_t stage) const;
  void build_lane(int replica, int slab, const StageRange& stages);
  SlabsMaker slabs_maker(std::size_t meeting, int slab, c10::Device device) const;
  // By row, with those of other processes, whose losses are put into the states.
  std::vector<StageReport> reports(std::vector<StepState>& states) const;

  std::shared_ptr<Sequence> chain_;
  const PipelineOptions& options_;
  // By replica, and there by stage; none without slabs.
  std::vector<std::shared_ptr<SlabMeeting>> meetings_;
  std::vector<std::unique_ptr<GradientSum>> sums_;  // by stage; none for a single lane
  std::vector<Lane> lanes_;
  std::vector<ChainCopy> copies_;  // of each lane but the first; none over several processes
};

}  // namespace lamp
