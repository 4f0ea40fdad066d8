// Lower bounds on the makespan of a step that depend on one stage's links only, whatever the other
// cuts: what makes a search over partitions fast. With h the way of a micro-batch to the stage, l
// the way from there to the loss and back, t the way home, f and b one forward and backward on the
// stage, any schedule of ours needs
//
//   h + M (f + b) + t           the stage's own work between its first input and last gradient
//   h + (p + 1) f + l + M b + (M - w) f + t
//                               its first backward waits for the p + 1 forwards that come before
//                               the first backward of the last stage; after it come all backwards
//                               and the M - w forwards that the schedule puts there
//
// and h + l + t with the stage's own f + b is the whole chain's work, however it is cut. No torch
// here.
#pragma once

#include <cstddef>
#include <vector>

#include "lamp/planner/pipeline_setup.h"

namespace lamp {

// Both with every transfer taken as nothing.
struct StageBound {
  double round_trip = 0;  // transfers before the stage lengthen it by twice their sum at least
  double one_way = 0;     // weight halves may be done after the last gradient has left
};

class StageBounds {
 public:
  // Both must outlive it.
  StageBounds(const NetworkCosts& costs, const PipelineSetup& setup);

  StageBound seconds(std::size_t stage, const StageRange& links, RecomputeRule rule) const;
  // Of one tensor between the two links before and after `cut`, if stages j and j + 1 meet there.
  double transfer_s(std::size_t stage, std::size_t cut) const;
  // The work of one micro-batch on the whole chain. Any step takes that and every transfer twice.
  double chain_s() const { return chain_; }

 private:
  // What comes before and after a stage's first and last backward.
  struct Order {
    int before = 0;         // forwards before the first backward (w)
    int weights_early = 0;  // weight halves before the last backward
  };

  double sum(const std::vector<double>& prefix, const StageRange& links) const {
    return prefix[links.last] - prefix[links.first];
  }

  const NetworkCosts& costs_;
  const PipelineSetup& setup_;
  std::vector<double> forward_, backward_, weight_;  // prefix sums over links
  std::vector<Order> orders_;                        // [K]
  int at_last_ = 0;  // p: forwards before the last stage's first backward, less 1
  double chain_ = 0;
};

}  // namespace lamp
