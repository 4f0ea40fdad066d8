// The distance transform against the definition itself.
#include "lamp/objective/distance_map.h"

#include <gtest/gtest.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <cmath>
#include <limits>

namespace lamp {
namespace {

// Every voxel against every feature.
torch::Tensor by_definition(const torch::Tensor& features, const std::array<double, 3>& spacing) {
  const torch::Tensor scale = torch::tensor({spacing[0], spacing[1], spacing[2]}, torch::kFloat64);
  const torch::Tensor all = torch::ones_like(features).nonzero() * scale;
  const torch::Tensor marked = features.nonzero() * scale;
  return std::get<0>(torch::cdist(all, marked, 2, /*compute_mode=*/2).min(1))
      .view(features.sizes());
}

TEST(DistanceMapTest, EqualsTheDefinitionOnAnisotropicGrids) {
  torch::manual_seed(1);
  for (const double share : {0.002, 0.05, 0.6}) {
    const torch::Tensor features = torch::rand({9, 14, 35}).lt(share).to(torch::kUInt8);
    features[4][7][20] = 1;
    const std::array<double, 3> spacing = {2.5, 0.7, 1.1};
    EXPECT_TRUE(torch::allclose(distance_map(features, spacing), by_definition(features, spacing),
                                1e-12, 1e-12));
  }
}

TEST(DistanceMapTest, IsInfiniteWithoutFeatures) {
  const torch::Tensor map = distance_map(torch::zeros({2, 3, 4}, torch::kUInt8), {1, 1, 1});
  EXPECT_TRUE(map.isinf().all().item<bool>());
}

TEST(DistanceMapTest, FollowsTheAxesOfANonContiguousMask) {
  const torch::Tensor features = torch::zeros({3, 4, 5}, torch::kBool);
  features[0][1][2] = true;
  const torch::Tensor turned = distance_map(features.permute({2, 0, 1}), {3, 1, 2});
  EXPECT_TRUE(torch::allclose(turned, distance_map(features, {1, 2, 3}).permute({2, 0, 1})));
}

TEST(DistanceMapTest, SignedDistanceCrossesZeroAtTheBoundary) {
  torch::Tensor mask = torch::zeros({1, 1, 8}, torch::kUInt8);
  mask.slice(2, 3, 8) = 1;
  const torch::Tensor expected =
      torch::tensor({2.5, 1.5, 0.5, -0.5, -1.5, -2.5, -3.5, -4.5}, torch::kFloat32);
  EXPECT_TRUE(torch::equal(signed_distance_voxels(mask).flatten(), expected));
  EXPECT_TRUE(torch::equal(signed_distance_voxels(torch::ones({2, 2, 2}, torch::kUInt8)),
                           torch::zeros({2, 2, 2})));
}

TEST(DistanceMapTest, WhatIsNotKnownIsNeitherInsideNorOutside) {
  const torch::Tensor mask = torch::tensor({1, 1, 0, 0, 0, 1}, torch::kUInt8).view({1, 1, 6});
  const torch::Tensor known = torch::tensor({1, 1, 0, 0, 1, 0}, torch::kBool).view({1, 1, 6});
  // The boundary of the two known voxels inside lies between them and the fifth.
  EXPECT_TRUE(torch::equal(signed_distance_voxels(mask, known).flatten(),
                           torch::tensor({-3.5F, -2.5F, 0.0F, 0.0F, 2.5F, 0.0F})));
  EXPECT_TRUE(
      torch::equal(signed_distance_voxels(mask, mask.to(torch::kBool)), torch::zeros({1, 1, 6})))
      << "all that is known is inside";
}

TEST(DistanceMapTest, RefusesASpacingOfZero) {
  EXPECT_THROW(distance_map(torch::ones({2, 2, 2}, torch::kUInt8), {1, 0, 1}), c10::Error);
}

}  // namespace
}  // namespace lamp
