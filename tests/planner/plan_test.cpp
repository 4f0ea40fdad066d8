#include "lamp/planner/plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <map>

#include "lamp/base/errors.h"
#include "lamp/base/random.h"
#include "lamp/planner/memory_model.h"
#include "lamp/planner/plan_candidates.h"
#include "planner/plan_samples.h"

namespace lamp {
namespace {

using lamp::testing::full_size;
using lamp::testing::kGiB;
using lamp::testing::proportional;
using lamp::testing::request_for;
using lamp::testing::unet_like_costs;
using ::testing::Contains;
using ::testing::HasSubstr;

TEST(PlanTest, OneSampleOnOneRoomyDeviceStaysWhole) {
  const Plan plan = make_plan(request_for(4, 100 * kGiB, 1), full_size);
  ASSERT_TRUE(plan.fits);
  EXPECT_EQ(plan.setup.stages(), 1U);
  EXPECT_EQ(plan.setup.microbatches, 1);
  EXPECT_THAT(plan.reasons, Contains(HasSubstr("no micro-batches")));
}

TEST(PlanTest, ABatchIsFasterOverSeveralDevices) {
  const Plan one = make_plan(request_for(1, 100 * kGiB, 16), full_size);
  const Plan four = make_plan(request_for(4, 100 * kGiB, 16), full_size);
  EXPECT_GT(four.setup.stages(), 1U);
  EXPECT_GT(four.setup.microbatches, 1);
  EXPECT_LT(four.step_s(), 0.6 * one.step_s());
  EXPECT_GE(16 / four.setup.microbatches, 2) << "single samples are left to the user";
  EXPECT_THAT(four.reasons.front(), HasSubstr("one would take"));
}

TEST(PlanTest, LittleMemoryIsMetByACutAndRecomputation) {
  const std::int64_t whole =
      make_plan(request_for(1, 100 * kGiB, 1), full_size).balance.largest_peak_bytes;
  const Plan cut = make_plan(request_for(3, whole * 3 / 4, 1), full_size);
  ASSERT_TRUE(cut.fits);
  EXPECT_LE(cut.balance.largest_peak_bytes, whole * 3 / 4);
  EXPECT_THAT(cut.reasons.front(), HasSubstr("one would not do"));
}

TEST(PlanTest, WhatFitsIsNeverSlowerWithMoreMemory) {
  for (const std::int64_t batch : {1, 4, 6}) {
    double before = std::numeric_limits<double>::infinity();
    bool fitted = false;
    for (std::int64_t gib = 3; gib < 40; gib += 2) {
      const Plan plan = make_plan(request_for(3, gib * kGiB, batch), full_size);
      EXPECT_GE(plan.fits, fitted);
      if (!plan.fits) continue;
      fitted = true;
      EXPECT_LE(plan.step_s(), before * (1 + 1e-8)) << batch << " " << gib;
      EXPECT_LE(plan.balance.largest_peak_bytes, gib * kGiB);
      before = plan.step_s();
    }
    EXPECT_TRUE(fitted);
  }
}

TEST(PlanTest, WhatTheUserHasFixedIsHonoured) {
  PlanRequest request = request_for(4, 100 * kGiB, 12);
  request.schedule = ScheduleKind::kZeroBubble;
  request.microbatches = 5;
  request.recompute = RecomputeRule::kExceptLast;
  const std::size_t links = unet_like_costs(3).layers.size();
  request.partition = Partition{{0, 2}, {2, links}};
  const Plan plan = make_plan(request, full_size);
  ASSERT_TRUE(plan.fits);
  EXPECT_EQ(plan.setup.schedule, ScheduleKind::kZeroBubble);
  EXPECT_EQ(plan.setup.microbatches, 5);
  EXPECT_EQ(plan.costs.samples, 3) << "the largest of 3, 3, 2, 2, 2";
  EXPECT_EQ(plan.balance.partition, *request.partition);
  EXPECT_EQ(plan.balance.recompute,
            (std::vector{RecomputeRule::kExceptLast, RecomputeRule::kExceptLast}));
  request = request_for(4, 100 * kGiB, 1);
  request.all_devices = true;
  EXPECT_EQ(make_plan(request, full_size).setup.stages(), 4U);
}

TEST(PlanTest, UnequalMicroBatchesTakeTheTimeOfTheirMean) {
  PlanRequest request = request_for(1, 100 * kGiB, 5);
  const double whole = make_plan(request, full_size).step_s();
  request.microbatches = 2;
  EXPECT_NEAR(make_plan(request, full_size).step_s(), whole, 0.02);  // the loss
}

TEST(PlanTest, ABatchWithoutDivisorsIsSplitAsWell) {
  for (const std::int64_t batch : {5, 7, 13}) {
    for (const std::int64_t gib : {6, 100}) {
      PlanRequest request = request_for(3, gib * kGiB, batch);
      const Plan chosen = make_plan(request, full_size);
      for (int m = 1; batch / m >= 2; ++m) {
        request.microbatches = m;
        const Plan plan = make_plan(request, full_size);
        EXPECT_TRUE(chosen.fits || !plan.fits) << batch << " " << m;
        if (!plan.fits) continue;
        // More micro-batches of the same largest size are never tried, as they are never faster
        // by more than what the smaller ones leave idle.
        EXPECT_LE(chosen.step_s(), plan.step_s() * 1.02) << batch << " " << m;
      }
      EXPECT_GT(chosen.setup.microbatches, 1) << batch;
    }
  }
}

TEST(PlanTest, ACutByTimeIsThatOfEqualSums) {
  PlanRequest request = request_for(3, 100 * kGiB, 4);
  request.all_devices = true;
  request.cut_by = [](const LayerCosts& layer) { return layer.forward_s + layer.backward_s; };
  const Plan plan = make_plan(request, full_size);
  std::vector<double> seconds;
  for (const LayerCosts& layer : plan.costs.layers) seconds.push_back(request.cut_by(layer));
  EXPECT_EQ(plan.balance.partition, partition_by_costs(seconds, 3));
  EXPECT_THAT(plan.reasons, Contains("the cut is as asked"));
}

TEST(PlanTest, WhereTheScheduleIsFixedAFasterOneIsNamed) {
  PlanRequest request = request_for(3, 100 * kGiB, 8);
  request.schedule = ScheduleKind::kNaive;
  request.all_devices = true;
  request.microbatches = 4;
  EXPECT_THAT(make_plan(request, full_size).reasons,
              Contains(::testing::AllOf(HasSubstr("schedule naive, as asked"),
                                        HasSubstr("gpipe would take"), HasSubstr("% less"))));
}

// gpipe with two stages and two micro-batches: the slower stage sets the pace of each way.
TEST(PlanTest, IsPredictedAgainUnderOtherCosts) {
  PlanRequest request = request_for(2, 100 * kGiB, 2);
  request.bytes_per_s = std::numeric_limits<double>::infinity();
  request.all_devices = true;
  request.schedule = ScheduleKind::kGPipe;
  request.microbatches = 2;
  const Plan plan = make_plan(request, full_size);
  EXPECT_EQ(simulate_with(plan, plan.costs).makespan, plan.simulation.makespan);
  NetworkCosts costs = plan.costs;
  for (std::size_t link = 0; link < costs.layers.size(); ++link) {
    const bool is_first = plan.balance.partition[0].contains(link);
    const auto links =
        static_cast<double>(is_first ? plan.balance.partition[0].last
                                     : costs.layers.size() - plan.balance.partition[0].last);
    costs.layers[link].forward_s = (is_first ? 3 : 2) / links;
    costs.layers[link].backward_s = (is_first ? 5 : 7) / links;
  }
  costs.loss_s = 1;
  // Forward 3 + 3 + 2, then backward with the loss 8 + 8, then 5.
  EXPECT_NEAR(simulate_with(plan, costs).makespan, 8 + 16 + 5, 1e-9);
}

// Of two equal stages and two micro-batches, each works beside the other half of its time.
TEST(PlanTest, StagesThatWorkAtTheSameTimeHaveSuchCosts) {
  PlanRequest request = request_for(2, 100 * kGiB, 4);
  for (PlanDevice& device : request.devices) device.name = "cpu";
  request.threads = 2;
  request.all_devices = true;
  request.microbatches = 2;
  const CostProvider provider = [](const CostQuery& query) {
    NetworkCosts costs = full_size(query);
    costs.loss_s = query.sharing + query.overlap;
    return costs;
  };
  request.schedule = ScheduleKind::kNaive;
  EXPECT_EQ(make_plan(request, provider).costs.loss_s, 2);
  request.schedule = ScheduleKind::kGPipe;
  EXPECT_EQ(make_plan(request, provider).costs.loss_s, 2.5);
}

TEST(PlanTest, AnUpdateOfTheWeightsIsPartOfAStep) {
  PlanRequest request = request_for(1, 100 * kGiB, 1);
  const double without = make_plan(request, full_size).step_s();
  request.update_s_per_byte = 1e-9;
  double bytes = 0;
  for (const LayerCosts& layer : unet_like_costs(3).layers)
    bytes += static_cast<double>(layer.parameter_bytes);
  EXPECT_NEAR(make_plan(request, full_size).step_s() - without, 1e-9 * bytes, 1e-9);
}

TEST(PlanTest, StagesThatShareADeviceGainNothing) {
  PlanRequest request = request_for(2, 100 * kGiB, 4);
  for (PlanDevice& device : request.devices) device.name = "cpu";
  EXPECT_EQ(make_plan(request, full_size).setup.stages(), 1U);
}

// What a later cut leaves to the last device is all the memory that it gets here.
TEST(PlanTest, ASmallerDeviceGetsASmallerStage) {
  PlanRequest request = request_for(2, 100 * kGiB, 1);
  request.all_devices = true;
  request.recompute = RecomputeRule::kNever;
  const Plan equal = make_plan(request, full_size);
  const std::int64_t equal_bytes = equal.balance.peak_bytes[1];
  const MemoryModel memory(equal.costs, equal.setup);
  Partition later = equal.balance.partition;
  std::int64_t less_bytes = equal_bytes;
  while (less_bytes >= equal_bytes && later[1].first + 1 < later[1].last) {
    later[0].last = ++later[1].first;
    less_bytes = memory.device_peak_bytes(later, equal.balance.recompute)[1];
  }
  ASSERT_LT(less_bytes, equal_bytes);
  request.devices[1].memory_bytes = less_bytes;
  const Plan plan = make_plan(request, full_size);
  ASSERT_TRUE(plan.fits);
  EXPECT_LE(plan.balance.peak_bytes[1], less_bytes);
  EXPECT_NE(plan.balance.partition, equal.balance.partition);
}

TEST(PlanTest, OfUnequalDevicesTheRoomiestAreUsedFirstInTheirOrder) {
  const std::vector<PlanDevice> devices = {{"a", 3}, {"b", 1}, {"c", 4}, {"d", 3}};
  const auto names = [&](std::size_t count) {
    std::string text;
    for (const PlanDevice& device : roomiest_devices(devices, count)) text += device.name;
    return text;
  };
  EXPECT_EQ(names(1), "c");
  EXPECT_EQ(names(2), "ac");
  EXPECT_EQ(names(3), "acd");
  EXPECT_EQ(names(4), "abcd");
  PlanRequest request = request_for(2, 100 * kGiB, 1);
  request.devices[0].memory_bytes = 1;
  EXPECT_FALSE(make_plan(request, full_size).fits) << "the first is used";
  request.any_devices = true;
  const Plan plan = make_plan(request, full_size);
  ASSERT_TRUE(plan.fits);
  EXPECT_EQ(plan.setup.devices.front().name, "d1");
}

TEST(PlanTest, RefusesContradictions) {
  EXPECT_THROW(make_plan(request_for(0, kGiB, 1), full_size), UsageError);
  EXPECT_THROW(make_plan(request_for(1, 0, 1), full_size), UsageError);
  EXPECT_THROW(make_plan(request_for(1, -5, 1), full_size), UsageError);
  EXPECT_THROW(make_plan(request_for(1, kGiB, 0), full_size), UsageError);
  PlanRequest request = request_for(1, kGiB, 1);
  request.microbatches = 0;
  EXPECT_THROW(make_plan(request, full_size), UsageError);
  request = request_for(1, kGiB, 1);
  request.partition = Partition{{0, 1}, {1, 18}};
  EXPECT_THROW(make_plan(request, full_size), UsageError);
}

}  // namespace
}  // namespace lamp
