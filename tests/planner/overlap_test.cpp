#include "lamp/planner/overlap.h"

#include <gtest/gtest.h>

#include "support/made_up_costs.h"

namespace lamp {
namespace {

// Stages on the host with so many threads.
PipelineSetup on_host(ScheduleKind kind, int stages, int microbatches, int threads) {
  PipelineSetup setup = lamp::testing::made_up_setup(kind, stages, microbatches);
  for (PlanDevice& device : setup.devices) device.name = "cpu";
  setup.threads = threads;
  return setup;
}

TEST(OverlapTest, IsTheShareOfTheOthersThatWorkMeanwhile) {
  const PipelineSetup two = on_host(ScheduleKind::kGPipe, 2, 1, 2);
  const auto entry = [](int stage, double start, double end) {
    return TimelineEntry{
        .stage = stage, .kind = WorkKind::kForward, .microbatch = 0, .start = start, .end = end};
  };
  EXPECT_EQ(overlap_of(two, {entry(0, 0, 4), entry(1, 4, 8)}), 0);
  EXPECT_EQ(overlap_of(two, {entry(0, 0, 4), entry(1, 0, 4)}), 1);
  // Two seconds together, of 4 + 4 at work.
  EXPECT_DOUBLE_EQ(overlap_of(two, {entry(0, 0, 4), entry(1, 2, 6)}), 0.5);
  // Two of three all the time: each has one of two others beside it.
  const PipelineSetup three = on_host(ScheduleKind::kGPipe, 3, 1, 3);
  EXPECT_DOUBLE_EQ(overlap_of(three, {entry(0, 0, 4), entry(1, 0, 4)}), 0.5);
}

TEST(OverlapTest, TransfersAndOtherDevicesDoNotCount) {
  PipelineSetup setup = on_host(ScheduleKind::kGPipe, 2, 1, 2);
  TimelineEntry transfer{
      .stage = 0, .kind = WorkKind::kTransfer, .microbatch = 0, .start = 0, .end = 4};
  const TimelineEntry work{
      .stage = 1, .kind = WorkKind::kForward, .microbatch = 0, .start = 0, .end = 4};
  EXPECT_EQ(overlap_of(setup, {transfer, work}), 0);
  setup.devices.push_back({.name = "gpu"});
  transfer.kind = WorkKind::kForward;
  transfer.stage = 2;
  EXPECT_EQ(overlap_of(setup, {transfer, work}), 0);
}

// Two stages and M micro-batches of one tick forward and two back: a step of 3 (M + 1) ticks, in
// which each stage works 3 M and both together 3 (M - 1).
TEST(OverlapTest, OfEqualStagesFollowsFromTheSchedule) {
  for (const int m : {2, 4, 10})
    EXPECT_NEAR(usual_overlap(on_host(ScheduleKind::kGPipe, 2, m, 2)),
                static_cast<double>(m - 1) / m, 1e-12)
        << m;
}

TEST(OverlapTest, StagesInTurnAndStagesAloneHaveNone) {
  EXPECT_EQ(usual_overlap(on_host(ScheduleKind::kGPipe, 2, 1, 2)), 0);
  EXPECT_EQ(usual_overlap(on_host(ScheduleKind::kNaive, 2, 4, 2)), 0);
  EXPECT_EQ(usual_overlap(on_host(ScheduleKind::kGPipe, 3, 4, 2)), 0) << "crowded";
  EXPECT_EQ(usual_overlap(lamp::testing::made_up_setup(ScheduleKind::kGPipe, 3, 4)), 0);
  EXPECT_EQ(usual_overlap(on_host(ScheduleKind::kGPipe, 1, 4, 1)), 0);
}

TEST(OverlapTest, SharingCountsStagesOnTheHostUnlessTheyAreCrowded) {
  EXPECT_EQ(on_host(ScheduleKind::kNaive, 2, 4, 2).sharing(), 2);
  EXPECT_EQ(on_host(ScheduleKind::kGPipe, 3, 4, 2).sharing(), 1);
  EXPECT_EQ(lamp::testing::made_up_setup(ScheduleKind::kGPipe, 3, 4).sharing(), 1);
}

}  // namespace
}  // namespace lamp
