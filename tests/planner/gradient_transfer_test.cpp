// Gradients that travel under the backward pass, by hand.
#include "lamp/planner/gradient_transfer.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "lamp/planner/plan.h"

namespace lamp {
namespace {

// Layers in the order of the chain, with seconds and bytes; a byte takes a second.
TEST(ExposedGradientsTest, WhatIsFinalLastHidesUnderNothing) {
  EXPECT_DOUBLE_EQ(exposed_gradients_s({{1, 10}, {1, 0}}, 1), 10);
  EXPECT_DOUBLE_EQ(exposed_gradients_s({{1, 10}}, 0.5), 5);
}

TEST(ExposedGradientsTest, WhatIsFinalFirstHidesUnderTheRest) {
  EXPECT_DOUBLE_EQ(exposed_gradients_s({{4, 0}, {1, 3}}, 1), 0) << "from 1 to 4 of 5 seconds";
  EXPECT_DOUBLE_EQ(exposed_gradients_s({{2, 0}, {1, 5}}, 1), 3) << "from 1 to 6, of 3 seconds";
  EXPECT_DOUBLE_EQ(exposed_gradients_s({}, 1), 0);
  EXPECT_DOUBLE_EQ(exposed_gradients_s({{1, 0}, {1, 0}}, 1), 0);
}

// Final at 1, 2 and 3 s; sent from 1 to 3, 3 to 5 and 5 to 6.
TEST(ExposedGradientsTest, GradientsWaitForThoseBeforeThem) {
  EXPECT_DOUBLE_EQ(exposed_gradients_s({{1, 1}, {1, 2}, {1, 2}}, 1), 3);
  EXPECT_DOUBLE_EQ(exposed_gradients_s({{9, 1}, {1, 2}, {1, 2}}, 1), 1) << "the link was free";
}

// Each layer takes a second and waits for its own weights.
TEST(ExposedWeightsTest, AreWhatALayerWaitsFor) {
  EXPECT_DOUBLE_EQ(exposed_weights_s({{1, 2}, {1, 0}}, 0, 1), 2) << "the first waits from 0 to 2 s";
  EXPECT_DOUBLE_EQ(exposed_weights_s({{1, 0}, {1, 1}}, 0, 1), 0) << "there when they are wanted";
  EXPECT_DOUBLE_EQ(exposed_weights_s({{1, 0}, {1, 5}, {1, 1}}, 0, 1), 4)
      << "the second one's come at 5 s, the third one's meanwhile at 6";
  EXPECT_DOUBLE_EQ(exposed_weights_s({{1, 1}, {1, 2}, {1, 3}}, 0, 1), 1 + 1 + 2);
  EXPECT_DOUBLE_EQ(exposed_weights_s({{1, 4}, {1, 3}}, 5, 1), 1) << "a later stage begins at 5 s";
  EXPECT_DOUBLE_EQ(exposed_weights_s({}, 0, 1), 0);
}

Plan made_plan(std::vector<LayerCosts> layers, std::size_t stages, std::size_t lanes) {
  Plan plan;
  plan.costs.layers = std::move(layers);
  plan.setup.bytes_per_s = 1;
  for (std::size_t j = 0; j < stages; ++j)
    for (std::size_t lane = 0; lane < lanes; ++lane) {
      const PlanDevice device{std::to_string(j) + "-" + std::to_string(lane)};
      if (lane == 0) plan.setup.devices.push_back(device);
      plan.setup.workers.push_back(device);
    }
  plan.balance.partition = stages == 1 ? Partition{{0, plan.costs.layers.size()}}
                                       : Partition{{0, 1}, {1, plan.costs.layers.size()}};
  plan.balance.recompute.assign(stages, RecomputeRule::kNever);
  plan.simulation = simulate_with(plan, plan.costs);
  return plan;
}

double merge_of(const Plan& plan) {
  return merge_seconds(plan.costs, plan.setup, plan.balance.partition, plan.simulation);
}

LayerCosts layer_of(double backward_s, std::int64_t bytes, double weight_s = 0) {
  return {.forward_s = 1, .backward_s = backward_s, .weight_s = weight_s, .parameter_bytes = bytes};
}

// Any number of lanes: all bytes once over each link. The second layer's 8 bytes are sent from 9 s
// to 17 s, the first one's 4 from then to 21 s; the pass ends at 10 s. Weights: the first layer's
// are there at 4 s, the second one's at 12 s, when the first has been done for 7 s.
TEST(MergeSecondsTest, AreTheSumThatOutlastsTheStepAndWhatLayersWaitForWeights) {
  EXPECT_DOUBLE_EQ(merge_of(made_plan({layer_of(1, 4), layer_of(9, 8)}, 1, 4)), 11 + 4 + 7);
  EXPECT_DOUBLE_EQ(merge_of(made_plan({layer_of(100, 0), layer_of(9, 8)}, 1, 4)), 7)
      << "the weights alone: there at 8 s, wanted at 1 s";
}

// The second stage's gradient is sent while the first stage is at
// work.
TEST(MergeSecondsTest, EachStageSumsItsOwn) {
  // The second stage begins at 1 s, its weights are there at 4 s; the same for 9 s.
  EXPECT_DOUBLE_EQ(merge_of(made_plan({layer_of(5, 0), layer_of(1, 4)}, 2, 2)), 3);
  EXPECT_DOUBLE_EQ(merge_of(made_plan({layer_of(5, 3), layer_of(1, 4)}, 2, 2)), 3 + 3);
  EXPECT_DOUBLE_EQ(merge_of(made_plan({layer_of(5, 0), layer_of(1, 9)}, 2, 2)), 4 + 8);
}

// Weights' halves add to gradients without torch's engine: both are summed when the last is done.
// The first layer's weights are there after 1 s, the second one's when it begins.
TEST(MergeSecondsTest, WhatWeightHalvesMakeIsSummedAtTheEnd) {
  Plan plan = made_plan({layer_of(5, 1, 1), layer_of(5, 1, 1)}, 1, 2);
  plan.setup.schedule = ScheduleKind::kZeroBubble;
  plan.simulation = simulate_with(plan, plan.costs);
  EXPECT_DOUBLE_EQ(merge_of(plan), 2 + 1);
}

TEST(MergeSecondsTest, OneDeviceSendsNothing) {
  Plan plan = made_plan({layer_of(1, 4)}, 1, 2);
  plan.setup.workers[1] = plan.setup.workers[0];
  EXPECT_EQ(merge_of(plan), 0);
  EXPECT_EQ(merge_of(made_plan({layer_of(1, 4)}, 1, 1)), 0);
}

}  // namespace
}  // namespace lamp
