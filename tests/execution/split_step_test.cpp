// An optimizer step on slabs is the step on whole volumes.
#include <ATen/Parallel.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "lamp/base/errors.h"
#include "lamp/execution/training_step.h"
#include "lamp/nets/net_factory.h"
#include "support/relative_error.h"

namespace lamp {
namespace {

// Three steps of gradient descent on an odd-sized batch, and what the network then says of it.
struct StepsOnSlabs {
  std::vector<double> losses;
  torch::Tensor scores;
  std::int64_t halo_bytes = 0;
};

StepsOnSlabs three_steps(std::size_t stages, std::int64_t slabs, const std::string& layout,
                         std::int64_t replicas = 1, const std::vector<double>& slab_shares = {}) {
  at::set_num_threads(2);
  const NetConfig net{.name = "seunet", .width = 4, .depth = 1, .classes = 3};
  Network network = make_network(net);
  network.initialise(1);
  const std::size_t links = network.chain->size();
  const std::vector<std::string> devices(stages * static_cast<std::size_t>(slabs * replicas),
                                         "cpu");
  const ResolvedExecution plan{
      .net = net,
      .input = {16, 15, 21},
      .batch = 2,
      .devices = devices,
      .replicas = replicas,
      .slabs = slabs,
      .slab_shares = slab_shares,
      .partition = stages == 1 ? Partition{{0, links}} : Partition{{0, 6}, {6, links}},
      .layout = layout,
      .microbatches = std::max<std::int64_t>(2 / replicas, 1),
      .recompute =
          std::vector(stages, stages == 1 ? RecomputeRule::kNever : RecomputeRule::kAlways),
      .threads = 2};
  const OptimizerConfig optimizer{.name = "sgd", .lr = 0.05, .momentum = 0.9};
  const auto loss = make_loss({}, torch::ones({3}));
  LossScaler scaler(false);
  TrainingStep step(network, *loss, plan, optimizer, scaler, 0);
  torch::manual_seed(5);
  const StepBatch batch{.image = torch::randn({2, 1, 21, 15, 16}) * 3 + 2,
                        .label = torch::randint(0, 3, {2, 21, 15, 16}).to(torch::kUInt8),
                        .flags = torch::ones({2, 3})};
  StepsOnSlabs found;
  for (int i = 0; i < 3; ++i) {
    const StepOutcome outcome = step.run(batch, i);
    found.losses.push_back(outcome.loss);
    found.halo_bytes = outcome.pipeline.halo_bytes;
  }
  const torch::NoGradGuard no_gradients;
  network.chain->eval();
  found.scores = step.predict(batch.image.narrow(0, 0, 1));
  return found;
}

TEST(SplitStepTest, ThreeStepsOnSlabsAreThreeStepsOnOneDevice) {
  for (const char* layout : {"contiguous", "channels_last"}) {
    const StepsOnSlabs one = three_steps(1, 1, layout);
    EXPECT_EQ(one.halo_bytes, 0);
    EXPECT_NE(one.losses[0], one.losses[2]) << "nothing was learnt";
    for (const auto& [stages, slabs] :
         {std::pair<std::size_t, std::int64_t>{1, 2}, {1, 3}, {2, 2}}) {
      const StepsOnSlabs found = three_steps(stages, slabs, layout);
      EXPECT_GT(found.halo_bytes, 0);
      for (std::size_t i = 0; i < 3; ++i)
        EXPECT_NEAR(found.losses[i] / one.losses[i], 1, 1e-5)
            << stages << " stages of " << slabs << " slabs, step " << i << ", " << layout;
      EXPECT_LT(testing::relative_error(found.scores, one.scores), 1e-3)
          << stages << " stages of " << slabs << " slabs, " << layout;
    }
  }
}

// Of 6 planes at the coarsest level the second slab has 1; of shares of 100 and 1 it has none.
TEST(SplitStepTest, SlabsMayBeUnequalAsThePlanSays) {
  const StepsOnSlabs one = three_steps(1, 1, "contiguous");
  const StepsOnSlabs found = three_steps(1, 2, "contiguous", 1, {3, 1});
  for (std::size_t i = 0; i < 3; ++i) EXPECT_NEAR(found.losses[i] / one.losses[i], 1, 1e-5) << i;
  EXPECT_LT(testing::relative_error(found.scores, one.scores), 1e-3);
  EXPECT_THROW(three_steps(1, 2, "contiguous", 1, {100, 1}), UsageError);
}

TEST(SplitStepTest, ThreeStepsOfReplicasAreThreeStepsOnOneDevice) {
  const StepsOnSlabs one = three_steps(1, 1, "channels_last");
  for (const auto& [stages, slabs] :
       {std::pair<std::size_t, std::int64_t>{1, 1}, {2, 1}, {1, 2}, {2, 2}}) {
    const StepsOnSlabs found = three_steps(stages, slabs, "channels_last", 2);
    for (std::size_t i = 0; i < 3; ++i)
      EXPECT_NEAR(found.losses[i] / one.losses[i], 1, 1e-5) << stages << " stages, step " << i;
    EXPECT_LT(testing::relative_error(found.scores, one.scores), 1e-3) << stages << " " << slabs;
    EXPECT_EQ(three_steps(stages, slabs, "channels_last", 2).losses, found.losses) << "its bits";
  }
}

// Of a batch of two samples the third replica has none.
TEST(SplitStepTest, AReplicaWithoutASampleChangesNothing) {
  const StepsOnSlabs one = three_steps(1, 1, "contiguous");
  const StepsOnSlabs found = three_steps(1, 1, "contiguous", 3);
  for (std::size_t i = 0; i < 3; ++i) EXPECT_NEAR(found.losses[i] / one.losses[i], 1, 1e-5) << i;
}

TEST(SplitStepTest, TheSameStepsHaveTheSameBits) {
  const StepsOnSlabs first = three_steps(2, 2, "channels_last");
  const StepsOnSlabs second = three_steps(2, 2, "channels_last");
  EXPECT_EQ(first.losses, second.losses);
  EXPECT_TRUE(torch::equal(first.scores, second.scores));
}

}  // namespace
}  // namespace lamp
