#include "lamp/planner/plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "lamp/base/errors.h"
#include "lamp/planner/memory_model.h"
#include "support/made_up_costs.h"

namespace lamp {
namespace {

using lamp::testing::unet_like_costs;
using ::testing::Contains;
using ::testing::HasSubstr;

constexpr std::int64_t kGiB = std::int64_t{1} << 30;

void scale_bytes(NetworkCosts& costs, double factor) {
  const auto scale = [&](std::int64_t& bytes) {
    bytes = static_cast<std::int64_t>(static_cast<double>(bytes) * factor);
  };
  for (LayerCosts& layer : costs.layers) {
    scale(layer.output_bytes);
    scale(layer.saved_bytes);
    scale(layer.forward_workspace_bytes);
    scale(layer.backward_workspace_bytes);
  }
  for (SkipBytes& skip : costs.skips) scale(skip.bytes);
  scale(costs.input_bytes);
  scale(costs.loss_workspace_bytes);
}

// A U-Net whose micro-batches cost in proportion to their samples, on devices whose stages share
// its speed.
NetworkCosts proportional(const CostQuery& query, double size = 1) {
  NetworkCosts costs = unet_like_costs(3);
  const double samples = size * static_cast<double>(query.samples);
  scale_bytes(costs, samples);
  costs.samples = query.samples;
  for (LayerCosts& layer : costs.layers) {
    layer.forward_s *= samples * query.sharing;
    layer.backward_s *= samples * query.sharing;
    layer.weight_s *= samples * query.sharing;
  }
  return costs;
}

NetworkCosts full_size(const CostQuery& query) { return proportional(query); }

PlanRequest request_for(std::size_t devices, std::int64_t memory_bytes, std::int64_t batch) {
  PlanRequest request{.batch = batch, .bytes_per_s = 50e9};
  for (std::size_t d = 0; d < devices; ++d)
    request.devices.push_back({"d" + std::to_string(d), memory_bytes});
  return request;
}

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
  request.devices[1].name = request.devices[0].name;
  EXPECT_EQ(make_plan(request, full_size).setup.stages(), 1U);
}

TEST(PlanTest, SaysWhatWouldFitWhereNothingDoes) {
  PlanRequest request = request_for(2, 8 * kGiB, 4);
  request.recompute = RecomputeRule::kNever;
  request.alternatives = {
      {"--input 64,64,64", [](const CostQuery& query) { return proportional(query, 0.3); }}};
  const Plan plan = make_plan(request, full_size);
  EXPECT_FALSE(plan.fits);
  EXPECT_GT(plan.balance.largest_peak_bytes, request.devices[0].memory_bytes);
  EXPECT_THAT(plan.reasons.front(), HasSubstr("nothing fits"));
  EXPECT_THAT(plan.reasons, Contains(HasSubstr("--microbatches 4 would fit")));
  EXPECT_THAT(plan.reasons, Contains(HasSubstr("--input 64,64,64 would fit")));
}

TEST(PlanTest, AdviceIsTrueWhenFollowed) {
  int followed = 0;
  for (std::int64_t gib = 2; gib <= 20; ++gib) {
    PlanRequest request = request_for(1, gib * kGiB, 2);
    request.recompute = RecomputeRule::kNever;
    const Plan plan = make_plan(request, full_size);
    if (plan.fits) continue;
    for (const std::string& reason : plan.reasons) {
      PlanRequest changed = request;
      if (reason.rfind("--recompute auto", 0) == 0) {
        changed.recompute.reset();
      } else if (reason.rfind("--microbatches 2", 0) == 0) {
        changed.microbatches = 2;
      } else if (reason.find(" such devices") != std::string::npos) {
        const auto count = std::stoul(reason);
        changed = request_for(count, gib * kGiB, 2);
        changed.recompute = request.recompute;
      } else {
        continue;
      }
      EXPECT_TRUE(make_plan(changed, full_size).fits) << gib << ": " << reason;
      ++followed;
    }
  }
  EXPECT_GT(followed, 3);
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
