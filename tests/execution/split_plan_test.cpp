// execution.split: what it may be, what it is refused for, and what a plan of slabs says.
#include <ATen/Parallel.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "execution/split_wish.h"
#include "lamp/base/errors.h"
#include "lamp/base/files.h"
#include "lamp/execution/device_grid.h"
#include "lamp/execution/plan_choices.h"
#include "lamp/execution/plan_costs.h"
#include "lamp/execution/plan_json.h"
#include "lamp/execution/slab_costs.h"
#include "lamp/nets/net_factory.h"
#include "lamp/planner/memory_model.h"
#include "support/temporary_folder.h"

namespace lamp {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::HasSubstr;
using testing::refusal_of;
using testing::split_wish;

TEST(DeviceGridTest, ReadsNumbersInAnyOrderAndTakesMissingOnesForOne) {
  EXPECT_EQ(parse_device_grid("slabs=2"), (DeviceGrid{1, 1, 2}));
  EXPECT_EQ(parse_device_grid("slabs=4,stages=3"), (DeviceGrid{1, 3, 4}));
  EXPECT_EQ(parse_device_grid("replicas=2,stages=3,slabs=4"), (DeviceGrid{2, 3, 4}));
  EXPECT_EQ(to_string(DeviceGrid{1, 3, 4}), "replicas=1,stages=3,slabs=4");
  for (const char* wrong : {"", "slabs", "slabs=", "slabs=0", "slabs=-1", "slabs=two", "slab=2",
                            "slabs=2,", ",slabs=2", "slabs=2,slabs=2", "slabs=2 ", "slabs=1e1",
                            "slabs=99999999999999999999", "slabs=2;stages=1", "2"})
    EXPECT_FALSE(parse_device_grid(wrong)) << wrong;
}

TEST(SplitConfigTest, IsWrittenInFullAndLeftOutWhereItIsNotGiven) {
  EXPECT_EQ(to_json(split_wish("cpu,cpu", "slabs=2").execution)["split"],
            "replicas=1,stages=1,slabs=2");
  EXPECT_EQ(to_json(split_wish("cpu", "auto").execution)["split"], "auto");
  EXPECT_FALSE(to_json(split_wish("cpu", "").execution).contains("split"));
  EXPECT_FALSE(parse_execution_config(Json::object()).split);
  for (const Json& wrong : {Json("slabs=0"), Json(2), Json("all"), Json::array({1, 2})}) {
    try {
      parse_execution_config({{"split", wrong}});
      ADD_FAILURE() << wrong;
    } catch (const UsageError& error) {
      EXPECT_THAT(error.what(), AllOf(HasSubstr("execution.split"), HasSubstr("stages=K,slabs=L")));
    }
  }
}

TEST(SplitConfigTest, IsRefusedWhereItIsNotTheDevices) {
  at::set_num_threads(2);
  EXPECT_THAT(
      refusal_of(split_wish("cpu,cpu,cpu", "slabs=2")),
      AllOf(HasSubstr("execution.split"), HasSubstr("a product of 2"), HasSubstr("3 devices")));
  EXPECT_THAT(refusal_of(split_wish("cpu,cpu", "replicas=2")),
              AllOf(HasSubstr("execution.split: found replicas=2 for a batch of 1 sample"),
                    HasSubstr("a batch of 2 or more")));
  PlanOptions whole_batch = split_wish("cpu,cpu", "replicas=2");
  whole_batch.batch = 2;
  EXPECT_EQ(refusal_of(whole_batch), "");
  whole_batch.loss_is_sum = false;
  EXPECT_THAT(refusal_of(whole_batch), HasSubstr("needs the whole batch"));
  PlanOptions cut = split_wish("cpu,cpu", "slabs=2");
  cut.execution.partition = "counts";
  cut.execution.partition_counts = {5, 6};
  EXPECT_THAT(refusal_of(cut),
              AllOf(HasSubstr("execution.partition: found 2 stages"), HasSubstr("stages=1")));
  PlanOptions absent = split_wish("auto", "slabs=2");
  absent.absent_devices = 3;
  absent.device_memory_bytes = std::int64_t{1} << 30;
  EXPECT_THAT(refusal_of(absent), HasSubstr("3 devices"));
}

// A stride of 4 leaves 16 planes 4 at the coarsest level.
TEST(SplitConfigTest, MoreSlabsThanPlanesAreRefusedBeforeAnythingIsMeasured) {
  at::set_num_threads(2);
  EXPECT_EQ(refusal_of(split_wish("cpu,cpu,cpu,cpu", "slabs=4")), "");
  PlanOptions five = split_wish("cpu,cpu,cpu,cpu,cpu", "slabs=5");
  five.execution.costs = "measured";
  EXPECT_THAT(refusal_of(five), AllOf(HasSubstr("execution.split"), HasSubstr("slabs=5"),
                                      HasSubstr("4 slabs or fewer")));
}

TEST(SplitPlanTest, HasARowForEachStageAndSlabAndReadsBack) {
  at::set_num_threads(4);
  const testing::TemporaryFolder folder;
  const PlanOptions wish = split_wish("cpu,cpu,cpu,cpu", "stages=2,slabs=2");
  const NetworkPlan chosen = choose_plan(wish);
  ASSERT_TRUE(chosen.plan.fits);
  EXPECT_EQ(chosen.execution.stages(), 2U);
  EXPECT_EQ(chosen.execution.slabs, 2);
  const Json json = to_json(chosen);
  EXPECT_EQ(json["split"], "replicas=1,stages=2,slabs=2");
  ASSERT_EQ(json["stages"].size(), 4U);
  for (std::size_t row = 0; row < 4; ++row) {
    const Json& stage = json["stages"][row];
    EXPECT_EQ(stage["replica"], 0);
    EXPECT_EQ(stage["slab"], row % 2);
    EXPECT_EQ(stage["device"], "cpu");
    EXPECT_EQ(stage["first"], chosen.execution.partition[row / 2].first);
    EXPECT_GT(stage["step_s"].get<double>(), 0);
    EXPECT_GT(stage["peak_bytes"].get<std::int64_t>(), 0);
  }
  EXPECT_THAT(chosen.plan.reasons, Contains(HasSubstr("part of the whole volume, 1/2 where")));
  write_file(folder / "plan.json", dump_json(json));
  const ResolvedExecution read = read_plan(folder / "plan.json");
  EXPECT_EQ(to_json(read), to_json(chosen.execution));
  EXPECT_EQ(differing_field(read, wish.work()), "");
  EXPECT_EQ(differing_field(read, split_wish("cpu,cpu,cpu,cpu", "").work()), "");
  EXPECT_THAT(
      differing_field(read, split_wish("cpu,cpu,cpu,cpu", "slabs=4").work()),
      HasSubstr("split: replicas=1,stages=2,slabs=2 in the plan, replicas=1,stages=1,slabs=4"));
}

TEST(SplitPlanTest, AWrongSplitInAFileIsNamedAndAMissingOneMeansStages) {
  at::set_num_threads(2);
  const testing::TemporaryFolder folder;
  Json json = to_json(choose_plan(split_wish("cpu,cpu", "")).execution);
  json.erase("split");
  EXPECT_EQ(parse_resolved_execution(json, "plan.json").slabs, 1);
  for (const Json& wrong : {Json("slabs=3"), Json("replicas=3"), Json(2), Json("x")}) {
    json["split"] = wrong;
    try {
      parse_resolved_execution(json, "plan.json");
      ADD_FAILURE() << wrong;
    } catch (const UsageError& error) {
      EXPECT_THAT(error.what(), AllOf(HasSubstr("plan.json"), HasSubstr("split")));
    }
  }
}

// Counted by hand: 16 planes of 16 x 16 in float32, one cut in the middle. A 3^3 convolution takes
// one plane from either side, a strided one only the lower slab's last; the rest takes none.
TEST(SlabCostsTest, HalosAreThePlanesThatConvolutionsReadOfTheOtherSlab) {
  const PlanOptions options = split_wish("cpu,cpu", "slabs=2");
  const NetworkCosts costs = shape_costs_of(options, shapes_of(options))({.samples = 1});
  const std::int64_t expected = 4 * (1 * 16 * 16 * 1 +                // encoder 0, 1 channel
                                     1 * 8 * 8 * 4 + 2 * 4 * 4 * 8 +  // encoder 1: 4, then 8
                                     2 * 8 * 8 * 8 + 2 * 8 * 8 * 4 +  // decoder 0: 8, then 4
                                     2 * 16 * 16 * 2);                // head: 2
  std::int64_t forward = 0, returned = 0;
  for (const LayerCosts& layer : costs.layers) {
    forward += layer.halo_bytes;
    if (layer.returns_halo) returned += layer.halo_bytes;
  }
  EXPECT_EQ(forward, expected);
  EXPECT_EQ(returned, expected - 4 * 16 * 16) << "nobody wants the image's gradient";
  const Plan plan = choose_plan(options).plan;
  EXPECT_EQ(halo_bytes(plan), forward + returned);
}

TEST(SlabCostsTest, SecondsAreSharedOutAndParametersAreNot) {
  at::set_num_threads(2);
  const PlanOptions slabs = split_wish("cpu,cpu", "slabs=2"), whole = split_wish("cpu", "");
  const auto shapes = shapes_of(whole);
  const NetworkCosts shared = shape_costs_of(slabs, shapes)({.samples = 1});
  const NetworkCosts all = shape_costs_of(whole, shapes)({.samples = 1});
  ASSERT_EQ(shared.layers.size(), all.layers.size());
  for (std::size_t i = 0; i < all.layers.size(); ++i) {
    EXPECT_DOUBLE_EQ(shared.layers[i].forward_s - shared.layers[i].forward_exchange_s,
                     all.layers[i].forward_s / 2);
    EXPECT_EQ(shared.layers[i].parameter_bytes, all.layers[i].parameter_bytes);
    EXPECT_EQ(shared.layers[i].output_bytes, all.layers[i].output_bytes) << "both on the host";
  }
  at::set_num_threads(1);
  EXPECT_DOUBLE_EQ(slab_share_of_seconds(slabs), 1) << "one core for both";
  PlanOptions apart = split_wish("auto", "slabs=2");
  apart.absent_devices = 2;
  const NetworkCosts half = shape_costs_of(apart, shapes)({.samples = 1});
  EXPECT_EQ(half.input_bytes, all.input_bytes / 2);
  EXPECT_EQ(half.layers[0].output_bytes, all.layers[0].output_bytes / 2);
}

// 16 planes of 16 x 16 x 1 in float32 over links of 1 GB/s. The first convolution halves: planes 0
// to 3 and 4 to 7 come out, and slab 1 reads plane 7 of slab 0. A norm sends two doubles a channel,
// there and back.
TEST(SlabCostsTest, AnExchangeTakesALatencyAndItsBytesOverOneLink) {
  PlanOptions options = split_wish("auto", "slabs=2");
  options.absent_devices = 2;
  options.bytes_per_s = 1e9;
  const NetworkCosts costs = shape_costs_of(options, shapes_of(options))({.samples = 1});
  const LayerCosts &convolution = costs.layers[0], &norm = costs.layers[1];
  ASSERT_THAT(norm.name, HasSubstr("adn_N"));
  EXPECT_DOUBLE_EQ(convolution.forward_exchange_s, kExchangeLatencyS + 4 * 16 * 16 / 1e9);
  EXPECT_EQ(convolution.backward_exchange_s, 0) << "nobody wants the image's gradient";
  EXPECT_DOUBLE_EQ(norm.forward_exchange_s, kExchangeLatencyS + 4 * 2 * 8 / 1e9);
  EXPECT_DOUBLE_EQ(norm.backward_exchange_s, norm.forward_exchange_s);
  double step = costs.loss_exchange_s;
  for (const LayerCosts& layer : costs.layers) {
    EXPECT_GE(layer.forward_s, layer.forward_exchange_s);
    step += layer.forward_exchange_s + layer.backward_exchange_s;
  }
  options.device_memory_bytes = std::int64_t{1} << 30;
  const Plan plan = choose_plan(options).plan;
  EXPECT_NEAR(exchange_s(plan), step, 1e-12);
  EXPECT_NEAR(to_json(plan)["exchange_s"].get<double>(), step, 1e-12);
  options.bytes_per_s = 1e6;
  EXPECT_GT(choose_plan(options).plan.step_s(), plan.step_s() + 4 * 16 * 16 / 1e6 - 1e-5);
}

// Every link carries the gradients once and the weights once; they hide under at most the step.
TEST(SlabCostsTest, AStepEndsWithGradientsAndWeightsThatAreSharedOut) {
  PlanOptions options = split_wish("auto", "slabs=3");
  options.absent_devices = 3;
  options.device_memory_bytes = std::int64_t{1} << 30;
  options.bytes_per_s = 1e8;
  const Plan plan = choose_plan(options).plan;
  double bytes = 0;
  for (const torch::Tensor& weight : make_network(options.net).chain->parameters())
    bytes += 4 * static_cast<double>(weight.numel());
  const double sent = 2 * bytes / 1e8;
  EXPECT_GE(plan.merge_s, sent - plan.simulation.makespan);
  EXPECT_LE(plan.merge_s, sent + 1e-12);
  EXPECT_GT(plan.merge_s, 0);
  EXPECT_DOUBLE_EQ(plan.step_s(), plan.simulation.makespan + plan.update_s + plan.merge_s);
  EXPECT_EQ(choose_plan(split_wish("cpu,cpu", "slabs=2")).plan.merge_s, 0) << "one device";
}

// With three slabs plane 5 of 16 lies on plane 2.5 of 8, which is cut at 3: slabs make 3, 2 and 3.
// Slab 1 sends plane 5 to slab 0 and plane 9 to slab 2; the two sums of a norm come from two
// others.
TEST(SlabCostsTest, TheSlabWithMostPlanesSetsThePace) {
  PlanOptions options = split_wish("auto", "slabs=3"), one = split_wish("cpu", "");
  options.absent_devices = 3;
  options.bytes_per_s = 1e9;
  const auto shapes = shapes_of(one);
  const NetworkCosts shared = shape_costs_of(options, shapes)({.samples = 1});
  const NetworkCosts all = shape_costs_of(one, shapes)({.samples = 1});
  EXPECT_DOUBLE_EQ(shared.layers[0].forward_s,
                   all.layers[0].forward_s * 3 / 8 + kExchangeLatencyS + 2 * 4 * 16 * 16 / 1e9);
  EXPECT_DOUBLE_EQ(shared.layers[1].forward_exchange_s, kExchangeLatencyS + 2 * 4 * 2 * 8 / 1e9);
  EXPECT_EQ(shared.input_bytes, all.input_bytes * 6 / 16) << "planes 10 to 15";
}

// One link without activations: parameters and their optimizer's state once, gradients twice.
TEST(SlabCostsTest, SlabsOfOneDeviceShareParametersAndHaveGradientsOfTheirOwn) {
  const std::int64_t p = 1000;
  const NetworkCosts costs{.layers = {{.name = "a", .parameter_bytes = p}}};
  const PlanDevice cpu{"cpu"};
  const PipelineSetup one{.devices = {cpu}, .optimizer_factor = 1};
  PipelineSetup two = one;
  two.workers = {cpu, cpu};
  const auto peak = [&](const PipelineSetup& setup) {
    return MemoryModel(costs, setup).stage_peak_bytes(0, {0, 1}, RecomputeRule::kNever);
  };
  EXPECT_EQ(peak(one), 4 * p) << "with the optimizer's temporary";
  EXPECT_EQ(peak(two), 4 * p) << "which is there when one of the gradients has gone";
  two.workers.push_back(cpu);
  EXPECT_EQ(two.slabs(), 3U);
  EXPECT_EQ(peak(two), 5 * p);
  two.workers = {cpu, PlanDevice{"cuda:0"}};
  EXPECT_EQ(two.slabs_on_device(), 1U);
  EXPECT_EQ(peak(two), 4 * p);
}

TEST(SlabCostsTest, DevicesOfASlabAreItsOwn) {
  PlanRequest request{.devices = {{"a", 5}, {"b", 3}, {"a", 5}, {"b", 3}}};
  take_slabs(request, {.stages = 2, .slabs = 2});
  ASSERT_EQ(request.devices.size(), 2U);
  EXPECT_EQ(request.devices[1].name, "a");
  EXPECT_EQ(request.devices[1].memory_bytes, 3) << "the least of the stage's";
  PlanRequest crossed{.devices = {{"a"}, {"b"}, {"b"}, {"a"}}};
  EXPECT_THROW(take_slabs(crossed, {.stages = 2, .slabs = 2}), UsageError);
  PlanRequest replicas{.devices = {{"a", 5}, {"b", 5}, {"c", 2}, {"d", 4}}};
  take_slabs(replicas, {.replicas = 2, .stages = 2});
  ASSERT_EQ(replicas.devices.size(), 2U);
  EXPECT_EQ(replicas.devices[0].memory_bytes, 2) << "of a and c";
  EXPECT_EQ(replicas.devices[1].name, "b");
  PlanRequest shared{.devices = {{"a"}, {"b"}, {"b"}, {"a"}}};
  EXPECT_THROW(take_slabs(shared, {.replicas = 2, .stages = 2}), UsageError);
}

}  // namespace
}  // namespace lamp
