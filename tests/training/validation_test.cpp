#include "lamp/training/validation.h"

#include <gtest/gtest.h>
#include <torch/types.h>

#include <cmath>

#include "lamp/training/run_log.h"

namespace lamp {
namespace {

std::vector<double> dice_of_case(const torch::Tensor& predicted, const torch::Tensor& reference,
                                 int classes, const std::vector<int>& annotated) {
  ValidationCounter counter(classes);
  counter.add(predicted, reference, annotated);
  return counter.result().dice;
}

TEST(ValidationTest, DiceIsThatOfTheHardLabels) {
  const torch::Tensor reference =
      torch::tensor({0, 1, 1, 2, 2, 2, 0, 0}, torch::kUInt8).reshape({2, 2, 2});
  const torch::Tensor predicted =
      torch::tensor({0, 1, 0, 2, 2, 1, 0, 0}, torch::kInt64).reshape({2, 2, 2});
  const auto dice = dice_of_case(predicted, reference, 4, {});
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
    const auto dice = dice_of_case(predicted, reference, 4, {});
    EXPECT_DOUBLE_EQ(dice[0], 2.0 * 1 / (1 + 2));
    EXPECT_DOUBLE_EQ(dice[1], 1);
    EXPECT_TRUE(std::isnan(dice[2])) << "found only where no scan was";
  }
}

TEST(ValidationTest, UnannotatedLabelsDoNotCount) {
  const torch::Tensor map = torch::tensor({1, 2}, torch::kUInt8).reshape({1, 1, 2});
  const auto dice = dice_of_case(map, map, 3, {2});
  EXPECT_TRUE(std::isnan(dice[0]));
  EXPECT_DOUBLE_EQ(dice[1], 1);
  EXPECT_DOUBLE_EQ(mean_dice(dice), 1);
}

torch::Tensor map_of(const std::vector<int>& voxels, torch::ScalarType type = torch::kInt16) {
  return torch::tensor(voxels, torch::kInt32).to(type).reshape({1, 1, -1});
}

TEST(ValidationTest, NothingThereAndNothingFoundIsPerfect) {
  ValidationCounter counter(3);
  counter.add(map_of({0, 0, 0, 0}), map_of({0, 0, 0, 0}), {});
  const Validation found = counter.result();
  EXPECT_TRUE(std::isnan(found.dice[0]) && std::isnan(found.dice[1])) << "as lamp evaluate says";
  EXPECT_EQ(found.dice_mean(), 1);
  EXPECT_EQ(found.false_positives, 0);
}

TEST(ValidationTest, LabelsFoundWhereThereAreNoneAreCounted) {
  ValidationCounter counter(3);
  counter.add(map_of({0, 1, 1, 2}), map_of({0, 0, 0, 2}), {});   // 2 voxels of label 1 too many
  counter.add(map_of({1, 1, 1, 0}), map_of({1, 0, 0, 0}), {});   // a case that has label 1
  counter.add(map_of({2, 2, 2, 2}), map_of({0, 0, 0, 0}), {1});  // label 2 was not looked for
  const Validation found = counter.result();
  EXPECT_DOUBLE_EQ(found.dice[0], (0 + 2.0 * 1 / (3 + 1)) / 2);
  EXPECT_DOUBLE_EQ(found.dice[1], 1);
  EXPECT_DOUBLE_EQ(found.dice_mean(), (0.25 + 1) / 2);
  EXPECT_EQ(found.false_positives, 2);
}

TEST(ValidationTest, WithoutAnyAnnotationThereIsNoScore) {
  ValidationCounter counter(3);
  counter.add(map_of({0, 1, 2, 2}), map_of({0, 0, 0, 0}), {7});
  EXPECT_TRUE(std::isnan(counter.result().dice_mean()));
  EXPECT_TRUE(std::isnan(ValidationCounter(3).result().dice_mean()));
}

TEST(ValidationTest, VoxelsThatNoScanShowedCountForNothing) {
  ValidationCounter counter(2);
  counter.add(map_of({1, 1, 1, 1, 0}, torch::kInt64), map_of({1, 1, -1, -1, 1}), {});
  EXPECT_DOUBLE_EQ(counter.result().dice_mean(), 2.0 * 2 / (2 + 3));
  counter.add(map_of({1, 1}, torch::kInt64), map_of({-1, -1}), {});
  EXPECT_EQ(counter.result().false_positives, 0);
}

}  // namespace
}  // namespace lamp
