#include "lamp/execution/optimizer.h"

#include <gtest/gtest.h>
#include <torch/optim/optimizer.h>
#include <torch/types.h>
#include <torch/utils.h>

#include "lamp/base/errors.h"

namespace lamp {
namespace {

NamedParameters two_parameters() {
  torch::manual_seed(3);
  return {{"a", torch::randn({4, 3}).requires_grad_()}, {"b", torch::randn({5}).requires_grad_()}};
}

void take_steps(torch::optim::Optimizer& optimizer, const NamedParameters& parameters, int first,
                int last) {
  for (int step = first; step < last; ++step) {
    optimizer.zero_grad();
    torch::Tensor loss = torch::zeros({});
    for (const auto& [name, parameter] : parameters)
      loss = loss + (parameter * parameter * (step + 1)).sin().sum();
    loss.backward();
    optimizer.step();
  }
}

class OptimizerTest : public ::testing::TestWithParam<std::string> {};

TEST_P(OptimizerTest, GoesOnBitIdenticallyFromItsSavedState) {
  OptimizerConfig config{.name = GetParam(), .lr = 0.01, .momentum = 0.9, .weight_decay = 0.01};
  const NamedParameters plain = two_parameters();
  auto whole = make_optimizer(config, plain);
  take_steps(*whole, plain, 0, 7);

  const NamedParameters before = two_parameters();
  auto first = make_optimizer(config, before);
  take_steps(*first, before, 0, 3);
  const auto saved = optimizer_state(*first, before);
  EXPECT_FALSE(saved.empty());
  NamedParameters after;
  for (const auto& [name, parameter] : before)
    after.emplace_back(name, parameter.detach().clone().requires_grad_());
  auto second = make_optimizer(config, after);
  restore_optimizer(*second, after, saved);
  take_steps(*second, after, 3, 7);
  for (std::size_t i = 0; i < plain.size(); ++i)
    EXPECT_TRUE(torch::equal(plain[i].second, after[i].second));
}

INSTANTIATE_TEST_SUITE_P(All, OptimizerTest, ::testing::Values("rmsprop", "sgd", "adamw"));

TEST(OptimizerTest, RefusesTheStateOfAnother) {
  const NamedParameters parameters = two_parameters();
  auto rmsprop = make_optimizer({.name = "rmsprop"}, parameters);
  take_steps(*rmsprop, parameters, 0, 1);
  auto sgd = make_optimizer({.name = "sgd"}, parameters);
  EXPECT_THROW(restore_optimizer(*sgd, parameters, optimizer_state(*rmsprop, parameters)), Error);
}

TEST(OptimizerTest, AStateMustHoldWhatItsPlaceInTheRunSays) {
  const NamedParameters parameters = two_parameters();
  const OptimizerConfig sgd{.name = "sgd", .momentum = 0.9};
  auto optimizer = make_optimizer(sgd, parameters);
  take_steps(*optimizer, parameters, 0, 2);
  const auto saved = optimizer_state(*optimizer, parameters);
  ASSERT_EQ(saved.size(), 2U);
  const OptimizerPlace begun{.least_steps = 1, .most_steps = 2, .has_momentum = true};
  EXPECT_NO_THROW(check_optimizer_state(sgd, parameters, saved, begun));
  EXPECT_NO_THROW(check_optimizer_state(sgd, parameters, {}, {}));
  EXPECT_THROW(check_optimizer_state(sgd, parameters, {}, begun), Error);
  auto half = saved;
  half.erase("a:momentum_buffer");
  EXPECT_THROW(check_optimizer_state(sgd, parameters, half, begun), Error);
  EXPECT_THROW(check_optimizer_state(sgd, parameters, half, {.most_steps = 2}), Error);
}

TEST(OptimizerTest, CosineFallsFromTheFullRateToZero) {
  const OptimizerConfig config{.lr = 0.5, .schedule = "cosine"};
  EXPECT_DOUBLE_EQ(learning_rate(config, 0, 10), 0.5);
  EXPECT_NEAR(learning_rate(config, 5, 10), 0.25, 1e-12);
  EXPECT_LT(learning_rate(config, 9, 10), 0.02);
  EXPECT_DOUBLE_EQ(learning_rate({.lr = 0.5}, 9, 10), 0.5);
}

}  // namespace
}  // namespace lamp
