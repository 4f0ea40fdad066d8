#include "lamp/training/batch_plan.h"

#include <gtest/gtest.h>
#include <torch/types.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <set>

#include "lamp/base/size3.h"
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
  const StageConfig stage = {.patch = Size3{9, 10, 11}, .batch = 3};
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
    const Patch patch = draw_patch(sample, {.size = Size3{8, 6, 4}}, random);
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
    const Size3 size = {4, 4, 4};
    tiny += draw_patch(sample, {.size = size}, one).label.eq(2).any().item<bool>();
    tiny_by_class +=
        draw_patch(sample, {.size = size, .by_class = true}, two).label.eq(2).any().item<bool>();
  }
  EXPECT_LT(tiny, 30);
  EXPECT_NEAR(tiny_by_class, 150, 40);
}

TEST(PatchSamplerTest, SmallVolumesAreExtendedWithoutALabel) {
  const TrainingCase sample = ball_case(20, 3);  // 20 x 23 x 25
  for (std::uint64_t seed = 0; seed < 5; ++seed) {
    Random one{seed}, two{seed};
    const PatchOptions options{.size = Size3{64, 16, 32}};
    const Patch patch = draw_patch(sample, options, one);
    const Patch cut = cut_patch(sample, options, two);
    EXPECT_EQ(cut.label.sizes(), (std::vector<std::int64_t>{20, 16, 25}));
    EXPECT_EQ(patch.image.sizes(), (std::vector<std::int64_t>{1, 32, 16, 64}));
    EXPECT_TRUE(
        torch::equal(patch.label.slice(0, 0, 20).slice(2, 0, 25).to(torch::kUInt8), cut.label));
    EXPECT_EQ(patch.label.eq(-1).sum().item<int>(), 32 * 16 * 64 - 20 * 16 * 25);
    for (const std::int64_t z : {0, 19, 20, 31})
      for (const std::int64_t x : {0, 24, 25, 63})
        EXPECT_TRUE(torch::equal(
            patch.image[0][z].select(1, x),
            cut.image[0][std::min<std::int64_t>(z, 19)].select(1, std::min<std::int64_t>(x, 24))));
  }
}

TEST(PatchSamplerTest, WholeVolumesOfDifferentSizesFormABatch) {
  const Patch small{torch::ones({1, 2, 3, 4}), torch::ones({2, 3, 4}, torch::kUInt8)};
  const Patch large{torch::ones({1, 4, 2, 5}), torch::ones({4, 2, 5}, torch::kUInt8)};
  const Batch batch = collate({small, large}, {{}, {1}});
  EXPECT_EQ(batch.image.sizes(), (std::vector<std::int64_t>{2, 1, 4, 3, 5}));
  const std::int64_t seen[] = {24, 40};
  for (std::int64_t n = 0; n < 2; ++n) {
    EXPECT_EQ(batch.label[n].eq(1).sum().item<std::int64_t>(), seen[n]);
    EXPECT_EQ(batch.label[n].eq(-1).sum().item<std::int64_t>(), 60 - seen[n]);
  }
}

TEST(PatchSamplerTest, ABatchOfEqualVolumesKeepsItsBytes) {
  const Patch patch{torch::ones({1, 2, 3, 4}), torch::full({2, 3, 4}, 255).to(torch::kUInt8)};
  const Batch batch = collate({patch, patch}, {{}, {}});
  EXPECT_EQ(batch.label.scalar_type(), torch::kUInt8);
  const Patch moved{patch.image, patch.label.to(torch::kInt16).index_put_({0, 0, 0}, -1)};
  const Batch mixed = collate({patch, moved}, {{}, {}});
  EXPECT_EQ(mixed.label.scalar_type(), torch::kInt16);
  EXPECT_EQ(mixed.label[0].min().item<int>(), 255);
  EXPECT_EQ(mixed.label[1].min().item<int>(), -1);
}

TEST(PatchSamplerTest, WhatNoScanShowedIsNeitherCountedNorDrawn) {
  TrainingCase sample = ball_case(20, 3);
  sample.label = sample.label.to(torch::kInt16);
  sample.label.slice(0, 4, 20).fill_(-1);  // half of the ball, and all of label 2
  index_foreground(sample, 3);
  EXPECT_EQ(sample.voxel_counts, (std::vector<std::int64_t>{4 * 23 * 25 - 32, 32, 0}));
  EXPECT_EQ(sample.foreground[0].numel() + sample.foreground[2].numel(), 0);
  sample.label.masked_fill_(sample.label.gt(0), 0);
  sample.label.slice(0, 0, 3).fill_(-1);  // one plane of background is left
  index_foreground(sample, 3);
  for (std::uint64_t i = 0; i < 50; ++i) {
    Random random{3, i};
    const Patch patch = cut_patch(sample, {.size = Size3{2, 2, 2}}, random);
    EXPECT_TRUE(patch.label.ne(-1).any().item<bool>()) << "a patch that shows nothing";
  }
  sample.label.fill_(-2);
  EXPECT_THROW(index_foreground(sample, 3), c10::Error);
}

