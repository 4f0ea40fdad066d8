// The one step is the step by hand, and what its settings do to the network.
#include "lamp/execution/training_step.h"

#include <gtest/gtest.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <cmath>
#include <vector>

#include "lamp/execution/plan_choices.h"
#include "lamp/nets/net_factory.h"
#include "lamp/objective/losses.h"
#include "support/devices.h"
#include "support/relative_error.h"

namespace lamp {
namespace {

StepBatch noise_batch(std::int64_t samples) {
  torch::manual_seed(5);
  return {.image = torch::randn({samples, 1, 16, 16, 16}) * 3 + 2,
          .label = torch::randint(0, 3, {samples, 16, 16, 16}).to(torch::kUInt8),
          .flags = torch::ones({samples, 3})};
}

class TrainingStepTest : public testing::DeviceTest {};

// Forward, loss, backward, clipping and plain gradient descent, on the CPU.
TEST_P(TrainingStepTest, IsTheStepByHand) {
  const NetConfig net{.name = "unet", .width = 4, .depth = 1, .classes = 3};
  Network network = make_network(net), plain = make_network(net);
  network.initialise(1);
  plain.initialise(1);
  const ResolvedExecution plan{.net = net,
                               .input = {16, 16, 16},
                               .batch = 2,
                               .devices = {device().str()},
                               .partition = {{0, network.chain->size()}},
                               .layout = "contiguous",
                               .recompute = {RecomputeRule::kNever}};
  const OptimizerConfig optimizer{.name = "sgd", .lr = 0.5, .momentum = 0, .clip_norm = 0.01};
  const auto loss = make_loss({}, torch::ones({3}, device())),
             here = make_loss({}, torch::ones({3}));
  LossScaler scaler(false);
  TrainingStep step(network, *loss, plan, optimizer, scaler, 0);
  const StepBatch batch = noise_batch(2);
  const StepOutcome outcome = step.run(batch, 0);

  plain.chain->train();
  const torch::Tensor value = (*here)(plain.forward(batch.image), batch.label, batch.flags);
  value.backward();
  double norm = 0;
  for (const auto& parameter : plain.chain->parameters())
    norm = std::hypot(norm, parameter.grad().norm().item<double>());
  const double near = tolerance(1e-4, 1e-2);
  EXPECT_NEAR(outcome.loss, value.item<double>(), near * value.item<double>());
  EXPECT_NEAR(outcome.gradient_norm, norm, near * norm);
  ASSERT_GT(norm, optimizer.clip_norm) << "clipping would not show";
  const double rate = optimizer.lr * optimizer.clip_norm / norm;
  const auto after = network.chain->parameters(), before = plain.chain->parameters();
  for (std::size_t i = 0; i < after.size(); ++i)
    EXPECT_LT(testing::relative_error(after[i].cpu(), before[i] - rate * before[i].grad()), near);
}

LAMP_TEST_ON_DEVICES(TrainingStepTest);

// Running mean and variance of the first batch norm after a step on four samples: what lies before
// it sees each sample for itself.
std::vector<torch::Tensor> first_statistics(const Json& execution) {
  PlanOptions options{.input = {16, 16, 16}, .batch = 4};
  options.net = {.name = "unet", .width = 4, .depth = 1, .classes = 3};
  options.execution = parse_execution_config(execution);
  const ResolvedExecution plan = choose_plan(options).execution;
  Network network = make_network(plan.net);
  network.initialise(1);
  const auto loss = make_loss({}, torch::ones({3}));
  LossScaler scaler(false);
  TrainingStep step(network, *loss, plan, {}, scaler, 0);
  EXPECT_EQ(plan.microbatches, execution["microbatches"]);
  step.run(noise_batch(4), 0);
  std::vector<torch::Tensor> statistics;
  for (const auto& buffer : network.chain->named_buffers())
    if (buffer.key().find(".running_") != std::string::npos) statistics.push_back(buffer.value());
  statistics.resize(2);
  return statistics;
}

TEST(DeferredBatchNormStepTest, HasTheStatisticsOfTheWholeBatch) {
  at::set_num_threads(1);
  Json execution = {
      {"device", "cpu"}, {"layout", "contiguous"}, {"costs", "shapes"}, {"microbatches", 1}};
  const auto whole = first_statistics(execution);
  for (const char* devices : {"cpu", "cpu,cpu"}) {
    execution["device"] = devices;
    execution["microbatches"] = 2;
    execution["deferred_batch_norm"] = false;
    const auto plain = first_statistics(execution);
    execution["deferred_batch_norm"] = true;
    const auto deferred = first_statistics(execution);
    for (std::size_t i = 0; i < 2; ++i) {
      EXPECT_TRUE(torch::allclose(deferred[i], whole[i], 1e-5, 1e-6)) << devices;
      EXPECT_FALSE(torch::allclose(plain[i], whole[i], 1e-2, 1e-3)) << devices;
    }
  }
}

}  // namespace
}  // namespace lamp
