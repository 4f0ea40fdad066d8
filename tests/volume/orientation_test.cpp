// Reorienting: voxel-exact, and every point in space keeps its voxel.
#include "lamp/volume/orientation.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "lamp/base/size3.h"
#include "volume/volume_samples.h"

namespace lamp {
namespace {

std::vector<AxisMap> all_orientations() {
  std::vector<AxisMap> maps;
  std::array<int, 3> order = {0, 1, 2};
  do {
    for (int signs = 0; signs < 8; ++signs)
      maps.push_back({order, {(signs & 1) != 0, (signs & 2) != 0, (signs & 4) != 0}});
  } while (std::next_permutation(order.begin(), order.end()));
  return maps;
}

float at(const torch::Tensor& voxels, const std::array<std::int64_t, 3>& i) {
  return voxels.index({0, i[2], i[1], i[0]}).item<float>();
}

TEST(OrientationTest, ThereAndBackIsTheIdentityForAll48) {
  Random random{1};
  const Geometry grid = testing::oblique_grid(random, {5, 4, 3});
  const torch::Tensor voxels = testing::random_voxels(random, grid, torch::kFloat32, 2);
  ASSERT_EQ(all_orientations().size(), 48U);
  for (const AxisMap& map : all_orientations()) {
    const Geometry back = reorient(reorient(grid, map), inverse(map));
    testing::expect_same_grid(grid, back, 1e-13);
    EXPECT_LT(corner_distance_voxels(grid, back), 1e-12);
    EXPECT_TRUE(torch::equal(voxels, reorient(reorient(voxels, map), inverse(map))));
  }
}

TEST(OrientationTest, APointInSpaceKeepsItsVoxel) {
  Random random{2};
  const Geometry grid = testing::oblique_grid(random, {5, 4, 3});
  const torch::Tensor voxels = testing::random_voxels(random, grid, torch::kFloat32);
  for (const AxisMap& map : all_orientations()) {
    const Geometry turned = reorient(grid, map);
    const torch::Tensor moved = reorient(voxels, map);
    ASSERT_EQ(moved.sizes(),
              (std::vector<std::int64_t>{1, turned.size[2], turned.size[1], turned.size[0]}));
    for (int round = 0; round < 10; ++round) {
      std::array<std::int64_t, 3> to{}, from{};
      for (int a = 0; a < 3; ++a) to[a] = random.below(turned.size[a]);
      for (int a = 0; a < 3; ++a)
        from[map.source_axis[a]] = map.flip[a] ? turned.size[a] - 1 - to[a] : to[a];
      EXPECT_EQ(at(moved, to), at(voxels, from));
      const auto p = turned.point({double(to[0]), double(to[1]), double(to[2])});
      const auto q = grid.point({double(from[0]), double(from[1]), double(from[2])});
      for (int a = 0; a < 3; ++a) EXPECT_NEAR(p[a], q[a], 1e-10);
    }
  }
}

TEST(OrientationTest, CanonicalAxesUndoEveryStorageOrder) {
  Random random{3};
  Geometry grid = testing::oblique_grid(random, {5, 4, 3});
  const double angle = 0.3;  // oblique, but nearest to LPS
  grid.direction = {
      std::cos(angle), -std::sin(angle), 0, std::sin(angle), std::cos(angle), 0, 0, 0, 1};
  const torch::Tensor voxels = testing::random_voxels(random, grid, torch::kInt16);
  for (const AxisMap& map : all_orientations()) {
    const Geometry stored = reorient(grid, map);
    const AxisMap canonical = canonical_axes(stored);
    EXPECT_LT(corner_distance_voxels(grid, reorient(stored, canonical)), 1e-12);
    EXPECT_TRUE(torch::equal(voxels, reorient(reorient(voxels, map), canonical)));
  }
}

TEST(OrientationTest, ATieAlwaysGoesTheSameWay) {
  Geometry grid{.size = {2, 3, 4}};
  const double h = std::sqrt(0.5);  // 45 degrees about z, but for rounding
  for (const double noise : {-1e-12, 0.0, 1e-12}) {
    grid.direction = {h + noise, -h, 0, h, h, 0, 0, 0, 1};
    EXPECT_EQ(canonical_axes(grid).source_axis, (std::array<int, 3>{0, 1, 2}));
    EXPECT_EQ(canonical_axes(grid).flip, (std::array<bool, 3>{false, false, false}));
  }
}

}  // namespace
}  // namespace lamp
