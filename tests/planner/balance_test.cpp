#include "lamp/planner/balance.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <limits>

#include "lamp/base/errors.h"
#include "lamp/planner/memory_model.h"
#include "lamp/planner/stage_bounds.h"
#include "support/every_schedule.h"
#include "support/made_up_costs.h"

namespace lamp {
namespace {

using testing::kEverySchedule;
using testing::made_up_setup;
using testing::random_network_costs;
using testing::unet_like_costs;

void for_each_partition(std::size_t links, std::size_t stages,
                        const std::function<void(const Partition&)>& visit) {
  Partition partition;
  const std::function<void(std::size_t)> extend = [&](std::size_t first) {
    const std::size_t left = stages - partition.size();
    if (left == 1) {
      partition.push_back({first, links});
      visit(partition);
      partition.pop_back();
      return;
    }
    for (std::size_t last = first + 1; last + left - 1 <= links; ++last) {
      partition.push_back({first, last});
      extend(last);
      partition.pop_back();
    }
  };
  extend(0);
}

std::optional<Balance> brute_force(const NetworkCosts& costs, const PipelineSetup& setup,
                                   const std::optional<RecomputeRule>& rule) {
  std::optional<Balance> best;
  for_each_partition(costs.layers.size(), setup.stages(), [&](const Partition& partition) {
    const auto found = evaluate_partition(costs, setup, partition, rule);
    if (!found) return;
    const bool faster = !best || found->step_s < best->step_s * (1 - kTimeTolerance);
    const bool equal = best && found->step_s <= best->step_s * (1 + kTimeTolerance);
    if (faster || (equal && found->largest_peak_bytes < best->largest_peak_bytes)) best = found;
  });
  return best;
}

std::vector<double> seconds_of(const NetworkCosts& costs) {
  std::vector<double> seconds;
  for (const LayerCosts& layer : costs.layers)
    seconds.push_back(layer.forward_s + layer.backward_s);
  return seconds;
}

// Every cut with every choice of rules: the time of the fastest that fits, and infinity without
// one.
double fastest_of_all_rules(const NetworkCosts& costs, const PipelineSetup& setup) {
  const MemoryModel memory(costs, setup);
  const Schedule schedule =
      make_schedule(setup.schedule, static_cast<int>(setup.stages()), setup.microbatches);
  double best = std::numeric_limits<double>::infinity();
  for_each_partition(costs.layers.size(), setup.stages(), [&](const Partition& partition) {
    int choices = 1;
    for (std::size_t j = 0; j < setup.stages(); ++j) choices *= 3;
    for (int choice = 0; choice < choices; ++choice) {
      std::vector<RecomputeRule> rules;
      for (int left = choice; rules.size() < setup.stages(); left /= 3)
        rules.push_back(static_cast<RecomputeRule>(left % 3));
      const auto peaks = memory.device_peak_bytes(partition, rules);
      const auto devices = setup.distinct_devices();
      bool fits = true;
      for (std::size_t d = 0; d < devices.size(); ++d)
        fits = fits && peaks[d] <= devices[d].memory_bytes;
      if (fits)
        best = std::min(
            best, simulate(setup, schedule, pipeline_costs(costs, setup, partition, rules), false)
                      .makespan);
    }
  });
  return best;
}

// Two stages or more, most on the host; what none of them holds alone, together or without
// recomputation.
PipelineSetup random_shared_setup(Random& random, const NetworkCosts& costs, ScheduleKind kind) {
  const int stages =
      2 + static_cast<int>(random.below(std::min<std::int64_t>(3, std::ssize(costs.layers) - 1)));
  PipelineSetup setup = made_up_setup(kind, stages, 1 + static_cast<int>(random.below(4)));
  setup.threads = 1 + static_cast<int>(random.below(4));
  for (PlanDevice& device : setup.devices)
    if (random.below(4) > 0) device.name = "cpu";
  const auto roomy =
      evaluate_partition(costs, setup, partition_by_costs(seconds_of(costs), setup.stages()));
  const auto bytes = static_cast<std::int64_t>(random.uniform(0.7, 1.05) *
                                               static_cast<double>(roomy->largest_peak_bytes));
  for (PlanDevice& device : setup.devices) device.memory_bytes = bytes;
  return setup;
}

// Random costs, sometimes memory that not every cut fits.
PipelineSetup random_setup(Random& random, const NetworkCosts& costs, ScheduleKind kind) {
  const int stages =
      1 + static_cast<int>(random.below(std::min<std::int64_t>(4, std::ssize(costs.layers))));
  PipelineSetup setup = made_up_setup(kind, stages, 1 + static_cast<int>(random.below(5)));
  setup.bytes_per_s = random.below(2) == 0 ? 300 : random.uniform(300, 3000);
  if (random.below(2) == 0) return setup;
  const auto first =
      evaluate_partition(costs, setup, partition_by_costs(seconds_of(costs), setup.stages()));
  for (PlanDevice& device : setup.devices)
    device.memory_bytes = static_cast<std::int64_t>(random.uniform(0.4, 1.1) *
                                                    static_cast<double>(first->largest_peak_bytes));
  return setup;
}

TEST(BalanceTest, EqualsBruteForceForEveryScheduleWithAndWithoutMemoryLimits) {
  Random random({1});
  int without = 0;
  for (int trial = 0; trial < 320; ++trial) {
    const ScheduleKind kind = kEverySchedule[trial % 4];
    const NetworkCosts costs = random_network_costs(random, 1 + static_cast<int>(random.below(9)));
    const PipelineSetup setup = random_setup(random, costs, kind);
    std::optional<RecomputeRule> rule;
    if (random.below(3) == 0) rule = static_cast<RecomputeRule>(random.below(3));
    const auto best = brute_force(costs, setup, rule);
    const auto found = balance(costs, setup, {.recompute = rule});
    ASSERT_EQ(found.has_value(), best.has_value()) << trial;
    if (!found) {
      ++without;
      continue;
    }
    EXPECT_TRUE(found->proven);
    EXPECT_NEAR(found->step_s, best->step_s, best->step_s * 2 * kTimeTolerance)
        << trial << " " << to_string(kind);
    EXPECT_EQ(found->largest_peak_bytes, best->largest_peak_bytes)
        << trial << " " << to_string(kind);
  }
  EXPECT_GT(without, 5);
  EXPECT_LT(without, 150);
}

TEST(BalanceTest, EqualsBruteForceOverRulesWhereStagesShareADevice) {
  Random random({9});
  int proven = 0, unproven = 0, without = 0, recomputed = 0;
  for (int trial = 0; trial < 320; ++trial) {
    const NetworkCosts costs = random_network_costs(random, 2 + static_cast<int>(random.below(5)));
    const PipelineSetup setup = random_shared_setup(random, costs, kEverySchedule[trial % 4]);
    const double best = fastest_of_all_rules(costs, setup);
    const auto found = balance(costs, setup);
    const bool is_guess = setup.stages() > 3;
    if (!found) {
      ++without;
      EXPECT_TRUE(best == std::numeric_limits<double>::infinity() || is_guess) << trial;
      continue;
    }
    for (const std::int64_t peak : found->peak_bytes)
      EXPECT_LE(peak, setup.devices[0].memory_bytes);
    recomputed += std::count(found->recompute.begin(), found->recompute.end(),
                             RecomputeRule::kNever) < std::ssize(found->recompute);
    EXPECT_LE(found->lower_bound_s, best * (1 + 2 * kTimeTolerance)) << trial;
    EXPECT_GE(found->step_s, best * (1 - 2 * kTimeTolerance)) << trial;
    EXPECT_TRUE(found->proven || is_guess) << trial;
    EXPECT_TRUE(!found->proven || found->step_s <= best * (1 + 2 * kTimeTolerance)) << trial;
    ++(found->proven ? proven : unproven);
  }
  EXPECT_GT(proven, 80);
  EXPECT_GT(unproven, 3);
  EXPECT_GT(without, 10);
  EXPECT_GT(recomputed, 20);
}

TEST(BalanceTest, EqualStagesShareTheLinksEvenly) {
  NetworkCosts costs;
  costs.layers.assign(12, {.name = "l", .forward_s = 1, .backward_s = 2, .saved_bytes = 10});
  for (const ScheduleKind kind : {ScheduleKind::kGPipe, ScheduleKind::k1F1B}) {
    const auto found = balance(costs, made_up_setup(kind, 4, 8));
    EXPECT_EQ(found->partition, (Partition{{0, 3}, {3, 6}, {6, 9}, {9, 12}}));
    EXPECT_DOUBLE_EQ(found->step_s, 9 * (8 + 3));
  }
}

TEST(BalanceTest, BoundsOfStagesNeverExceedTheSimulation) {
  Random random({2});
  for (int trial = 0; trial < 400; ++trial) {
    const NetworkCosts costs = random_network_costs(random, 2 + static_cast<int>(random.below(8)));
    const int stages =
        1 + static_cast<int>(random.below(std::min<std::int64_t>(4, std::ssize(costs.layers))));
    PipelineSetup setup = made_up_setup(kEverySchedule[random.below(4)], stages,
                                        1 + static_cast<int>(random.below(6)));
    setup.bytes_per_s = random.uniform(50, 1000);
    std::vector<double> random_costs;
    for (std::size_t i = 0; i < costs.layers.size(); ++i)
      random_costs.push_back(random.uniform(0, 1));
    const Partition partition = partition_by_costs(random_costs, setup.stages());
    std::vector<RecomputeRule> rules;
    for (int j = 0; j < stages; ++j) rules.push_back(static_cast<RecomputeRule>(random.below(3)));
    const double step = simulate(make_schedule(setup.schedule, stages, setup.microbatches),
                                 pipeline_costs(costs, setup, partition, rules), false)
                            .makespan;
    const StageBounds bounds(costs, setup);
    double all = 0, longest = 0;
    for (std::size_t j = 0; j + 1 < partition.size(); ++j) {
      const double transfer = bounds.transfer_s(j, partition[j].last);
      all += transfer;
      longest = std::max(longest, transfer);
    }
    double before = 0, longest_stage_forward = 0, longest_stage_backward = 0;
    for (std::size_t j = 0; j < partition.size(); ++j) {
      const StageBound bound = bounds.seconds(j, partition[j], rules[j]);
      EXPECT_LE(bound.round_trip(all - before) + 2 * before, step * (1 + 1e-12))
          << to_string(setup.schedule) << " " << j;
      EXPECT_LE(bound.one_way, step * (1 + 1e-12)) << to_string(setup.schedule) << " " << j;
      longest_stage_forward = std::max(longest_stage_forward, bound.forward);
      longest_stage_backward = std::max(longest_stage_backward, bound.backward);
      if (j + 1 < partition.size()) before += bounds.transfer_s(j, partition[j].last);
    }
    EXPECT_LE(bounds.chain_s() + 2 * all + bounds.more_transfers_s(longest), step * (1 + 1e-12));
    EXPECT_LE(bounds.chain_s() + 2 * all + longest_stage_forward + longest_stage_backward,
              step * (1 + 1e-12));
  }
}

TEST(BalanceTest, NeverSlowerThanABalanceByTimeOrBySize) {
  const NetworkCosts costs = unet_like_costs(5);
  std::vector<double> bytes;
  for (const LayerCosts& layer : costs.layers)
    bytes.push_back(static_cast<double>(layer.saved_bytes + 2 * layer.parameter_bytes));
  for (const ScheduleKind kind : kEverySchedule) {
    for (int stages = 2; stages <= 8; ++stages) {
      PipelineSetup setup = made_up_setup(kind, stages, 8);
      setup.bytes_per_s = 20e9;
      const auto found = balance(costs, setup);
      for (const auto& cost : {seconds_of(costs), bytes}) {
        const auto other =
            evaluate_partition(costs, setup, partition_by_costs(cost, setup.stages()));
        EXPECT_LE(found->step_s, other->step_s * (1 + kTimeTolerance)) << to_string(kind) << stages;
      }
    }
  }
}

TEST(BalanceTest, MoreMemoryNeverGivesASlowerPlan) {
  const NetworkCosts costs = unet_like_costs(4);
  for (const ScheduleKind kind : kEverySchedule) {
    PipelineSetup setup = made_up_setup(kind, 3, 4);
    double before = std::numeric_limits<double>::infinity();
    int fitted = 0, recomputed = 0;
    for (std::int64_t gib = 2; gib <= 24; gib += 1) {
      for (PlanDevice& device : setup.devices) device.memory_bytes = gib << 30;
      const auto found = balance(costs, setup);
      if (!found) {
        EXPECT_EQ(fitted, 0) << "what fits a smaller device fits a larger one";
        continue;
      }
      ++fitted;
      recomputed +=
          std::count(found->recompute.begin(), found->recompute.end(), RecomputeRule::kNever) < 3;
      EXPECT_LE(found->step_s, before * (1 + kTimeTolerance)) << to_string(kind) << gib;
      for (const std::int64_t peak : found->peak_bytes) EXPECT_LE(peak, gib << 30);
      before = found->step_s;
    }
    EXPECT_GT(fitted, 3) << to_string(kind);
    EXPECT_TRUE(recomputed > 0 || kind == ScheduleKind::kNaive) << to_string(kind);
  }
}

TEST(BalanceTest, ASlowLinkMovesTheCutToWhereTensorsAreSmall) {
  NetworkCosts costs;
  for (int i = 0; i < 4; ++i)
    costs.layers.push_back(
        {.name = "l", .forward_s = 1, .backward_s = 2, .output_bytes = i == 0 ? 1 : 1000});
  PipelineSetup setup = made_up_setup(ScheduleKind::kGPipe, 2, 2);
  EXPECT_EQ(balance(costs, setup)->partition, (Partition{{0, 2}, {2, 4}}));
  setup.bytes_per_s = 10;
  EXPECT_EQ(balance(costs, setup)->partition, (Partition{{0, 1}, {1, 4}}));
}

TEST(BalanceTest, StagesOfOneDeviceMustFitItTogether) {
  const NetworkCosts costs = unet_like_costs(3);
  PipelineSetup setup = made_up_setup(ScheduleKind::k1F1B, 2, 4);
  for (PlanDevice& device : setup.devices) device.name = "cpu";
  const auto free_choice = balance(costs, setup);
  ASSERT_EQ(free_choice->peak_bytes.size(), 1U);
  for (PlanDevice& device : setup.devices)
    device.memory_bytes = free_choice->largest_peak_bytes * 3 / 4;
  const auto pressed = balance(costs, setup);
  ASSERT_TRUE(pressed.has_value());
  EXPECT_LE(pressed->largest_peak_bytes, setup.devices[0].memory_bytes);
  EXPECT_GE(pressed->step_s, free_choice->step_s);
}

TEST(BalanceTest, AnUpperBoundLeavesOnlyWhatIsFaster) {
  const NetworkCosts costs = unet_like_costs(3);
  const PipelineSetup setup = made_up_setup(ScheduleKind::kGPipe, 3, 4);
  const double best = balance(costs, setup)->step_s;
  EXPECT_FALSE(balance(costs, setup, {.upper_bound_s = best}).has_value());
  EXPECT_DOUBLE_EQ(balance(costs, setup, {.upper_bound_s = best * 1.001})->step_s, best);
}

TEST(CrowdedDeviceTest, StagesTakeTurnsWhereNotAllWorkSideBySide) {
  NetworkCosts costs;
  costs.layers.assign(3, {.name = "l", .forward_s = 1, .backward_s = 2});
  PipelineSetup setup = made_up_setup(ScheduleKind::kGPipe, 3, 4);
  const Partition partition = {{0, 1}, {1, 2}, {2, 3}};
  const std::vector<RecomputeRule> never(3, RecomputeRule::kNever);
  const Schedule schedule = make_schedule(ScheduleKind::kGPipe, 3, 4);
  const auto run = [&](const std::string& name, int threads) {
    for (PlanDevice& device : setup.devices) device.name = name;
    setup.threads = threads;
    return simulate(setup, schedule, pipeline_costs(costs, setup, partition, never));
  };
  EXPECT_DOUBLE_EQ(run("cpu", 3).makespan, 3 * (4 + 2));
  // All work, one after another.
  const Simulation one = run("cpu", 1);
  EXPECT_DOUBLE_EQ(one.makespan, 3 * 4 * 3);
  EXPECT_DOUBLE_EQ(run("cpu", 2).makespan, 3 * 4 * 3);
  EXPECT_DOUBLE_EQ(run("cuda:0", 3).makespan, 3 * 4 * 3);
  double end = 0;
  for (const TimelineEntry& entry : one.timeline) end = std::max(end, entry.end);
  EXPECT_DOUBLE_EQ(end, one.makespan);
  EXPECT_LE(one.utilisation, 1);
}

TEST(BalanceTest, RefusesMoreStagesThanLinks) {
  Random random({4});
  const NetworkCosts costs = random_network_costs(random, 2);
  EXPECT_THROW(balance(costs, made_up_setup(ScheduleKind::kGPipe, 3, 1)), UsageError);
}

}  // namespace
}  // namespace lamp