// Patches longer than the volumes are as long as the longest of the batch. The filling comes last:
// the network sees the same beyond the end of a mirrored volume as if it had been scanned so.
TEST(BatchPlanTest, PatchesAreFilledUpToTheLargestAfterTheyWereAugmented) {
  const testing::TemporaryFolder folder;  // volumes of 20 ... 22 x 20 x 21 voxels
  CaseStore store(read_dataset(testing::write_ball_dataset(folder.path(), 3)), {},
                  {.limit_bytes = 1 << 26});
  const StageConfig stage = {.patch = Size3{32, 12, 40}, .batch = 3};
  const Json parts = {{"flip", {{"probability", 1}, {"axes", {"x", "z"}}}}};
  const Batch plain = BatchPlan(stage, 0, false, 1, {0, 1, 2}).make(0, store);
  EXPECT_EQ(plain.image.sizes(), (std::vector<std::int64_t>{3, 1, 22, 12, 21}));
  const Batch batch = BatchPlan(stage, 0, false, 1, {0, 1, 2},
                                Augmenter(parse_augment_config(parts), store.dataset().labels))
                          .make(0, store);
  ASSERT_EQ(batch.image.sizes(), plain.image.sizes());
  const auto cases = BatchPlan(stage, 0, false, 1, {0, 1, 2}).cases_of(0);
  for (std::size_t i = 0; i < 3; ++i) {
    const std::int64_t depth = store.get(cases[i])->label.size(0);
    const auto n = static_cast<std::int64_t>(i);
    const torch::Tensor image = plain.image[n].narrow(1, 0, depth).flip({1, 3});
    const torch::Tensor label = plain.label[n].narrow(0, 0, depth).flip({0, 2});
    EXPECT_TRUE(torch::equal(batch.image[n], extend_scan(image, {22, 12, 21})));
    EXPECT_TRUE(torch::equal(batch.label[n].to(torch::kInt16),
                             extend_labels(label.to(torch::kInt16), {22, 12, 21})));
    EXPECT_EQ(batch.label[n].eq(-1).sum().item<std::int64_t>(), (22 - depth) * 12 * 21);
  }
}

TEST(BatchPlanTest, APatchLongerThanTheVolumesGivesTheVolumes) {
  const testing::TemporaryFolder folder;
  CaseStore store(read_dataset(testing::write_ball_dataset(folder.path(), 1)), {},
                  {.limit_bytes = 1 << 26});
  const Batch whole = BatchPlan({.batch = 1}, 0, false, 1, {0}).make(0, store);
  for (const auto& patch : {Size3{21, 20, 20}, {22, 20, 20}, {90, 80, 70}}) {
    const Batch batch = BatchPlan({.patch = patch, .batch = 1}, 0, false, 1, {0}).make(0, store);
    EXPECT_TRUE(torch::equal(batch.image, whole.image));
    EXPECT_TRUE(torch::equal(batch.label, whole.label));
  }
}

// A data set of one case whose slices are shifted against each other, all of it label 1.
std::filesystem::path write_sheared_dataset(const std::filesystem::path& folder) {
  std::filesystem::create_directories(folder);
  Geometry grid{.size = {12, 10, 16}, .spacing_mm = {1, 1, 2}};
  grid.direction = {1, 0, std::sin(0.3), 0, 1, 0, 0, 0, std::cos(0.3)};
  write_volume(folder / "image.nii.gz", {grid, torch::full({1, 16, 10, 12}, 50, torch::kInt16)});
  write_volume(folder / "label.nii.gz", {grid, torch::ones({1, 16, 10, 12}, torch::kUInt8)});
  const Json dataset = {{"name", "sheared"},
                        {"labels", {{"0", "background"}, {"1", "all"}}},
                        {"training", {{{"image", "image.nii.gz"}, {"label", "label.nii.gz"}}}}};
  std::ofstream(folder / "dataset.json") << dataset.dump();
  return folder;
}

TEST(BatchPlanTest, TheCornersAroundAShearedScanAreNoBackground) {
  const testing::TemporaryFolder folder;
  const auto dataset = read_dataset(write_sheared_dataset(folder / "data"));
  for (const bool cached : {false, true}) {
    CaseStoreOptions options{.limit_bytes = 1 << 26};
    if (cached) options.cache = CaseCacheOptions{.folder = folder / "cache"};
    for (int round = 0; round < 2; ++round) {  // from the files, then from the cache
      CaseStore store(dataset, {.resample_sheared = true}, options);
      const auto sample = store.get(0);
      const std::int64_t unseen = sample->label.eq(-1).sum().item<std::int64_t>();
      EXPECT_GT(unseen, 0);
      EXPECT_EQ(sample->voxel_counts,
                (std::vector<std::int64_t>{0, sample->label.numel() - unseen}));
      const Batch batch = BatchPlan({.batch = 1}, 0, false, 1, {0}).make(0, store);
      EXPECT_TRUE(torch::equal(batch.label[0], sample->label));
    }
  }
}

}  // namespace
}  // namespace lamp
