// A step dealt out to lanes. A lane is one slab's way through all stages: each replica has its part
// of the micro-batches, and each of its slabs its planes of every volume. Replica by replica, there
// slab by slab.
#pragma once

#include <torch/types.h>

#include <cstddef>
#include <cstdint>
#include <vector>

#include "lamp/pipeline/stage.h"
#include "lamp/sequence/sequence.h"

namespace lamp {

struct LaneGrid {
  std::int64_t replicas = 1;
  std::int64_t slabs = 1;
  std::vector<double> slab_shares;  // as in PipelineOptions

  std::size_t lanes() const { return static_cast<std::size_t>(replicas * slabs); }
};

// The micro-batches of all replicas, in their order: `microbatches` of each, or as many as there
// are samples. Of a batch with fewer samples than replicas the last ones have none.
std::vector<MicroBatch> split_over_replicas(std::int64_t samples, std::int64_t replicas,
                                            std::int64_t microbatches);

// What each lane sees of the step, with places for its results. step: of the whole batch; the
// number of its parts is a multiple of the replicas. Throws UsageError as cut_volume().
std::vector<StepState> lane_states(const StepState& step, const Sequence& chain,
                                   const LaneGrid& grid);

// Of the whole batch: the loss, its micro-batches weighted by their samples, and the gradient of
// the input, which is 0 where there is none.
double joined_loss(const std::vector<StepState>& states, const LaneGrid& grid);
torch::Tensor joined_input_gradient(const std::vector<StepState>& states, const LaneGrid& grid);
// By micro-batch, of all replicas. Lets go of what lanes hold.
std::vector<torch::Tensor> joined_outputs(std::vector<StepState>& states, const LaneGrid& grid);

}  // namespace lamp
