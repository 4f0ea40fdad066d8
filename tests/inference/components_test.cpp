// Pieces are found whatever way they touch, and only the unwanted ones go.
#include "lamp/inference/components.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>
#include <torch/utils.h>

#include "lamp/base/errors.h"

namespace lamp {
namespace {

torch::Tensor empty_map() { return torch::zeros({6, 7, 8}, torch::kUInt8); }

TEST(ComponentsTest, VoxelsThatTouchOnlyAtACornerAreOnePiece) {
  torch::Tensor map = empty_map();
  map[1][1][1] = 1;
  map[2][2][2] = 1;
  map[3][1][3] = 1;
  map[5][6][7] = 1;
  const Components found = connected_components(map);
  EXPECT_EQ(found.voxels, (std::vector<std::int64_t>{3, 1}));
}

TEST(ComponentsTest, TouchingLabelsStayApart) {
  torch::Tensor map = empty_map();
  map[1][1].slice(0, 0, 3).fill_(1);
  map[1][1].slice(0, 3, 8).fill_(2);
  const Components found = connected_components(map);
  EXPECT_EQ(found.voxels, (std::vector<std::int64_t>{3, 5}));
  EXPECT_EQ(found.labels, (std::vector<int>{1, 2}));
}

TEST(ComponentsTest,
     ArmsThatMeetLateAreOnePiece) {  // a U, an upside-down U: what union-find is for
  torch::Tensor map = empty_map();
  for (int y = 0; y < 6; ++y) {
    map[0][y][1] = 1;
    map[0][y][4] = 1;
    map[0][y][7] = 1;
  }
  map[0][6].slice(0, 1, 8).fill_(1);
  EXPECT_EQ(connected_components(map).voxels.size(), 1U);
}

TEST(ComponentsTest, RandomMapsKeepTheirVoxels) {
  torch::manual_seed(3);
  const torch::Tensor map = torch::randint(0, 4, {9, 11, 10}, torch::kInt16);
  const Components found = connected_components(map);
  std::int64_t sum = 0;
  for (const std::int64_t voxels : found.voxels) sum += voxels;
  EXPECT_EQ(sum, (map > 0).sum().item<std::int64_t>());
  // Neighbours of one label never have two numbers.
  const torch::Tensor same =
      (map.slice(2, 1) == map.slice(2, 0, 9)).logical_and(map.slice(2, 1) > 0);
  const torch::Tensor joined = found.ids.slice(2, 1) == found.ids.slice(2, 0, 9);
  EXPECT_TRUE(joined.masked_select(same).all().item<bool>());
}

TEST(CleanupTest, KeepsTheLargestPieceOfTheLabelsAskedFor) {
  torch::Tensor map = empty_map();
  map[0][0].slice(0, 0, 4).fill_(1);
  map[0][5].slice(0, 0, 2).fill_(1);
  map[4][0].slice(0, 0, 4).fill_(2);
  map[4][5].slice(0, 0, 2).fill_(2);
  clean_labels(map, {.keep_largest = {"liver"}}, {1}, 1.0);
  EXPECT_EQ((map == 1).sum().item<int>(), 4);
  EXPECT_EQ((map == 2).sum().item<int>(), 6);
}

TEST(CleanupTest, RemovesPiecesBelowAVolume) {
  torch::Tensor map = empty_map();
  map[0][0].slice(0, 0, 4).fill_(1);
  map[0][5].slice(0, 0, 2).fill_(1);
  clean_labels(map, {.min_volume_mm3 = 7}, {}, 2.0);  // pieces of 8 and 4 mm^3
  EXPECT_EQ((map == 1).sum().item<int>(), 4);
  clean_labels(map, {.min_volume_mm3 = 9}, {}, 2.0);
  EXPECT_EQ(map.sum().item<int>(), 0);
}

TEST(CleanupTest, LabelsAreNamedByIdOrNameAndUnknownOnesRefused) {
  const std::map<int, std::string> labels = {{0, "background"}, {1, "liver"}, {2, "tumour"}};
  EXPECT_EQ(labels_to_clean({.keep_largest = {"tumour", "1", "tumour"}}, labels),
            (std::set<int>{1, 2}));
  EXPECT_EQ(labels_to_clean({.keep_largest = {"all"}}, labels), (std::set<int>{1, 2}));
  const auto refusal = [&](const std::string& name) -> std::string {
    try {
      labels_to_clean({.keep_largest = {name}}, labels);
    } catch (const UsageError& error) {
      return error.what();
    }
    return "accepted";
  };
  EXPECT_THAT(refusal("livr"), ::testing::EndsWith("no label \"livr\"; the nearest is \"liver\""));
  EXPECT_THAT(refusal("spleen"), ::testing::EndsWith("no label \"spleen\"; known: liver, tumour"));
}

}  // namespace
}  // namespace lamp
