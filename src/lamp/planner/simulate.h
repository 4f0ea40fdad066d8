// A training step on paper: the schedule that the executor runs, timed as discrete events under
// unequal stages, transfers between devices, skips and recomputation. The planner compares
// partitions by it, `lamp simulate` prints it. No torch here.
//
// Rules of the model:
//  - A stage does one thing at a time, in its schedule's order.
//  - A transfer occupies the link between two stages, never a stage. Each ordered pair of stages
//    has a link of its own (both directions work at once), which serves in the order of asking;
//    what a stage sends leaves at the end of the action, the boundary before its skips.
//  - Forward (j, i) waits for the boundary from stage j - 1 and for every skip that stage j pops;
//    backward (j, i) for the gradient from stage j + 1 and for those of the skips it stashed.
//  - A recomputation stands right before its backward and waits for nothing but its stage, so it
//    hides in the wait for the gradient.
#pragma once

#include <vector>

#include "lamp/pipeline/recompute.h"
#include "lamp/pipeline/schedule.h"
#include "lamp/pipeline/schedule_timing.h"
#include "lamp/pipeline/timeline.h"

namespace lamp {

// A skip between two stages, one micro-batch of it; its gradient takes as long the other way.
struct SkipCost {
  int from_stage;
  int to_stage;  // > from_stage
  double seconds;
};

// Seconds (or any other unit) for one micro-batch.
struct PipelineCosts {
  std::vector<StageCosts> stages;        // [K]
  std::vector<double> transfers;         // [K - 1]: boundary j to j + 1, and as long back; {} = 0
  std::vector<SkipCost> skips;           // only those that change stage
  std::vector<RecomputeRule> recompute;  // [K]; {} = never
};

struct Simulation {
  double makespan = 0;
  double bubble = 0;         // share of all stages' time spent waiting
  double utilisation = 0;    // 1 - bubble: recomputation counts as work, as it keeps a device busy
  std::vector<double> busy;  // [K]
  std::vector<int> peak_in_flight;      // [K]
  std::vector<TimelineEntry> timeline;  // by start; empty unless asked for
};

// Time is proportional to the number of actions. Throws UsageError for numbers of the wrong count,
// negative or not finite, Error for a schedule that would wait forever.
Simulation simulate(const Schedule& schedule, const PipelineCosts& costs,
                    bool with_timeline = true);

// The same for stages that one device runs in turn, one action at a time (one_at_a_time()): nothing
// overlaps, not even a recomputation, and transfers cost nothing. `order`: of the schedule, for
// callers that have many costs for one schedule.
Simulation simulate_in_turn(const Schedule& schedule, const PipelineCosts& costs,
                            bool with_timeline = true);
Simulation simulate_in_turn(const Schedule& schedule, const std::vector<StageAction>& order,
                            const PipelineCosts& costs, bool with_timeline = true);

// A row for each slab of each stage, stage by stage, where the simulation has one for all of them:
// slabs work in step.
Simulation by_slab(const Simulation& simulation, int slabs);

}  // namespace lamp
