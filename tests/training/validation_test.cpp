#include "lamp/training/validation.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <algorithm>
#include <cmath>

#include "lamp/base/errors.h"
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

TEST(ValidationTest, WhatIsFoundWhereNoScanWasDoesNotCount) {
  const torch::Tensor reference =
      torch::tensor({0, 1, 1, 2, -1, -1, -1, -1}, torch::kInt16).reshape({2, 2, 2});
  for (const auto type : {torch::kInt64, torch::kUInt8}) {
    const torch::Tensor predicted =
        torch::tensor({0, 1, 0, 2, 1, 2, 3, 0}).to(type).reshape({2, 2, 2});
    const auto dice = dice_per_label(predicted, reference, 4, {});
    EXPECT_DOUBLE_EQ(dice[0], 2.0 * 1 / (1 + 2));
    EXPECT_DOUBLE_EQ(dice[1], 1);
    EXPECT_TRUE(std::isnan(dice[2])) << "found only where no scan was";
  }
}

TEST(ValidationTest, UnannotatedLabelsDoNotCount) {
  const torch::Tensor map = torch::tensor({1, 2}, torch::kUInt8).reshape({1, 1, 2});
  const auto dice = dice_per_label(map, map, 3, {2});
  EXPECT_TRUE(std::isnan(dice[0]));
  EXPECT_DOUBLE_EQ(dice[1], 1);
  EXPECT_DOUBLE_EQ(mean_dice(dice), 1);
}

TEST(ValidationTest, TheSplitKeepsEveryCaseOnceAndFollowsTheSeed) {
  const std::vector<Case> cases(20);
  const CaseSplit split = split_cases(cases, {.fraction = 0.25}, 1);
  EXPECT_EQ(split.validation.size(), 5U);
  std::vector<std::size_t> all = split.training;
  all.insert(all.end(), split.validation.begin(), split.validation.end());
  std::sort(all.begin(), all.end());
  for (std::size_t i = 0; i < 20; ++i) EXPECT_EQ(all[i], i);
  EXPECT_EQ(split_cases(cases, {.fraction = 0.25}, 1).validation, split.validation);
  EXPECT_NE(split_cases(cases, {.fraction = 0.25}, 2).validation, split.validation);
}

TEST(ValidationTest, SmallDataSetsKeepACaseToTrainOn) {
  EXPECT_TRUE(split_cases(std::vector<Case>(1), {.fraction = 0.1}, 0).validation.empty());
  EXPECT_EQ(split_cases(std::vector<Case>(2), {.fraction = 0.1}, 0).validation.size(), 1U);
  EXPECT_TRUE(split_cases(std::vector<Case>(9), {.fraction = 0}, 0).validation.empty());
}

TEST(ValidationTest, TheDataSetsOwnValidationCasesAreUsed) {
  Dataset dataset;
  dataset.training.resize(3);
  dataset.validation.resize(2);
  dataset.validation[1].name = "last";
  const CaseSplit split = split_dataset(dataset, {.fraction = 0.5}, 0);
  EXPECT_EQ(split.training, (std::vector<std::size_t>{0, 1, 2}));
  EXPECT_EQ(split.validation, (std::vector<std::size_t>{3, 4}));
  EXPECT_EQ(dataset.training[4].name, "last");
}

TEST(ValidationTest, AFoldIsHeldOutWhole) {
  std::vector<Case> cases(6);
  for (std::size_t i = 0; i < 6; ++i) cases[i].fold = static_cast<int>(i % 3);
  EXPECT_EQ(split_cases(cases, {.fold = 1}, 0).validation, (std::vector<std::size_t>{1, 4}));
  EXPECT_THROW(split_cases(cases, {.fold = 7}, 0), UsageError);
}

}  // namespace
}  // namespace lamp
