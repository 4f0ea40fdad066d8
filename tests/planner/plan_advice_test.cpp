// Where nothing fits, nothing would have, and what is said to fit does.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "lamp/base/random.h"
#include "lamp/planner/memory_model.h"
#include "lamp/planner/plan.h"
#include "lamp/planner/plan_candidates.h"
#include "planner/plan_samples.h"

namespace lamp {
namespace {

using lamp::testing::full_size;
using lamp::testing::kGiB;
using lamp::testing::proportional;
using lamp::testing::request_for;
using ::testing::Contains;
using ::testing::HasSubstr;

TEST(PlanAdviceTest, SaysWhatWouldFitWhereNothingDoes) {
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

// A request that fixes some things at random; the devices may be unequal, or stages of the host.
PlanRequest random_request(Random& random) {
  const auto devices = static_cast<std::size_t>(1 + random.below(3));
  PlanRequest request =
      request_for(devices, (2 + random.below(14)) * kGiB / 2, 1 + random.below(4));
  const bool is_one = random.below(4) == 0;
  for (PlanDevice& device : request.devices) {
    if (is_one) {
      device.name = "cpu";
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

TEST(PlanAdviceTest, AdviceIsTrueWhenFollowed) {
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
TEST(PlanAdviceTest, WhatIsSaidNotToFitFitsInNoWay) {
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

}  // namespace
}  // namespace lamp
