#include "lamp/execution/loss_scaler.h"

#include <gtest/gtest.h>
#include <torch/types.h>

#include <limits>

namespace lamp {
namespace {

NamedParameters one_parameter(float gradient) {
  torch::Tensor parameter = torch::ones({3}).requires_grad_();
  parameter.mutable_grad() = torch::full({3}, gradient);
  return {{"p", parameter}};
}

TEST(LossScalerTest, DividesTheGradientsByTheScale) {
  LossScaler scaler(true);
  const NamedParameters parameters = one_parameter(65536);
  EXPECT_TRUE(scaler.unscale(parameters, 1));
  EXPECT_EQ(parameters[0].second.grad()[0].item<float>(), 1);
}

TEST(LossScalerTest, AnOverflowHalvesTheScaleUntilItIsExhausted) {
  LossScaler scaler(true);
  const NamedParameters parameters = one_parameter(1);
  EXPECT_FALSE(scaler.unscale(parameters, std::numeric_limits<double>::infinity()));
  EXPECT_EQ(scaler.scale(), LossScaler::kFirstScale / 2);
  int overflows = 1;
  while (!scaler.exhausted() && overflows < 100) {
    scaler.unscale(parameters, std::numeric_limits<double>::quiet_NaN());
    ++overflows;
  }
  EXPECT_EQ(overflows, 17);
}

TEST(LossScalerTest, GoodStepsLetItGrowAgain) {
  LossScaler scaler(true);
  const NamedParameters parameters = one_parameter(1);
  for (int i = 0; i < LossScaler::kGrowthInterval; ++i) scaler.unscale(parameters, 1);
  EXPECT_EQ(scaler.scale(), 2 * LossScaler::kFirstScale);
}

TEST(LossScalerTest, WithoutScalingAnOverflowIsAnError) {
  LossScaler scaler(false);
  EXPECT_EQ(scaler.scale(), 1);
  EXPECT_FALSE(scaler.unscale(one_parameter(1), std::numeric_limits<double>::infinity()));
  EXPECT_FALSE(scaler.exhausted());
}

}  // namespace
}  // namespace lamp
