// What a plan of replicas says, what it costs, and which of them idle.
#include <ATen/Parallel.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "execution/split_wish.h"
#include "lamp/base/files.h"
#include "lamp/execution/plan_choices.h"
#include "lamp/execution/plan_costs.h"
#include "lamp/execution/plan_json.h"
#include "lamp/nets/net_factory.h"
#include "support/temporary_folder.h"

namespace lamp {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using testing::refusal_of;
using testing::split_wish;

TEST(ReplicaPlanTest, HasARowForEachReplicaAndReadsBack) {
  at::set_num_threads(2);
  const testing::TemporaryFolder folder;
  PlanOptions wish = split_wish("cpu,cpu,cpu,cpu,cpu,cpu,cpu,cpu", "replicas=2,stages=2,slabs=2");
  wish.batch = 5;
  wish.execution.microbatches = 4;
  const NetworkPlan chosen = choose_plan(wish);
  ASSERT_TRUE(chosen.plan.fits);
  EXPECT_EQ(chosen.execution.grid(), (DeviceGrid{2, 2, 2}));
  EXPECT_EQ(chosen.execution.microbatches, 2) << "one replica has two samples";
  EXPECT_EQ(chosen.execution.batch, 5);
  const Json json = to_json(chosen);
  ASSERT_EQ(json["stages"].size(), 8U);
  for (std::size_t row = 0; row < 8; ++row) {
    const Json& stage = json["stages"][row];
    EXPECT_EQ(stage["replica"], row / 4);
    EXPECT_EQ(stage["slab"], row % 2);
    EXPECT_EQ(stage["first"], chosen.execution.partition[row / 2 % 2].first);
    EXPECT_EQ(stage["step_s"], json["stages"][row % 4]["step_s"]);
    EXPECT_GT(stage["peak_bytes"].get<std::int64_t>(), 0);
  }
  write_file(folder / "plan.json", dump_json(json));
  const ResolvedExecution read = read_plan(folder / "plan.json");
  EXPECT_EQ(to_json(read), to_json(chosen.execution));
  EXPECT_EQ(differing_field(read, wish.work()), "");
}

// Two replicas of two stages; the stage of the curriculum that is planned has one sample a batch.
TEST(ReplicaPlanTest, ReplicasWithoutASampleIdle) {
  at::set_num_threads(4);
  PlanOptions wish = split_wish("cpu,cpu,cpu,cpu", "replicas=2,stages=2");
  EXPECT_THAT(refusal_of(wish), HasSubstr("found replicas=2 for a batch of 1 sample"));
  wish.largest_batch = 2;
  const NetworkPlan chosen = choose_plan(wish);
  ASSERT_TRUE(chosen.plan.fits);
  EXPECT_EQ(chosen.plan.setup.replicas, 1U);
  EXPECT_THAT(chosen.plan.reasons,
              Contains("a batch of 1 sample is for 1 of 2 replicas: the last one idles in this "
                       "stage"));
  const Plan alone = choose_plan(split_wish("cpu,cpu", "stages=2")).plan;
  EXPECT_EQ(chosen.plan.simulation.makespan, alone.simulation.makespan);
  EXPECT_EQ(chosen.plan.balance.peak_bytes, alone.balance.peak_bytes);
  EXPECT_EQ(chosen.execution.grid(), (DeviceGrid{2, 2, 1})) << "as in the other stages";
  EXPECT_EQ(chosen.execution.microbatches, 1);
  const Json json = to_json(chosen);
  ASSERT_EQ(json["stages"].size(), 4U);
  for (std::size_t row = 0; row < 4; ++row) {
    EXPECT_EQ(json["stages"][row]["replica"], row / 2);
    EXPECT_EQ(json["stages"][row]["step_s"].get<double>() > 0, row < 2);
    EXPECT_GT(json["stages"][row]["peak_bytes"].get<std::int64_t>(), 0);
  }
  const ResolvedExecution read = parse_resolved_execution(json, "plan.json");
  EXPECT_EQ(to_json(read), to_json(chosen.execution));
  EXPECT_EQ(differing_field(read, wish.work()), "");
}

// Of four replicas, each on a device of its own, two have a sample.
TEST(ReplicaPlanTest, IdleReplicasKeepTheirDevices) {
  PlanOptions wish = split_wish("auto", "replicas=4");
  wish.absent_devices = 4;
  wish.device_memory_bytes = std::int64_t{1} << 30;
  wish.batch = 2;
  wish.largest_batch = 4;
  const NetworkPlan chosen = choose_plan(wish);
  EXPECT_EQ(chosen.plan.setup.replicas, 2U);
  EXPECT_EQ(chosen.execution.device(), "0,1,2,3");
  EXPECT_THAT(chosen.plan.reasons, Contains(HasSubstr("the last 2 idle in this stage")));
}

// Devices by name, so that each replica's are seen to be together.
TEST(ReplicaPlanTest, DevicesAreGivenReplicaByReplica) {
  PlanOptions wish = split_wish("auto", "replicas=2,stages=2,slabs=1");
  wish.batch = 4;
  wish.absent_devices = 4;
  wish.device_memory_bytes = std::int64_t{1} << 34;
  const Json json = to_json(choose_plan(wish));
  ASSERT_EQ(json["stages"].size(), 4U);
  for (std::size_t row = 0; row < 4; ++row) {
    EXPECT_EQ(json["stages"][row]["device"], std::to_string(row));
    EXPECT_EQ(json["stages"][row]["replica"], row / 2);
  }
  EXPECT_EQ(json["devices"].size(), 4U);
}

// Of a batch of 4 on one host: activations of all samples, one replica's seconds, or both's where
// there is one core.
TEST(ReplicaPlanTest, ReplicasHoldTheirPartsOfTheBatch) {
  at::set_num_threads(2);
  PlanOptions together = split_wish("cpu,cpu", "replicas=2"), whole = split_wish("cpu", "auto");
  PlanOptions apart = split_wish("auto", "replicas=2");
  apart.absent_devices = 2;
  together.batch = whole.batch = apart.batch = 4;
  const auto shapes = shapes_of(whole);
  const NetworkCosts half = shape_costs_of(whole, shapes)({.samples = 2});
  const NetworkCosts both = shape_costs_of(together, shapes)({.samples = 2});
  const NetworkCosts each = shape_costs_of(apart, shapes)({.samples = 2});
  for (std::size_t i = 0; i < half.layers.size(); ++i) {
    EXPECT_EQ(both.layers[i].output_bytes, 2 * half.layers[i].output_bytes);
    EXPECT_EQ(both.layers[i].parameter_bytes, half.layers[i].parameter_bytes);
    EXPECT_DOUBLE_EQ(both.layers[i].forward_s, half.layers[i].forward_s);
    EXPECT_EQ(each.layers[i].output_bytes, half.layers[i].output_bytes);
  }
  at::set_num_threads(1);
  const NetworkCosts in_turn = shape_costs_of(together, shapes)({.samples = 2});
  EXPECT_DOUBLE_EQ(in_turn.layers[0].forward_s, 2 * half.layers[0].forward_s);
}

// Two replicas send each byte of the weights once, and of the gradients what does not hide.
TEST(ReplicaPlanTest, TheSumOfReplicasIsInThePlansTime) {
  PlanOptions options = split_wish("auto", "replicas=2");
  options.batch = options.absent_devices.emplace(2);
  options.device_memory_bytes = std::int64_t{1} << 30;
  options.bytes_per_s = 1e6;
  const Plan plan = choose_plan(options).plan;
  double bytes = 0;
  for (const torch::Tensor& weight : make_network(options.net).chain->parameters())
    bytes += 4 * static_cast<double>(weight.numel());
  EXPECT_GT(plan.merge_s, bytes / 1e6);
  EXPECT_LT(plan.merge_s, 2 * bytes / 1e6);
  EXPECT_DOUBLE_EQ(plan.step_s(), plan.simulation.makespan + plan.update_s + plan.merge_s);
  EXPECT_THAT(plan.reasons,
              Contains(HasSubstr("what of gradients' sums outlasts the backward pass")));
}

}  // namespace
}  // namespace lamp
