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
//   h + R (f + l + b) + (backwards after that) b + t
//                               a stage that holds few micro-batches waits for one to come back
//                               before it sends the next: R round trips, counted in its schedule
//
// h, l and t hold the transfers before and after the stage. And h + f + l + b + t is the whole
// chain's work, however it is cut, to which M - 1 more micro-batches add the longest transfer at
// least; where all forwards come before all backwards, the longest forward and the longest backward
// of any stage or transfer. No torch here.
#pragma once

#include <algorithm>
#include <cstddef>
#include <vector>

#include "lamp/planner/pipeline_setup.h"

namespace lamp {

// With every transfer taken as nothing.
struct StageBound {
  // Transfers before the stage lengthen these three by twice their sum at least.
  double own = 0;
  double waited = 0;
  double loop = 0;
  int loops = 1;       // R
  double one_way = 0;  // weight halves may be done after the last gradient has left
  double forward = 0;  // of M - 1 micro-batches, where all forwards come first; else 0
  double backward = 0;

  // after: at most the sum of the transfers behind the stage, one way.
  double round_trip(double after) const {
    return std::max({own, waited + 2 * after, loop + 2 * loops * after});
  }
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
  // Of M - 1 micro-batches over one transfer: what it adds to the forwards, and to the backwards.
  double more_transfers_s(double transfer) const;
  bool forwards_first() const { return forwards_first_; }

 private:
  // What comes before and after a stage's first and last backward.
  struct Order {
    int before = 0;         // forwards before the first backward (w)
    int weights_early = 0;  // weight halves before the last backward
    int loops = 1;          // R
    int after_loops = 0;    // backwards after the last of them
  };

  static Order order_of(const std::vector<Action>& actions, int microbatches);
  double sum(const std::vector<double>& prefix, const StageRange& links) const {
    return prefix[links.last] - prefix[links.first];
  }

  const NetworkCosts& costs_;
  const PipelineSetup& setup_;
  std::vector<double> forward_, backward_, weight_;  // prefix sums over links
  std::vector<Order> orders_;                        // [K]
  int at_last_ = 0;  // p: forwards before the last stage's first backward, less 1
  bool forwards_first_ = true;
  double chain_ = 0;
};

}  // namespace lamp
