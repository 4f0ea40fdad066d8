// The one rule of filling, voxel by voxel from its definition.
#include "lamp/base/beyond_scan.h"

#include <gtest/gtest.h>
#include <torch/types.h>

#include <algorithm>
#include <vector>

#include "lamp/base/size3.h"

namespace lamp {
namespace {

const std::vector<std::pair<Shape3, Shape3>> kSizes = {
    {{3, 4, 5}, {3, 4, 5}}, {{3, 4, 5}, {7, 4, 5}}, {{3, 4, 5}, {3, 9, 6}}, {{1, 1, 1}, {4, 3, 2}},
    {{2, 5, 1}, {2, 5, 8}}, {{6, 2, 4}, {2, 8, 4}}, {{4, 4, 4}, {1, 1, 1}}};

TEST(ExtendScanTest, BeyondTheEndComesTheLastVoxelOfEachAxis) {
  for (const auto& [from, to] : kSizes) {
    const torch::Tensor image = torch::rand({2, from[0], from[1], from[2]});
    const torch::Tensor grown = extend_scan(image, to);
    const Shape3 size = {std::max(from[0], to[0]), std::max(from[1], to[1]),
                         std::max(from[2], to[2])};
    ASSERT_EQ(grown.sizes(), (std::vector<std::int64_t>{2, size[0], size[1], size[2]}));
    for (std::int64_t c = 0; c < 2; ++c)
      for (std::int64_t z = 0; z < size[0]; ++z)
        for (std::int64_t y = 0; y < size[1]; ++y)
          for (std::int64_t x = 0; x < size[2]; ++x)
            ASSERT_EQ(grown[c][z][y][x].item<float>(),
                      image[c][std::min(z, from[0] - 1)][std::min(y, from[1] - 1)]
                           [std::min(x, from[2] - 1)]
                               .item<float>());
  }
}

TEST(ExtendScanTest, BatchesTypesAndViewsAreFilledAlike) {
  const torch::Tensor image = torch::rand({2, 3, 4, 5, 6});
  const Shape3 size = {5, 7, 9};
  const torch::Tensor expected =
      torch::stack({extend_scan(image[0], size), extend_scan(image[1], size)});
  EXPECT_TRUE(torch::equal(extend_scan(image, size), expected));
  const auto turned = image.contiguous(torch::MemoryFormat::ChannelsLast3d);
  EXPECT_TRUE(torch::equal(extend_scan(turned, size), expected));
  const auto half = image.to(torch::kBFloat16);
  EXPECT_TRUE(torch::equal(extend_scan(half, size), expected.to(torch::kBFloat16)));
  EXPECT_TRUE(torch::equal(extend_scan(image.flip({2, 4})[1], size),
                           extend_scan(image.flip({2, 4}).contiguous()[1], size)));
}

TEST(ExtendScanTest, InTwoStepsOrOneItIsTheSame) {
  const torch::Tensor image = torch::rand({1, 3, 4, 5});
  EXPECT_TRUE(torch::equal(extend_scan(extend_scan(image, {4, 4, 7}), {8, 8, 8}),
                           extend_scan(image, {8, 8, 8})));
}

TEST(ExtendScanTest, LabelsBeyondTheEndAreNotKnown) {
  for (const auto type : {torch::kUInt8, torch::kInt16}) {
    for (const auto& [from, to] : kSizes) {
      const torch::Tensor labels = torch::randint(0, 100, {from[0], from[1], from[2]}).to(type);
      const torch::Tensor grown = extend_labels(labels, to);
      const bool larger = to[0] > from[0] || to[1] > from[1] || to[2] > from[2];
      EXPECT_EQ(grown.scalar_type(), larger ? torch::kInt16 : type);
      const torch::Tensor inside =
          grown.slice(0, 0, from[0]).slice(1, 0, from[1]).slice(2, 0, from[2]);
      EXPECT_TRUE(torch::equal(inside.to(type), labels));
      EXPECT_EQ(grown.to(torch::kInt16).eq(-1).sum().item<std::int64_t>(),
                grown.numel() - labels.numel());
    }
  }
}

TEST(ExtendScanTest, Label255OfABytesMapIsALabelAndStaysOne) {
  const torch::Tensor labels = torch::full({2, 2, 2}, 255).to(torch::kUInt8);
  EXPECT_FALSE(seen_by_scan(labels));
  const torch::Tensor grown = extend_labels(labels, {2, 2, 3});
  EXPECT_EQ(grown.max().item<int>(), 255);
  const auto seen = seen_by_scan(grown);
  ASSERT_TRUE(seen);
  EXPECT_EQ(seen->sum().item<int>(), 8);
  EXPECT_FALSE(seen_by_scan(labels.to(torch::kInt16))) << "all of them were seen";
}

TEST(ExtendScanTest, MarkingLeavesTheGivenLabelsAlone) {
  const torch::Tensor labels = torch::tensor({3, 255, 0}, torch::kUInt8).view({1, 1, 3});
  const torch::Tensor beyond = torch::tensor({false, false, true}).view({1, 1, 3});
  const torch::Tensor marked = mark_no_scan(labels, beyond);
  EXPECT_TRUE(torch::equal(marked.flatten(), torch::tensor({3, 255, -1}, torch::kInt16)));
  EXPECT_EQ(labels[0][0][2].item<int>(), 0);
  EXPECT_TRUE(mark_no_scan(labels, torch::zeros_like(beyond)).is_same(labels));
}

}  // namespace
}  // namespace lamp
