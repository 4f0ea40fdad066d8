#include "lamp/planner/memory_model.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <utility>

#include "lamp/planner/forward_pass.h"
#include "support/every_schedule.h"
#include "support/made_up_costs.h"

namespace lamp {
namespace {

using testing::kEverySchedule;
using testing::made_up_setup;
using testing::random_network_costs;
using testing::unet_like_costs;

// Links that only save: what a stage holds is micro-batches times bytes.
NetworkCosts saving_links(int links) {
  NetworkCosts costs;
  costs.layers.assign(static_cast<std::size_t>(links), {.name = "l", .saved_bytes = 1000});
  return costs;
}

TEST(MemoryModelTest, HoldsAsManyMicroBatchesAsTheScheduleHasInFlight) {
  const NetworkCosts costs = saving_links(4);
  for (const ScheduleKind kind : kEverySchedule) {
    for (const int m : {1, 3, 9}) {
      const MemoryModel memory(costs, made_up_setup(kind, 4, m));
      const auto in_flight = peak_in_flight(make_schedule(kind, 4, m));
      for (std::size_t j = 0; j < 4; ++j)
        EXPECT_EQ(memory.stage_peak_bytes(j, {j, j + 1}, RecomputeRule::kNever),
                  1000 * in_flight[j])
            << to_string(kind) << " " << m << " " << j;
    }
  }
}

// 5 samples in 4 micro-batches: one of two, three of one, of costs that are those of two.
TEST(MemoryModelTest, SmallerMicroBatchesHoldLess) {
  NetworkCosts costs = saving_links(1);
  costs.samples = 2;
  costs.input_bytes = 60;
  costs.layers[0].parameter_bytes = 100;
  PipelineSetup setup = made_up_setup(ScheduleKind::kGPipe, 1, 4);
  setup.batch = 5;
  setup.optimizer_factor = 0;
  const std::int64_t input = 60 + 3 * 30, parameters = 2 * 100;
  EXPECT_EQ(MemoryModel(costs, setup).stage_peak_bytes(0, {0, 1}, RecomputeRule::kNever),
            input + parameters + 1000 + 3 * 500);
}

TEST(MemoryModelTest, RecomputationHoldsInputsAndOneMicroBatch) {
  NetworkCosts costs = saving_links(4);
  for (LayerCosts& layer : costs.layers) layer.output_bytes = 10;
  const MemoryModel memory(costs, made_up_setup(ScheduleKind::kGPipe, 2, 6));
  // Six inputs, one micro-batch of two links, the gradients of a link's output and input.
  const StageRange last{2, 4};
  const std::int64_t always = memory.stage_peak_bytes(1, last, RecomputeRule::kAlways);
  EXPECT_EQ(always, 6 * 10 + 2000 + 2 * 10);
  // The last micro-batch is kept beside the one that is run again.
  EXPECT_EQ(memory.stage_peak_bytes(1, last, RecomputeRule::kExceptLast), always + 2000);
  EXPECT_EQ(memory.stage_peak_bytes(1, last, RecomputeRule::kNever), 6 * 2010 + 2 * 10);
}

TEST(MemoryModelTest, CountsParametersGradientsStateAndTheUpdate) {
  NetworkCosts costs;
  costs.layers = {{.name = "a", .parameter_bytes = 600, .buffer_bytes = 10, .saved_bytes = 5},
                  {.name = "b", .parameter_bytes = 400, .saved_bytes = 5}};
  PipelineSetup setup = made_up_setup(ScheduleKind::k1F1B, 1, 1);
  setup.optimizer_factor = 2;
  // Parameters, gradients, two moments, buffers and their copy; a temporary of the largest layer.
  EXPECT_EQ(MemoryModel(costs, setup).stage_peak_bytes(0, {0, 2}, RecomputeRule::kNever),
            4 * 1000 + 20 + 600);
  setup.first_device_bytes = 7;
  setup.last_device_bytes = 30;
  EXPECT_EQ(MemoryModel(costs, setup).stage_peak_bytes(0, {0, 2}, RecomputeRule::kNever),
            4 * 1000 + 20 + 600 + 37);
}

TEST(MemoryModelTest, ASkipFromAnotherDeviceStaysUntilItsMicroBatchIsBack) {
  NetworkCosts costs = saving_links(3);
  costs.skips = {{"s", 0, 2, 70}};
  const MemoryModel memory(costs, made_up_setup(ScheduleKind::kGPipe, 3, 4));
  EXPECT_EQ(memory.stage_peak_bytes(2, {2, 3}, RecomputeRule::kNever), 4 * 1070);
  // Its gradient waits on the first stage for the whole backward.
  EXPECT_EQ(memory.stage_peak_bytes(0, {0, 1}, RecomputeRule::kNever), 4 * 1000 + 70);
  EXPECT_EQ(memory.stage_peak_bytes(1, {1, 2}, RecomputeRule::kNever), 4 * 1000);
}

TEST(MemoryModelTest, WhatIsMadeForAStashAloneIsThereUntilItIsPopped) {
  NetworkCosts costs = saving_links(3);
  costs.skips = {{"s", 0, 2, 70, true}};
  costs.layers[1].forward_workspace_bytes = 5000;
  const auto peak = [&] {
    return MemoryModel(costs, made_up_setup(ScheduleKind::kGPipe, 1, 1))
        .stage_peak_bytes(0, {0, 3}, RecomputeRule::kNever);
  };
  EXPECT_EQ(peak(), 2000 + 5000);
  costs.skips[0].is_handed_on = false;
  EXPECT_EQ(peak(), 2000 + 5000 + 70);
}

// Four links of outputs of 100 bytes; the last one concatenates what the first one stashed. Its
// gradient of 200 bytes stays whole while a half of it waits.
TEST(MemoryModelTest, APartOfAGradientKeepsAllOfItWhileItWaits) {
  NetworkCosts costs = saving_links(4);
  for (LayerCosts& layer : costs.layers) layer = {.name = "l", .output_bytes = 100};
  costs.layers[3].output_bytes = 200;
  costs.skips = {{.name = "s", .from = 0, .to = 3, .bytes = 100, .is_handed_on = true}};
  costs.layers[1].backward_workspace_bytes = 5000;
  const auto peak = [&] {
    return MemoryModel(costs, made_up_setup(ScheduleKind::kGPipe, 1, 1))
        .stage_peak_bytes(0, {0, 4}, RecomputeRule::kNever);
  };
  const std::int64_t without_skip = 100 + 100 + 5000;  // gradients of output and input, workspace
  EXPECT_EQ(peak(), without_skip + 100) << "nothing is known of it";
  costs.skips[0].gradient_bytes = 200;
  costs.skips[0].shares_gradient = true;
  EXPECT_EQ(peak(), without_skip + 200);
  costs.skips[0].gradient_bytes = 0;
  EXPECT_EQ(peak(), without_skip) << "it wants none";
  // Right before the concatenation the input's half is there anyway.
  costs.skips[0].gradient_bytes = 200;
  std::swap(costs.layers[1].backward_workspace_bytes, costs.layers[2].backward_workspace_bytes);
  EXPECT_EQ(peak(), without_skip + 100);
  // Both summands of a sum have one gradient.
  costs.skips[0].gradient_bytes = 100;
  EXPECT_EQ(peak(), without_skip);
}

// The second stage sends a copy of its part, and lets go of the whole.
TEST(MemoryModelTest, APartOfAGradientForAnotherStageIsACopy) {
  NetworkCosts costs = saving_links(4);
  for (LayerCosts& layer : costs.layers) layer = {.name = "l", .output_bytes = 100};
  costs.layers[3].output_bytes = 200;
  costs.skips = {{.name = "s", .from = 0, .to = 3, .bytes = 100, .is_handed_on = true}};
  costs.skips[0].gradient_bytes = 200;
  costs.skips[0].shares_gradient = true;
  const auto peak = [&] {
    return MemoryModel(costs, made_up_setup(ScheduleKind::kGPipe, 2, 1))
        .stage_peak_bytes(1, {1, 4}, RecomputeRule::kNever);
  };
  const std::int64_t arrived = 100 + 100;  // the stage's input and the skip, until it is back
  costs.layers[1].backward_workspace_bytes = 5000;
  EXPECT_EQ(peak(), arrived + 100 + 100 + 5000 + 100);
  std::swap(costs.layers[1].backward_workspace_bytes, costs.layers[2].backward_workspace_bytes);
  EXPECT_EQ(peak(), arrived + 100 + 100 + 5000 + 100 + 100) << "beside the whole";
}

// Of two links of 100 bytes the second one's weights, of 10, are put off. Its backward has what
// both saved, the gradients of its output and of its input, and a workspace; the weights' half has
// its input and the gradient of its output, that of the weights, and a workspace of its own.
TEST(MemoryModelTest, EachHalfOfABackwardHasAWorkspaceOfItsOwn) {
  NetworkCosts costs = saving_links(2);
  for (LayerCosts& layer : costs.layers)
    layer = {.name = "l", .backward_s = 2, .output_bytes = 100, .saved_bytes = 100};
  costs.layers[1].weight_s = 1;
  costs.layers[1].parameter_bytes = 10;
  costs.layers[1].backward_workspace_bytes = 1000000;  // of both halves in one
  const auto peak = [&] {
    return MemoryModel(costs, made_up_setup(ScheduleKind::kZeroBubble, 1, 1))
        .stage_peak_bytes(0, {0, 2}, RecomputeRule::kNever);
  };
  const std::int64_t without = peak();
  EXPECT_LT(without, 1000000);
  costs.layers[1].input_half_workspace_bytes = 5000;
  const std::int64_t input_half = peak();
  EXPECT_GT(input_half, 5000);
  costs.layers[1].input_half_workspace_bytes = 0;
  costs.layers[1].weight_half_workspace_bytes = 5000;
  const std::int64_t weight_half = peak();
  // Saved are two outputs of 100, and the gradient of one is there beside: in the weights' half two
  // of 100 and the weights' gradient.
  EXPECT_EQ(weight_half - input_half, (100 + 100 + 10) - (100 + 100 + 100 + 100));
}

TEST(MemoryModelTest, AnOutputThatNothingKeepsIsThereWhileTheNextLinkRuns) {
  NetworkCosts costs = saving_links(2);
  costs.layers[0].output_bytes = 300;
  costs.layers[1].forward_workspace_bytes = 5000;
  const auto peak = [&] {
    return MemoryModel(costs, made_up_setup(ScheduleKind::kGPipe, 1, 1))
        .stage_peak_bytes(0, {0, 2}, RecomputeRule::kNever);
  };
  EXPECT_EQ(peak(), 2000 + 5000);  // counted in what is saved
  costs.layers[0].drops_output = true;
  EXPECT_EQ(peak(), 2000 + 5000 + 300);
}

// Three links of outputs of 100 bytes; the first one's is stashed and handed on as it is.
TEST(ForwardPassTest, ATensorThatIsStashedAndHandedOnIsThereOnce) {
  NetworkCosts costs;
  costs.input_bytes = 10;
  costs.layers.assign(3, {.name = "l", .output_bytes = 100, .forward_workspace_bytes = 5});
  costs.skips = {{"s", 0, 2, 100, true}};
  using Bytes = std::vector<std::int64_t>;
  EXPECT_EQ(forward_pass_bytes(costs, {0, 3}), (Bytes{105, 205, 305}));
  costs.skips[0].is_handed_on = false;
  EXPECT_EQ(forward_pass_bytes(costs, {0, 3}), (Bytes{105, 305, 305}));
  EXPECT_EQ(prediction_peak_bytes(costs, {0, 3}, 0), 305);
  EXPECT_EQ(prediction_peak_bytes(costs, {0, 1}, 4), 10 + 105 + 4 * 100);
  // Its input is handed to it, and at the end the skip as well.
  EXPECT_EQ(prediction_peak_bytes(costs, {1, 2}, 4), 100 + 105);
  EXPECT_EQ(prediction_peak_bytes(costs, {2, 3}, 4), 100 + 100 + 105);
}

TEST(MemoryModelTest, WeightHalvesKeepWhatTheyNeed) {
  NetworkCosts costs = saving_links(2);
  for (LayerCosts& layer : costs.layers) {
    layer.output_bytes = 100;
    layer.weight_s = 1;
  }
  // The second stage puts one weight half off behind the next backward.
  const MemoryModel memory(costs, made_up_setup(ScheduleKind::kZeroBubble, 2, 3));
  const MemoryModel plain(costs, made_up_setup(ScheduleKind::k1F1B, 2, 3));
  EXPECT_EQ(memory.stage_peak_bytes(1, {1, 2}, RecomputeRule::kNever) -
                plain.stage_peak_bytes(1, {1, 2}, RecomputeRule::kNever),
            200);
}

// Three equal links of one stage; each half lets go of its output's gradient and its input.
TEST(MemoryModelTest, WeightHalvesLetGoOneByOne) {
  NetworkCosts costs;
  costs.layers.assign(3, {.name = "l", .weight_s = 1, .parameter_bytes = 40, .output_bytes = 100});
  PipelineSetup setup = made_up_setup(ScheduleKind::kZeroBubble, 1, 1);
  setup.optimizer_factor = 0;
  // Three gradients and two inputs, for the first link's is the mini-batch; parameters; the first
  // half's gradient. The backward's last link has all of that but the gradient.
  EXPECT_EQ(MemoryModel(costs, setup).stage_peak_bytes(0, {0, 3}, RecomputeRule::kNever),
            3 * 100 + 2 * 100 + 3 * 40 + 40);
}

TEST(MemoryModelTest, NaiveHoldsTheSameForAnyNumberOfMicroBatches) {
  Random random({6});
  for (int trial = 0; trial < 30; ++trial) {
    NetworkCosts costs = random_network_costs(random, 4);
    costs.input_bytes = 0;
    const auto rule = static_cast<RecomputeRule>(trial % 3);
    const auto peak = [&](int microbatches) {
      return MemoryModel(costs, made_up_setup(ScheduleKind::kNaive, 2, microbatches))
          .stage_peak_bytes(0, {0, 2}, rule);
    };
    EXPECT_EQ(peak(3), peak(100)) << trial;
  }
}

TEST(MemoryModelTest, StagesOfOneDeviceHoldLessThanTheirSumAndMoreThanEach) {
  Random random({5});
  for (int trial = 0; trial < 100; ++trial) {
    const NetworkCosts costs = random_network_costs(random, 6);
    PipelineSetup setup = made_up_setup(kEverySchedule[trial % 4], 3, 1 + trial % 5);
    const Partition partition = {{0, 2}, {2, 4}, {4, 6}};
    const std::vector<RecomputeRule> rules(3, static_cast<RecomputeRule>(random.below(3)));
    const auto apart = MemoryModel(costs, setup).device_peak_bytes(partition, rules);
    for (PlanDevice& device : setup.devices) device.name = "cpu";
    const auto together = MemoryModel(costs, setup).device_peak_bytes(partition, rules);
    ASSERT_EQ(apart.size(), 3U);
    ASSERT_EQ(together.size(), 1U);
    // Gradients on their way to a stage are in no stage's own.
    std::int64_t sent_back = costs.layers[1].output_bytes + costs.layers[3].output_bytes;
    for (const SkipBytes& skip : costs.skips) sent_back += skip.bytes;
    EXPECT_LE(together[0], std::accumulate(apart.begin(), apart.end(), sent_back));
    std::int64_t saved = 0;
    for (const LayerCosts& layer : costs.layers) saved += layer.saved_bytes;
    if (rules[0] == RecomputeRule::kNever) {
      EXPECT_GE(together[0], saved);
    }
  }
}

TEST(MemoryModelTest, RecomputationNeverHoldsMoreOnANetworkThatSavesItsOutputs) {
  const NetworkCosts costs = unet_like_costs(4);
  for (const ScheduleKind kind : {ScheduleKind::kGPipe, ScheduleKind::k1F1B}) {
    const MemoryModel memory(costs, made_up_setup(kind, 3, 6));
    for (std::size_t first = 1; first < 20; ++first) {
      const StageRange links{first, first + 4};
      EXPECT_LT(memory.stage_peak_bytes(1, links, RecomputeRule::kAlways),
                memory.stage_peak_bytes(1, links, RecomputeRule::kNever))
          << first;
    }
  }
}

}  // namespace
}  // namespace lamp
