// Counts against straightforward tensor arithmetic.
#include "lamp/objective/overlap.h"

#include <gtest/gtest.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <cmath>

#include "lamp/base/size3.h"

namespace lamp {
namespace {

TEST(OverlapTest, CountsEqualTensorArithmetic) {
  torch::manual_seed(2);
  const torch::Tensor p = torch::randint(0, 4, {11, 9, 13}).to(torch::kUInt8);
  const torch::Tensor r = torch::where(torch::rand(p.sizes()).lt(0.3), 5, p.to(torch::kInt16));
  const auto counts = count_overlap(p, r);
  ASSERT_EQ(counts.size(), 5U);
  for (const auto& [label, overlap] : counts) {
    const torch::Tensor a = p.eq(label), b = r.eq(label);
    EXPECT_EQ(overlap.true_positive, (a & b).sum().item<std::int64_t>());
    EXPECT_EQ(overlap.false_positive(), (a & ~b).sum().item<std::int64_t>());
    EXPECT_EQ(overlap.false_negative(), (~a & b).sum().item<std::int64_t>());
    EXPECT_EQ(overlap.true_negative(), (~a & ~b).sum().item<std::int64_t>());
  }
}

TEST(OverlapTest, BoxHoldsTheLabelOfBothMaps) {
  torch::Tensor p = torch::zeros({10, 10, 10}, torch::kUInt8), r = p.clone();
  p.slice(0, 2, 4).slice(1, 3, 4).slice(2, 5, 9) = 7;
  r[8][1][6] = 7;
  const VoxelBox box = count_overlap(p, r).at(7).box;
  EXPECT_EQ(box.first, (std::array<std::int64_t, 3>{2, 1, 5}));
  EXPECT_EQ(box.last, (std::array<std::int64_t, 3>{9, 4, 9}));
}

TEST(OverlapTest, DiceIsSymmetricAndOneForEqualMaps) {
  torch::manual_seed(3);
  const torch::Tensor p = torch::randint(-2, 3, {6, 6, 6}), r = torch::randint(-2, 3, {6, 6, 6});
  const auto there = count_overlap(p, r), back = count_overlap(r, p);
  for (const auto& [label, overlap] : there) {
    EXPECT_DOUBLE_EQ(overlap.dice(), back.at(label).dice());
    EXPECT_LT(overlap.dice(), 1);
  }
  EXPECT_DOUBLE_EQ(count_overlap(p, p).at(1).dice(), 1);
  EXPECT_DOUBLE_EQ(count_overlap(p, p).at(1).iou(), 1);
}

TEST(OverlapTest, IsUndefinedWithoutTheLabelAndZeroWithoutCommonVoxels) {
  EXPECT_TRUE(std::isnan(LabelOverlap{}.dice()));
  EXPECT_TRUE(std::isnan(LabelOverlap{}.iou()));
  EXPECT_EQ((LabelOverlap{.n_ref = 3}).dice(), 0);
}

TEST(OverlapTest, RefusesMapsOfOtherShapesAndFloats) {
  const torch::Tensor map = torch::zeros({2, 3, 4}, torch::kUInt8);
  EXPECT_THROW(count_overlap(map, map.slice(2, 0, 3)), c10::Error);
  EXPECT_THROW(count_overlap(map, map.to(torch::kFloat32)), c10::Error);
}

}  // namespace
}  // namespace lamp
