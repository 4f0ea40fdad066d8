#include "lamp/training/batch_plan.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <set>

#include "support/ball_dataset.h"
#include "support/temporary_folder.h"

namespace lamp {
namespace {

std::vector<std::size_t> numbers(std::size_t count) {
  std::vector<std::size_t> all(count);
  for (std::size_t i = 0; i < count; ++i) all[i] = i + 100;
  return all;
}

TEST(BatchPlanTest, AnEpochDrawsEveryCaseBeforeAnyTwice) {
  const BatchPlan plan({.batch = 4, .epochs = 3}, 0, false, 1, numbers(10));
  EXPECT_EQ(plan.steps_per_epoch(), 3);
  for (std::int64_t epoch = 0; epoch < 3; ++epoch) {
    std::vector<std::size_t> drawn;
    for (std::int64_t s = 0; s < 3; ++s)
      for (const auto index : plan.cases_of(epoch * 3 + s)) drawn.push_back(index);
    EXPECT_EQ(drawn.size(), 12U);
    EXPECT_EQ(std::set<std::size_t>(drawn.begin(), drawn.begin() + 10).size(), 10U);
  }
}

TEST(BatchPlanTest, BatchesMixCasesAndTheOrderChangesWithEpochStageAndSeed) {
  const BatchPlan plan({.batch = 10}, 0, false, 1, numbers(10));
  const auto first = plan.cases_of(0);
  EXPECT_EQ(std::set<std::size_t>(first.begin(), first.end()).size(), 10U);
  EXPECT_NE(first, plan.cases_of(1));
  EXPECT_NE(first, BatchPlan({.batch = 10}, 1, false, 1, numbers(10)).cases_of(0));
  EXPECT_NE(first, BatchPlan({.batch = 10}, 0, false, 2, numbers(10)).cases_of(0));
  EXPECT_EQ(first, BatchPlan({.batch = 10}, 0, false, 1, numbers(10)).cases_of(0));
}

TEST(BatchPlanTest, ABatchLargerThanTheDataSetDrawsCasesAgain) {
  const BatchPlan plan({.batch = 16}, 0, false, 1, numbers(3));
  EXPECT_EQ(plan.steps_per_epoch(), 1);
  EXPECT_EQ(plan.cases_of(5).size(), 16U);
}

TEST(BatchPlanTest, AugmentationHasAStreamOfItsOwnAndLeavesTheChoiceOfPatchesAlone) {
  const testing::TemporaryFolder folder;
  CaseStore store(read_dataset(testing::write_ball_dataset(folder.path(), 3)), {},
                  {.limit_bytes = 1 << 26});
  const StageConfig stage = {.patch = std::array<std::int64_t, 3>{9, 10, 11}, .batch = 3};
  const Json mirror = {{"flip", {{"probability", 1}, {"axes", {"x"}}}}};
  const Batch plain = BatchPlan(stage, 0, false, 1, {0, 1, 2}).make(4, store);
  const Batch mirrored = BatchPlan(stage, 0, false, 1, {0, 1, 2},
                                   Augmenter(parse_augment_config(mirror), store.dataset().labels))
                             .make(4, store);
  EXPECT_TRUE(torch::equal(mirrored.image, plain.image.flip({-1})));
  EXPECT_TRUE(torch::equal(mirrored.label, plain.label.flip({-1})));
}

TrainingCase ball_case(std::int64_t size, int classes) {
  TrainingCase sample{.name = "ball"};
  sample.label = torch::zeros({size, size + 3, size + 5}, torch::kUInt8);
  sample.label.narrow(0, 2, 4).narrow(1, 9, 4).narrow(2, 14, 4).fill_(1);
  sample.label[size - 1][1][1] = 2;
  sample.stored = sample.label.unsqueeze(0).to(torch::kFloat32);
  index_foreground(sample, classes);
  return sample;
}

TEST(PatchSamplerTest, PatchesHoldForegroundAndImageAndLabelStayTogether) {
  const TrainingCase sample = ball_case(20, 3);
  EXPECT_EQ(sample.voxel_counts[1], 64);
  EXPECT_EQ(sample.voxel_counts[2], 1);
  for (std::uint64_t i = 0; i < 200; ++i) {
    Random random{7, i};
    const Patch patch = draw_patch(sample, {.size = std::array<std::int64_t, 3>{8, 6, 4}}, random);
    ASSERT_EQ(patch.label.sizes(), (std::vector<std::int64_t>{4, 6, 8}));
    ASSERT_TRUE(patch.label.any().item<bool>());
    ASSERT_TRUE(torch::equal(patch.image[0], patch.label.to(torch::kFloat32)));
  }
}

TEST(PatchSamplerTest, ByClassDrawsTinyStructuresAsOftenAsLargeOnes) {
  const TrainingCase sample = ball_case(20, 3);
  int tiny = 0;
  int tiny_by_class = 0;
  for (std::uint64_t i = 0; i < 300; ++i) {
    Random one{1, i};
    Random two{2, i};
    const std::array<std::int64_t, 3> size = {4, 4, 4};
    tiny += draw_patch(sample, {.size = size}, one).label.eq(2).any().item<bool>();
    tiny_by_class +=
        draw_patch(sample, {.size = size, .by_class = true}, two).label.eq(2).any().item<bool>();
  }
  EXPECT_LT(tiny, 30);
  EXPECT_NEAR(tiny_by_class, 150, 40);
}

TEST(PatchSamplerTest, SmallVolumesArePadded) {
  const TrainingCase sample = ball_case(20, 3);
  Random random{0};
  const Patch patch = draw_patch(sample, {.size = std::array<std::int64_t, 3>{64, 16, 32}}, random);
  EXPECT_EQ(patch.image.sizes(), (std::vector<std::int64_t>{1, 32, 16, 64}));
  EXPECT_EQ(patch.label.slice(0, 20).sum().item<int>(), 0);
}

TEST(PatchSamplerTest, WholeVolumesOfDifferentSizesFormABatch) {
  const Patch small{torch::ones({1, 2, 3, 4}), torch::ones({2, 3, 4}, torch::kUInt8)};
  const Patch large{torch::ones({1, 4, 2, 5}), torch::ones({4, 2, 5}, torch::kUInt8)};
  const Batch batch = collate({small, large}, {{}, {1}});
  EXPECT_EQ(batch.image.sizes(), (std::vector<std::int64_t>{2, 1, 4, 3, 5}));
  EXPECT_EQ(batch.label[0].sum().item<int>(), 24);
  EXPECT_EQ(batch.label[1].sum().item<int>(), 40);
}

}  // namespace
}  // namespace lamp
