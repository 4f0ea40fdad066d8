#include "lamp/pipeline/schedule.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "lamp/base/errors.h"
#include "lamp/pipeline/schedule_timing.h"

namespace lamp {
namespace {

constexpr ScheduleKind kAll[] = {ScheduleKind::kNaive, ScheduleKind::kGPipe, ScheduleKind::k1F1B,
                                 ScheduleKind::kZeroBubble};

std::vector<StageCosts> equal_costs(int stages, StageCosts cost = {}) {
  return std::vector<StageCosts>(static_cast<std::size_t>(stages), cost);
}

double bubble(const Schedule& schedule, StageCosts cost) {
  const double busy = schedule.microbatches * (cost.forward + cost.backward + cost.weight);
  return 1 - busy / makespan(time_schedule(schedule, equal_costs(schedule.stages, cost)));
}

TEST(ScheduleTest, EveryScheduleIsValidForAllSmallSizes) {
  for (const ScheduleKind kind : kAll)
    for (int stages = 1; stages <= 7; ++stages)
      for (int microbatches = 1; microbatches <= 10; ++microbatches)
        EXPECT_NO_THROW(validate(make_schedule(kind, stages, microbatches)))
            << to_string(kind) << " " << stages << " " << microbatches;
}

TEST(ScheduleTest, GPipeLooksLikeItsDrawing) {
  EXPECT_EQ(timetable(make_schedule(ScheduleKind::kGPipe, 3, 4), equal_costs(3)),
            "0  F0 F1 F2 F3 .  .  .  .  .  .  B0 B0 B1 B1 B2 B2 B3 B3\n"
            "1  .  F0 F1 F2 F3 .  .  .  B0 B0 B1 B1 B2 B2 B3 B3 .  .\n"
            "2  .  .  F0 F1 F2 F3 B0 B0 B1 B1 B2 B2 B3 B3 .  .  .  .\n");
}

TEST(ScheduleTest, OneForwardOneBackwardLooksLikeItsDrawing) {
  EXPECT_EQ(timetable(make_schedule(ScheduleKind::k1F1B, 3, 4), equal_costs(3)),
            "0  F0 F1 F2 .  .  .  .  B0 B0 F3 B1 B1 .  B2 B2 .  B3 B3\n"
            "1  .  F0 F1 .  .  B0 B0 F2 B1 B1 F3 B2 B2 .  B3 B3 .  .\n"
            "2  .  .  F0 B0 B0 F1 B1 B1 F2 B2 B2 F3 B3 B3 .  .  .  .\n");
}

TEST(ScheduleTest, BubblesFollowTheirFormulas) {
  for (int k = 1; k <= 6; ++k) {
    for (int m = 1; m <= 12; ++m) {
      const double beta = (k - 1.0) / (m + k - 1.0);
      EXPECT_NEAR(bubble(make_schedule(ScheduleKind::kNaive, k, m), {}), (k - 1.0) / k, 1e-12);
      EXPECT_NEAR(bubble(make_schedule(ScheduleKind::kGPipe, k, m), {}), beta, 1e-12);
      EXPECT_NEAR(bubble(make_schedule(ScheduleKind::k1F1B, k, m), {}), beta, 1e-12)
          << k << " " << m;
    }
  }
}

// The most micro-batches at once whose weight gradients a stage still owes.
std::int64_t most_owed(const std::vector<Action>& actions) {
  std::int64_t owed = 0, most = 0;
  for (const Action& action : actions) {
    owed += action.kind == ActionKind::kForward ? 1 : action.kind == ActionKind::kWeight ? -1 : 0;
    most = std::max(most, owed);
  }
  return most;
}

TEST(ScheduleTest, ZeroBubbleHasAThirdOfTheBubbleAtTheSameMemory) {
  const StageCosts thirds{.forward = 1, .backward = 1, .weight = 1};
  for (const auto& [k, m] : std::vector<std::pair<int, int>>{{2, 8}, {4, 8}, {4, 16}, {6, 24}}) {
    const Schedule schedule = make_schedule(ScheduleKind::kZeroBubble, k, m);
    const double waiting = makespan(time_schedule(schedule, equal_costs(k, thirds))) - 3.0 * m;
    const double waiting_1f1b = 3.0 * (k - 1);
    EXPECT_DOUBLE_EQ(waiting, waiting_1f1b / 3) << k << " " << m;
    EXPECT_EQ(peak_in_flight(schedule), peak_in_flight(make_schedule(ScheduleKind::k1F1B, k, m)));
    for (const auto& actions : schedule.actions) EXPECT_LE(most_owed(actions), k);
  }
}

TEST(ScheduleTest, InFlightPeaksAreThoseOfTheTable) {
  for (int k = 1; k <= 6; ++k) {
    for (int m = 1; m <= 9; ++m) {
      std::vector<int> pyramid;
      for (int j = 0; j < k; ++j) pyramid.push_back(std::min(m, k - j));
      EXPECT_EQ(peak_in_flight(make_schedule(ScheduleKind::kNaive, k, m)), std::vector<int>(k, 1));
      EXPECT_EQ(peak_in_flight(make_schedule(ScheduleKind::kGPipe, k, m)), std::vector<int>(k, m));
      EXPECT_EQ(peak_in_flight(make_schedule(ScheduleKind::k1F1B, k, m)), pyramid);
    }
  }
}

TEST(ScheduleTest, BackwardsRunInMicroBatchOrderUnderEverySchedule) {
  for (const ScheduleKind kind : kAll) {
    for (const auto& actions : make_schedule(kind, 4, 6).actions) {
      int next = 0;
      for (const Action& action : actions) {
        if (action.kind == ActionKind::kBackward) {
          EXPECT_EQ(action.microbatch, next++);
        }
      }
    }
  }
}

TEST(ScheduleTest, LaterStagesWaitForEarlierOnes) {
  for (const ScheduleKind kind : kAll) {
    const auto timeline = time_schedule(make_schedule(kind, 4, 5), equal_costs(4, {1, 1, 1}));
    for (const TimedAction& a : timeline)
      for (const TimedAction& b : timeline)
        if (a.action == b.action && a.stage + 1 == b.stage &&
            a.action.kind == ActionKind::kForward) {
          EXPECT_GE(b.start, a.end);
        }
  }
}

TEST(ScheduleTest, DefectiveSchedulesAreRefused) {
  Schedule crossed = make_schedule(ScheduleKind::kGPipe, 2, 2);
  std::swap(crossed.actions[1][0], crossed.actions[1][3]);
  EXPECT_THROW(validate(crossed), Error);
  Schedule short_one = make_schedule(ScheduleKind::kGPipe, 2, 2);
  short_one.actions[0].pop_back();
  EXPECT_THROW(validate(short_one), Error);
  // Stage 0 wants the gradient of micro-batch 0 before it sends micro-batch 1; stage 1 wants both
  // first.
  Schedule deadlock = make_schedule(ScheduleKind::kNaive, 2, 2);
  deadlock.actions[1] = make_schedule(ScheduleKind::kGPipe, 2, 2).actions[1];
  EXPECT_THROW(validate(deadlock), Error);
  EXPECT_THROW(make_schedule(ScheduleKind::kGPipe, 0, 1), UsageError);
  EXPECT_THROW(parse_schedule_kind("1f2b"), UsageError);
}

TEST(ScheduleTest, BufferLimitsCountAsDependencies) {
  // The second stage takes its inputs in reverse: fine with room for all, a deadlock with one slot
  // between the stages.
  Schedule reversed = make_schedule(ScheduleKind::kGPipe, 2, 2);
  reversed.actions[1] = {{ActionKind::kForward, 1},
                         {ActionKind::kForward, 0},
                         {ActionKind::kBackward, 0},
                         {ActionKind::kBackward, 1}};
  EXPECT_NO_THROW(validate(reversed));
  EXPECT_THROW(validate(reversed, {.boundary_slots = 1}), Error);
  for (const ScheduleKind kind : kAll)
    EXPECT_NO_THROW(validate(make_schedule(kind, 4, 6), {.boundary_slots = 1})) << to_string(kind);
}

TEST(ScheduleTest, OneAtATimeRunsEveryActionAfterThoseItWaitsFor) {
  for (const ScheduleKind kind : {ScheduleKind::kNaive, ScheduleKind::kGPipe, ScheduleKind::k1F1B,
                                  ScheduleKind::kZeroBubble}) {
    const Schedule schedule = make_schedule(kind, 3, 4);
    std::vector<std::vector<Action>> found(3);
    for (const auto& [stage, action] : one_at_a_time(schedule)) {
      const auto was_done = [&](std::size_t other) {
        return std::find(found[other].begin(), found[other].end(), action) != found[other].end();
      };
      if (action.kind == ActionKind::kForward && stage > 0) {
        EXPECT_TRUE(was_done(stage - 1));
      }
      if (action.kind == ActionKind::kBackward && stage < 2) {
        EXPECT_TRUE(was_done(stage + 1));
      }
      found[stage].push_back(action);
    }
    EXPECT_EQ(found, schedule.actions) << to_string(kind);
  }
}

}  // namespace
}  // namespace lamp
