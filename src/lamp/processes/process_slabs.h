// Slabs of one volume in several processes.
#pragma once

#include <c10/core/Device.h>
#include <torch/types.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "lamp/processes/world.h"
#include "lamp/sequence/slab_group.h"

namespace lamp {

// Where the slabs of one stage of one replica are; the same in all of their processes.
struct SlabPlace {
  std::vector<int> slab_ranks;  // by slab: a process of its own for each
  int stage = 0;                // below 64
  int replica = 0;              // below 64
};

// Made anew for each micro-batch of a step, as InProcessSlabs is. all_to_all() also throws
// WorldFailed.
class ProcessSlabs : public SlabGroup {
 public:
  // until: ends the waits when a stage of this process fails; shared by all of its slab groups.
  ProcessSlabs(World& world, std::shared_ptr<Cancellation> until, SlabPlace place, int microbatch,
               SlabCut cut, c10::Device device);
  std::vector<torch::Tensor> all_to_all(std::vector<torch::Tensor> outgoing) override;

 private:
  int next_tag();

  World& world_;
  std::shared_ptr<Cancellation> until_;
  SlabPlace place_;
  int microbatch_;
  c10::Device device_;
  std::int64_t exchanges_ = 0;
};

}  // namespace lamp
