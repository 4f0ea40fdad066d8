#include "lamp/planner/simulate.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "lamp/base/errors.h"
#include "lamp/base/random.h"
#include "lamp/pipeline/schedule_timing.h"
#include "lamp/planner/timetable.h"
#include "support/every_schedule.h"

namespace lamp {
namespace {

using testing::kEverySchedule;

PipelineCosts equal_costs(int stages, StageCosts cost = {}) {
  return {.stages = std::vector<StageCosts>(static_cast<std::size_t>(stages), cost)};
}

PipelineCosts random_costs(Random& random, int stages) {
  PipelineCosts costs;
  for (int j = 0; j < stages; ++j) {
    costs.stages.push_back({random.uniform(0, 3), random.uniform(0, 5), random.uniform(0, 2)});
    costs.recompute.push_back(static_cast<RecomputeRule>(random.below(3)));
    if (j > 0) costs.transfers.push_back(random.uniform(0, 1));
  }
  if (stages > 2) costs.skips.push_back({0, stages - 1, random.uniform(0, 2)});
  return costs;
}

const TimelineEntry& entry_of(const Simulation& simulation, int stage, WorkKind kind, int i) {
  return *std::find_if(simulation.timeline.begin(), simulation.timeline.end(),
                       [&](const TimelineEntry& entry) {
                         return entry.stage == stage && entry.kind == kind && entry.microbatch == i;
                       });
}

TEST(SimulateTest, EqualStagesFollowTheTableOfSchedules) {
  for (int k = 1; k <= 7; ++k) {
    for (int m = 1; m <= 12; ++m) {
      const auto bubble = [&](ScheduleKind kind) {
        return simulate(make_schedule(kind, k, m), equal_costs(k)).bubble;
      };
      const double beta = (k - 1.0) / (m + k - 1.0);
      EXPECT_NEAR(bubble(ScheduleKind::kNaive), (k - 1.0) / k, 1e-12);
      EXPECT_NEAR(bubble(ScheduleKind::kGPipe), beta, 1e-12);
      EXPECT_NEAR(bubble(ScheduleKind::k1F1B), beta, 1e-12);
    }
  }
}

TEST(SimulateTest, ZeroBubbleWaitsAThirdAsLongAs1F1B) {
  for (const auto& [k, m] : std::vector<std::pair<int, int>>{{2, 8}, {4, 8}, {4, 16}, {6, 24}}) {
    const double makespan =
        simulate(make_schedule(ScheduleKind::kZeroBubble, k, m), equal_costs(k, {1, 1, 1}))
            .makespan;
    EXPECT_DOUBLE_EQ(makespan - 3 * m, k - 1) << k << " " << m;
  }
}

TEST(SimulateTest, AgreesWithTheScheduleTimingOfThePipelineWithoutTransfers) {
  Random random({1});
  for (const ScheduleKind kind : kEverySchedule) {
    for (int trial = 0; trial < 20; ++trial) {
      const int k = 1 + static_cast<int>(random.below(5));
      const Schedule schedule = make_schedule(kind, k, 1 + static_cast<int>(random.below(7)));
      const PipelineCosts costs{.stages = random_costs(random, k).stages};
      EXPECT_DOUBLE_EQ(simulate(schedule, costs).makespan,
                       makespan(time_schedule(schedule, costs.stages)));
    }
  }
}

// No order of actions beats the largest, over the stages, of: the first micro-batch's way there,
// the stage's own work, and the last gradient's way home (for the last stage of one micro-batch
// that is the critical path); weight halves may come after that gradient has left.
double least_makespan(int microbatches, const PipelineCosts& costs) {
  double head = 0;  // the first micro-batch's way to stage j
  double tail = 0;  // the last gradient's way from stage j home
  double bound = 0;
  for (std::size_t j = 0; j < costs.stages.size(); ++j) {
    const StageCosts& cost = costs.stages[j];
    double both = 0;  // what stage j must do before its last gradient leaves
    for (int i = 0; i < microbatches; ++i)
      both += cost.forward + cost.backward +
              (!costs.recompute.empty() && recomputes(costs.recompute[j], i, microbatches)
                   ? cost.forward
                   : 0);
    bound = std::max({bound, head + both + tail, head + both + microbatches * cost.weight});
    if (j + 1 == costs.stages.size()) break;
    const double transfer = costs.transfers.empty() ? 0 : costs.transfers[j];
    head += cost.forward + transfer;
    tail += cost.backward + transfer;
  }
  return bound;
}

TEST(SimulateTest, NeverBeatsTheLowerBound) {
  Random random({2});
  for (int trial = 0; trial < 400; ++trial) {
    const int k = 1 + static_cast<int>(random.below(6));
    const int m = 1 + static_cast<int>(random.below(9));
    const PipelineCosts costs = random_costs(random, k);
    const ScheduleKind kind = kEverySchedule[random.below(4)];
    PipelineCosts used = costs;
    if (kind != ScheduleKind::kZeroBubble)
      for (StageCosts& cost : used.stages) cost.weight = 0;
    EXPECT_GE(simulate(make_schedule(kind, k, m), used).makespan,
              least_makespan(m, used) * (1 - 1e-12))
        << to_string(kind) << " " << k << " " << m;
  }
}

TEST(SimulateTest, TheLowerBoundIsReachedByEqualStages) {
  for (int k = 1; k <= 5; ++k)
    EXPECT_DOUBLE_EQ(simulate(make_schedule(ScheduleKind::kGPipe, k, 6), equal_costs(k)).makespan,
                     least_makespan(6, equal_costs(k)));
}

TEST(SimulateTest, NothingOverlapsOnAStageOrOnALink) {
  Random random({3});
  for (int trial = 0; trial < 60; ++trial) {
    const int k = 2 + static_cast<int>(random.below(4));
    const auto simulation =
        simulate(make_schedule(kEverySchedule[random.below(4)], k, 5), random_costs(random, k));
    for (const TimelineEntry& a : simulation.timeline)
      for (const TimelineEntry& b : simulation.timeline) {
        const bool same_place = a.stage == b.stage && a.to_stage == b.to_stage;
        if (&a != &b && same_place && a.end > a.start && b.end > b.start) {
          EXPECT_TRUE(a.end <= b.start || b.end <= a.start);
        }
      }
  }
}

TEST(SimulateTest, TransfersOverlapWithComputation) {
  // A transfer of half a forward delays the next stage once, not for every micro-batch.
  PipelineCosts costs = equal_costs(2, {1, 1, 0});
  costs.transfers = {0.5};
  const Simulation simulation = simulate(make_schedule(ScheduleKind::kGPipe, 2, 4), costs);
  EXPECT_DOUBLE_EQ(simulation.makespan, 4 + 4 + 2 + 2 * 0.5);
  // One that takes longer than the computation becomes the bottleneck.
  costs.transfers = {3};
  // One forward, four transfers, one forward and backward, four transfers, one backward.
  EXPECT_DOUBLE_EQ(simulate(make_schedule(ScheduleKind::kGPipe, 2, 4), costs).makespan,
                   1 + 4 * 3 + 2 + 4 * 3 + 1);
}

TEST(SimulateTest, StagesThatTakeTurnsOverlapNothing) {
  PipelineCosts costs = equal_costs(3, {1, 2, 0});
  costs.transfers = {5, 5};  // within one device there are none
  costs.recompute.assign(3, RecomputeRule::kAlways);
  const Schedule schedule = make_schedule(ScheduleKind::kNaive, 3, 2);
  const Simulation simulation = simulate_in_turn(schedule, costs);
  EXPECT_DOUBLE_EQ(simulation.makespan, 2 * 3 * (1 + 1 + 2));
  EXPECT_DOUBLE_EQ(simulation.bubble, 2.0 / 3);
  ASSERT_EQ(simulation.timeline.size(), 2U * 3 * 3);
  for (std::size_t i = 1; i < simulation.timeline.size(); ++i)
    EXPECT_DOUBLE_EQ(simulation.timeline[i].start, simulation.timeline[i - 1].end);
}

TEST(SimulateTest, ASkipDelaysItsConsumerAndItsGradientTheProducer) {
  PipelineCosts costs = equal_costs(3, {1, 1, 0});
  costs.skips = {{0, 2, 5}};
  const Simulation simulation = simulate(make_schedule(ScheduleKind::kNaive, 3, 1), costs);
  EXPECT_DOUBLE_EQ(entry_of(simulation, 2, WorkKind::kForward, 0).start, 6);
  EXPECT_DOUBLE_EQ(entry_of(simulation, 1, WorkKind::kBackward, 0).start, 8);
  EXPECT_DOUBLE_EQ(entry_of(simulation, 0, WorkKind::kBackward, 0).start, 13);
}

TEST(SimulateTest, RecomputationHidesInTheWaitForTheGradient) {
  PipelineCosts costs = equal_costs(2, {1, 2, 0});
  costs.recompute = {RecomputeRule::kAlways, RecomputeRule::kNever};
  const Schedule schedule = make_schedule(ScheduleKind::kGPipe, 2, 1);
  EXPECT_DOUBLE_EQ(simulate(schedule, costs).makespan, 6);  // as without
  costs.recompute = {RecomputeRule::kNever, RecomputeRule::kAlways};
  EXPECT_DOUBLE_EQ(simulate(schedule, costs).makespan, 7);
  EXPECT_EQ(timetable(simulate(schedule, costs), 20),
            "0  F0 .  .  .  .  B0 B0\n"
            "1  .  F0 R0 B0 B0 .  .\n");
}

TEST(SimulateTest, ExceptLastKeepsTheLastMicroBatch) {
  PipelineCosts costs = equal_costs(1, {1, 2, 0});
  costs.recompute = {RecomputeRule::kExceptLast};
  EXPECT_DOUBLE_EQ(simulate(make_schedule(ScheduleKind::kGPipe, 1, 4), costs).makespan, 12 + 3);
  EXPECT_DOUBLE_EQ(simulate(make_schedule(ScheduleKind::kGPipe, 1, 1), costs).makespan, 3);
}

TEST(SimulateTest, RefusesBadCosts) {
  const Schedule schedule = make_schedule(ScheduleKind::kGPipe, 2, 2);
  const auto refused = [&](auto change) {
    PipelineCosts costs = equal_costs(2);
    change(costs);
    EXPECT_THROW(simulate(schedule, costs), UsageError);
  };
  refused([](auto& costs) { costs.stages.pop_back(); });
  refused([](auto& costs) { costs.stages[1].backward = -1; });
  refused([](auto& costs) { costs.stages[1].forward = std::nan(""); });
  refused([](auto& costs) { costs.transfers = {1, 1}; });
  refused([](auto& costs) { costs.transfers = {std::numeric_limits<double>::infinity()}; });
  refused([](auto& costs) { costs.recompute = {RecomputeRule::kAlways}; });
  refused([](auto& costs) { costs.skips = {{1, 0, 1}}; });
  refused([](auto& costs) { costs.skips = {{0, 2, 1}}; });
  EXPECT_THROW(parse_recompute_rule("sometimes"), UsageError);
}

TEST(SimulateTest, AScheduleThatWouldWaitForeverIsAnError) {
  Schedule deadlock = make_schedule(ScheduleKind::kNaive, 2, 2);
  deadlock.actions[1] = make_schedule(ScheduleKind::kGPipe, 2, 2).actions[1];
  EXPECT_THROW(simulate(deadlock, equal_costs(2)), Error);
}

}  // namespace
}  // namespace lamp
