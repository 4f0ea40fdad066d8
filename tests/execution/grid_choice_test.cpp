// Stages, slabs or replicas: which grids are looked at, and which plan is taken.
#include "lamp/execution/grid_choice.h"

#include <ATen/Parallel.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "lamp/execution/plan_choices.h"
#include "lamp/execution/plan_costs.h"

namespace lamp {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// A stride of 4: 16 planes are 4 at the coarsest level.
PlanOptions auto_wish() {
  PlanOptions options{.input = {16, 16, 16}, .batch = 1};
  options.net = parse_net_config({{"width", 4}, {"depth", 1}, {"classes", 3}});
  options.execution =
      parse_execution_config({{"split", "auto"}, {"costs", "shapes"}, {"layout", "contiguous"}});
  return options;
}

PlanOptions on_absent(std::int64_t devices) {
  PlanOptions options = auto_wish();
  options.absent_devices = devices;
  options.device_memory_bytes = std::int64_t{1} << 30;
  return options;
}

PlanOptions on_cpus(const std::string& devices) {
  PlanOptions options = auto_wish();
  options.execution.device = devices;
  return options;
}

std::vector<std::string> grids_of(const PlanOptions& options) {
  std::vector<std::string> names;
  for (const DeviceGrid& grid : lane_grids(options, *shapes_of(options)))
    names.push_back((grid.replicas > 1 ? std::to_string(grid.replicas) + "x" : "") +
                    std::to_string(grid.stages) + "x" + std::to_string(grid.slabs));
  return names;
}

TEST(SlabGridsTest, TakeAllGivenDevicesAndOfOthersAsManyAsAreOfUse) {
  EXPECT_THAT(grids_of(on_cpus("cpu,cpu,cpu,cpu")), ElementsAre("1x4", "2x2"));
  EXPECT_THAT(grids_of(on_cpus("cpu,cpu,cpu")), ElementsAre("1x3"));
  EXPECT_THAT(grids_of(on_cpus("cpu,cpu,cpu,cpu,cpu")), IsEmpty()) << "4 planes at the coarsest";
  EXPECT_THAT(grids_of(on_cpus("cpu")), IsEmpty());
  EXPECT_THAT(grids_of(on_absent(8)), ElementsAre("1x4", "1x3", "1x2", "2x4", "2x3", "4x2"));
}

TEST(SlabGridsTest, HeedWhatIsFixedAndTheSmallestVolume) {
  PlanOptions options = on_cpus("cpu,cpu,cpu,cpu");
  options.most_slabs = 3;
  EXPECT_THAT(grids_of(options), ElementsAre("2x2"));
  options.execution.partition = "counts";
  options.execution.partition_counts = {1, 1, 1, 1};
  EXPECT_THAT(grids_of(options), IsEmpty());
  PlanOptions stages = on_cpus("cpu,cpu,cpu,cpu");
  stages.execution.auto_split = false;
  EXPECT_THAT(grids_of(stages), IsEmpty());
}

// Two samples or more for each replica.
TEST(LaneGridsTest, SamplesMayBeSharedAmongReplicas) {
  PlanOptions options = on_cpus("cpu,cpu,cpu,cpu");
  options.batch = 3;
  EXPECT_THAT(grids_of(options), ElementsAre("1x4", "2x2"));
  options.batch = 4;
  EXPECT_THAT(grids_of(options), ElementsAre("1x4", "2x2", "2x1x2", "2x2x1"));
  options.batch = 9;
  EXPECT_THAT(grids_of(options), ElementsAre("1x4", "2x2", "2x1x2", "2x2x1", "4x1x1"));
  options.loss_is_sum = false;
  EXPECT_THAT(grids_of(options), ElementsAre("1x4", "2x2"));
  PlanOptions absent = on_absent(4);
  absent.batch = 4;
  EXPECT_THAT(grids_of(absent), ElementsAre("1x4", "1x3", "1x2", "2x2", "2x1x2", "2x1x1", "2x2x1"));
}

Plan plan_taking(double seconds, std::size_t stages, std::size_t slabs, bool fits = true) {
  Plan plan{.fits = fits};
  plan.setup.devices.resize(stages);
  if (slabs > 1) plan.setup.workers.resize(stages * slabs);
  plan.simulation.makespan = seconds;
  return plan;
}

TEST(WeighedTest, SlabsAreTakenWhereTheySaveMoreThanAFewPercent) {
  const Plan slabs = weighed(plan_taking(3.1, 4, 1), {plan_taking(1, 1, 4)}, 1);
  EXPECT_EQ(slabs.setup.slabs(), 4U);
  EXPECT_EQ(slabs.reasons.front(),
            "slabs=4: one volume in a batch, 4 stages would take 3.10 times as long");
  EXPECT_EQ(weighed(plan_taking(1, 2, 1), {plan_taking(1, 1, 2)}, 1).setup.slabs(), 1U);
  EXPECT_EQ(weighed(plan_taking(1, 2, 1), {plan_taking(0.96, 1, 2)}, 1).setup.slabs(), 1U);
  EXPECT_EQ(weighed(plan_taking(1, 2, 1), {plan_taking(0.94, 1, 2)}, 4).setup.slabs(), 2U);
  const Plan stages = weighed(plan_taking(1, 4, 1), {plan_taking(2, 1, 4)}, 8);
  EXPECT_EQ(stages.reasons.front(), "stages=4: slabs=4 would take 2.00 times as long");
  const Plan both = weighed(plan_taking(4, 4, 1), {plan_taking(3, 1, 4), plan_taking(2, 2, 2)}, 8);
  EXPECT_EQ(both.reasons.front(), "stages=2,slabs=2: 4 stages would take 2.00 times as long");
}

Plan replicas_taking(double seconds, std::size_t replicas, bool fits = true) {
  Plan plan = plan_taking(seconds, 1, replicas, fits);
  plan.setup.replicas = replicas;
  return plan;
}

TEST(WeighedTest, OfReplicasSlabsAndStagesTheFastestIsTaken) {
  const Plan replicas =
      weighed(plan_taking(3, 4, 1), {plan_taking(1.5, 1, 4), replicas_taking(1, 4)}, 8);
  EXPECT_EQ(replicas.setup.replicas, 4U);
  EXPECT_EQ(replicas.reasons.front(),
            "replicas=4: 8 samples in a batch, 4 stages would take 3.00 times as long, slabs=4 "
            "would take 1.50 times as long");
  const Plan slabs =
      weighed(plan_taking(3, 4, 1), {plan_taking(1, 1, 4), replicas_taking(1.25, 4)}, 8);
  EXPECT_EQ(slabs.setup.slabs_of_replica(), 4U);
  EXPECT_EQ(slabs.reasons.front(),
            "slabs=4: 4 stages would take 3.00 times as long, replicas=4 would take 1.25 times as "
            "long");
  const Plan stages =
      weighed(plan_taking(1, 4, 1), {plan_taking(2, 1, 4), replicas_taking(1.5, 4)}, 8);
  EXPECT_EQ(stages.setup.slabs(), 1U);
  EXPECT_EQ(stages.reasons.front(), "stages=4: replicas=4 would take 1.50 times as long");
  const Plan exact = weighed(plan_taking(1, 4, 1), {replicas_taking(0.96, 4)}, 8);
  EXPECT_THAT(exact.reasons.front(), HasSubstr("too little to be worth other last bits"));
}

TEST(WeighedTest, ReplicasThatDoNotFitAreNotTaken) {
  const Plan slabs =
      weighed(plan_taking(3, 4, 1), {plan_taking(2, 1, 4), replicas_taking(1, 4, false)}, 8);
  EXPECT_EQ(slabs.reasons.front(),
            "slabs=4: 4 stages would take 1.50 times as long, replicas=4 would not fit");
  EXPECT_EQ(weighed(plan_taking(3, 4, 1), {replicas_taking(1, 4, false)}, 8).reasons.front(),
            "stages=4: slabs and replicas would not fit");
  EXPECT_EQ(weighed(plan_taking(1, 4, 1, false), {replicas_taking(9, 4)}, 8).reasons.front(),
            "replicas=4: stages alone would not fit");
}

TEST(WeighedTest, MemoryComesBeforeTime) {
  const Plan slabs = weighed(plan_taking(1, 4, 1, false), {plan_taking(9, 1, 4)}, 1);
  EXPECT_EQ(slabs.setup.slabs(), 4U);
  EXPECT_EQ(slabs.reasons.front(), "slabs=4: stages alone would not fit");
  const Plan stages = weighed(plan_taking(9, 4, 1), {plan_taking(1, 1, 4, false)}, 1);
  EXPECT_EQ(stages.setup.slabs(), 1U);
  EXPECT_EQ(stages.reasons.front(), "stages=4: slabs would not fit");
  EXPECT_FALSE(weighed(plan_taking(9, 4, 1, false), {plan_taking(1, 1, 4, false)}, 1).fits);
  EXPECT_THAT(weighed(plan_taking(9, 4, 1), {}, 1).reasons, IsEmpty());
}

TEST(AutoSplitTest, IsThePlanOfTheGridThatItTakes) {
  at::set_num_threads(4);
  const NetworkPlan chosen = choose_plan(on_cpus("cpu,cpu,cpu,cpu"));
  EXPECT_THAT(chosen.plan.reasons.front(), HasSubstr("slabs=4: one volume in a batch"));
  PlanOptions asked = on_cpus("cpu,cpu,cpu,cpu");
  asked.execution = parse_execution_config({{"device", "cpu,cpu,cpu,cpu"},
                                            {"split", "slabs=4"},
                                            {"costs", "shapes"},
                                            {"layout", "contiguous"}});
  const NetworkPlan as_asked = choose_plan(asked);
  EXPECT_EQ(chosen.plan.step_s(), as_asked.plan.step_s());
  EXPECT_EQ(chosen.execution.grid(), as_asked.execution.grid());
  EXPECT_EQ(chosen.options.execution.split, (DeviceGrid{1, 1, 4}));
}

// Replicas exchange nothing but gradients: 8 samples are two for each of four devices.
TEST(AutoSplitTest, ManySamplesAreSharedAmongReplicas) {
  PlanOptions options = on_absent(4);
  options.batch = 8;
  options.flops_per_s = 1e10;
  const NetworkPlan chosen = choose_plan(options);
  EXPECT_EQ(chosen.execution.grid(), (DeviceGrid{4, 1, 1}));
  EXPECT_EQ(chosen.execution.microbatches, 1);
  EXPECT_EQ(chosen.options.execution.split, (DeviceGrid{4, 1, 1}));
  EXPECT_THAT(chosen.plan.reasons.front(), HasSubstr("replicas=4: 8 samples in a batch"));
}

// 8 KiB a halo plane at most: a second over such a link, where the layers take microseconds.
TEST(AutoSplitTest, SlowLinksMakeSlabsUseless) {
  PlanOptions options = on_absent(2);
  options.bytes_per_s = 1e4;
  const NetworkPlan chosen = choose_plan(options);
  EXPECT_EQ(chosen.plan.setup.slabs(), 1U);
  EXPECT_THAT(chosen.plan.reasons.front(), HasSubstr("stages=1: slabs=2 would take"));
}

TEST(AutoSplitTest, DevicesThatAreNotHereAreWeighedAlike) {
  PlanOptions options = on_absent(4);
  options.net = parse_net_config({{"width", 32}, {"depth", 2}, {"classes", 3}});
  options.input = {64, 64, 64};
  options.device_memory_bytes = std::int64_t{16} << 30;
  options.flops_per_s = 1e11;
  const NetworkPlan chosen = choose_plan(options);
  EXPECT_EQ(chosen.execution.grid(), (DeviceGrid{1, 1, 4}));
  EXPECT_EQ(chosen.options.absent_devices, 4);
}

}  // namespace
}  // namespace lamp
