#include "lamp/training/validation.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <cmath>

#include "lamp/training/run_log.h"

namespace lamp {
namespace {

TEST(ValidationTest, DiceIsThatOfTheHardLabels) {
  const torch::Tensor reference =
      torch::tensor({0, 1, 1, 2, 2, 2, 0, 0}, torch::kUInt8).reshape({2, 2, 2});
  const torch::Tensor predicted =
      torch::tensor({0, 1, 0, 2, 2, 1, 0, 0}, torch::kInt64).reshape({2, 2, 2});
  const auto dice = dice_per_label(predicted, reference, 4, {});
  EXPECT_DOUBLE_EQ(dice[0], 2.0 * 1 / (2 + 2));
  EXPECT_DOUBLE_EQ(dice[1], 2.0 * 2 / (3 + 2));
  EXPECT_TRUE(std::isnan(dice[2]));  // in neither map
}

TEST(ValidationTest, UnannotatedLabelsDoNotCount) {
  const torch::Tensor map = torch::tensor({1, 2}, torch::kUInt8).reshape({1, 1, 2});
  const auto dice = dice_per_label(map, map, 3, {2});
  EXPECT_TRUE(std::isnan(dice[0]));
  EXPECT_DOUBLE_EQ(dice[1], 1);
  EXPECT_DOUBLE_EQ(mean_dice(dice), 1);
}

}  // namespace
}  // namespace lamp
