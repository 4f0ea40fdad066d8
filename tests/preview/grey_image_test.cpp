#include "lamp/preview/grey_image.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

namespace lamp {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;

GreyImage grey_of(const torch::Tensor& voxels) {
  const Geometry grid{.size = {voxels.size(3), voxels.size(2), voxels.size(1)}};
  return grey_image({grid, voxels});
}

int grey_at(const GreyImage& image, std::int64_t place) {
  return image.voxels.flatten()[place].item<int>();
}

TEST(GreyImageTest, CtIsSeenThroughASoftTissueWindow) {
  torch::Tensor ct = torch::full({1, 10, 10, 10}, -1000.0F);
  ct.flatten().slice(0, 500, 1000) = 40;
  ct.flatten().slice(0, 900, 1000) = 1500;
  const GreyImage grey = grey_of(ct);
  EXPECT_THAT(grey.notes, Contains(HasSubstr("-160 to 240 HU")));
  EXPECT_EQ(grey_at(grey, 0), 0);
  EXPECT_NEAR(grey_at(grey, 500), 128, 1);
  EXPECT_EQ(grey_at(grey, 999), 255);
}

TEST(GreyImageTest, OtherValuesAreSeenBetweenTheirPercentiles) {
  torch::Tensor values = torch::arange(1000, torch::kFloat32).view({1, 10, 10, 10});
  values.flatten()[999] = 1e6;
  const GreyImage grey = grey_of(values);
  EXPECT_THAT(grey.notes, Contains(HasSubstr("1st to 99th percentile")));
  EXPECT_EQ(grey_at(grey, 0), 0);
  EXPECT_NEAR(grey_at(grey, 500), 128, 2);
  EXPECT_EQ(grey_at(grey, 999), 255);
}

TEST(GreyImageTest, AFewBrightVoxelsInNothingAreSeen) {
  torch::Tensor values = torch::zeros({1, 10, 10, 10});
  values[0][1][2][3] = 7;
  EXPECT_EQ(grey_of(values).voxels.max().item<int>(), 255);
  EXPECT_EQ(grey_of(values).voxels.sum().item<int>(), 255);
}

TEST(GreyImageTest, AConstantImageIsGreyAndSaysSo) {
  const GreyImage grey = grey_of(torch::full({1, 3, 3, 3}, 5.0F));
  EXPECT_EQ(grey_at(grey, 0), 128);
  EXPECT_THAT(grey.notes, Contains(HasSubstr("every voxel is 5")));
}

TEST(GreyImageTest, WhatIsNoNumberIsBlackAndCounted) {
  torch::Tensor values = torch::arange(27, torch::kFloat32).view({1, 3, 3, 3}) + 100;
  values.flatten()[26] = std::numeric_limits<float>::quiet_NaN();
  values.flatten()[25] = std::numeric_limits<float>::infinity();
  const GreyImage grey = grey_of(values);
  EXPECT_EQ(grey_at(grey, 26), 0);
  EXPECT_EQ(grey_at(grey, 25), 0);
  EXPECT_EQ(grey_at(grey, 24), 255);
  EXPECT_THAT(grey.notes, Contains(HasSubstr("2 voxels without a number")));
  const GreyImage none = grey_of(values * std::numeric_limits<float>::quiet_NaN());
  EXPECT_EQ(none.voxels.max().item<int>(), 0);
}

TEST(GreyImageTest, HugeValuesDoNotOverflow) {
  torch::Tensor values = torch::arange(27, torch::kFloat32).view({1, 3, 3, 3});
  values.flatten()[0] = std::numeric_limits<float>::lowest();
  values.flatten()[26] = std::numeric_limits<float>::max();
  EXPECT_EQ(grey_at(grey_of(values), 26), 255);
}

TEST(GreyImageTest, TheFirstOfSeveralChannelsIsShown) {
  torch::Tensor values = torch::zeros({4, 3, 3, 3});
  values[0][0][0][0] = 1;
  values[1] = 9;
  const GreyImage grey = grey_of(values);
  EXPECT_EQ(grey.voxels.dim(), 3);
  EXPECT_EQ(grey.voxels.sum().item<int>(), 255);
  EXPECT_THAT(grey.notes, Contains("Channel 1 of 4"));
}

}  // namespace
}  // namespace lamp
