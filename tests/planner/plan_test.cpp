#include "lamp/planner/plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <map>

#include "lamp/base/errors.h"
#include "lamp/base/random.h"
#include "lamp/planner/memory_model.h"
#include "lamp/planner/plan_candidates.h"
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
  for (PlanDevice& device : request.devices) device = {"cpu", 100 * kGiB, 2};
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
  request.devices[1].name = request.devices[0].name;
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

TEST(PlanTest, SaysWhatWouldFitWhereNothingDoes) {
  PlanRequest request = request_for(2, 8 * kGiB, 4);
  request.recompute = RecomputeRule::kNever;
  request.alternatives = {
      {"input=64,64,64", [](const CostQuery& query) { return proportional(query, 0.3); }}};
  const Plan plan = make_plan(request, full_size);
  EXPECT_FALSE(plan.fits);
  EXPECT_GT(plan.balance.largest_peak_bytes, request.devices[0].memory_bytes);
  EXPECT_THAT(plan.reasons.front(), HasSubstr("nothing fits"));
  EXPECT_THAT(plan.reasons, Contains(HasSubstr("execution.microbatches=4 would fit")));
  EXPECT_THAT(plan.reasons, Contains(HasSubstr("input=64,64,64 would fit")));
}

// A request that fixes some things at random; the devices may be unequal or be one and the same.
PlanRequest random_request(Random& random) {
  const auto devices = static_cast<std::size_t>(1 + random.below(3));
  PlanRequest request =
      request_for(devices, (2 + random.below(14)) * kGiB / 2, 1 + random.below(4));
  const bool is_one = random.below(4) == 0;
  for (PlanDevice& device : request.devices) {
    if (is_one) {
      device.name = "d0";
    } else if (random.below(3) == 0) {
      device.memory_bytes = device.memory_bytes * 3 / 2;
    }
  }
  request.all_devices = random.below(2) == 0;
  if (random.below(2) == 0) request.recompute = static_cast<RecomputeRule>(random.below(3));
  if (random.below(3) > 0) request.schedule = static_cast<ScheduleKind>(random.below(4));
  if (random.below(3) == 0) request.microbatches = static_cast<int>(1 + random.below(3));
  if (random.below(2) == 0) {
    std::vector<double> costs;
    for (std::size_t i = 0; i < full_size({}).layers.size(); ++i)
      costs.push_back(random.uniform(0, 1));
    request.partition = partition_by_costs(costs, devices);
  }
  for (const double size : {0.7, 0.5, 0.3, 0.1})
    request.alternatives.push_back(
        {"input=" + std::to_string(size),
         [size](const CostQuery& query) { return proportional(query, size); }});
  return request;
}

// The plan when a piece of advice is followed, and nothing for a sentence that is none.
std::optional<Plan> follow(const std::string& advice, PlanRequest request) {
  const auto starts_with = [&](const char* words) { return advice.rfind(words, 0) == 0; };
  CostProvider costs = full_size;
  if (starts_with("execution.recompute=auto")) {
    request.recompute.reset();
  } else if (starts_with("execution.schedule=auto")) {
    request.schedule.reset();
  } else if (starts_with("execution.partition=auto")) {
    request.partition.reset();
  } else if (starts_with("execution.microbatches=")) {
    request.microbatches = std::stoi(advice.substr(advice.find('=') + 1));
  } else if (starts_with("batch=")) {
    request.batch = std::stoll(advice.substr(6));
  } else if (starts_with("input=")) {
    const double size = std::stod(advice.substr(6));
    costs = [size](const CostQuery& query) { return proportional(query, size); };
  } else if (advice.find(" such devices") != std::string::npos) {
    for (std::size_t d = request.devices.size(); d < std::stoul(advice); ++d)
      request.devices.push_back({"more" + std::to_string(d), request.devices.back().memory_bytes});
    request.partition.reset();
  } else {
    return std::nullopt;
  }
  return make_plan(request, costs);
}

TEST(PlanTest, AdviceIsTrueWhenFollowed) {
  Random random({3});
  std::map<std::string, int> followed;
  for (int trial = 0; trial < 900; ++trial) {
    PlanRequest request = random_request(random);
    const Plan plan = make_plan(request, full_size);
    if (plan.fits) continue;
    request.alternatives.clear();  // fewer to search where advice is followed
    for (const std::string& reason : plan.reasons) {
      const auto then = follow(reason, request);
      if (!then) continue;
      EXPECT_TRUE(then->fits) << trial << ": " << reason;
      ++followed[reason.substr(0, reason.find_first_of(" =", 2))];
    }
  }
  for (const char* kind : {"execution.recompute", "execution.schedule", "execution.partition",
                           "execution.microbatches", "batch", "input"})
    EXPECT_GT(followed[kind], 4) << kind;
  EXPECT_GT(followed["3 such"] + followed["4 such"], 4);
}

// What does not fit exceeds its memory in every cut and under every rule that the request allows.
TEST(PlanTest, WhatIsSaidNotToFitFitsInNoWay) {
  Random random({5});
  const CostProvider provider = full_size;
  int refused = 0;
  for (int trial = 0; trial < 150; ++trial) {
    const PlanRequest request = random_request(random);
    if (make_plan(request, full_size).fits) continue;
    ++refused;
    Candidates candidates(request, provider);
    for (const Candidate& candidate : candidates.all()) {
      const PipelineSetup setup = candidates.setup(candidate);
      const MemoryModel memory(candidates.costs(candidate), setup);
      const std::size_t links = candidates.costs(candidate).layers.size();
      for (int sample = 0; sample < 200; ++sample) {
        std::vector<double> costs;
        std::vector<RecomputeRule> rules;
        for (std::size_t i = 0; i < links; ++i) costs.push_back(random.uniform(0, 1));
        for (std::size_t j = 0; j < candidate.stages; ++j)
          rules.push_back(request.recompute.value_or(static_cast<RecomputeRule>(random.below(3))));
        const Partition cut =
            request.partition.value_or(partition_by_costs(costs, candidate.stages));
        EXPECT_GT(setup.over_bytes(memory.device_peak_bytes(cut, rules)), 0) << trial;
      }
    }
  }
  EXPECT_GT(refused, 30);
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
