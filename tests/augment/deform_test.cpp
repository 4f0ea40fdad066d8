// Deformation of a patch: where voxels whose place is known go, and what is known of the rest.
#include "lamp/augment/deform.h"

#include <gtest/gtest.h>
#include <torch/types.h>

#include <array>
#include <cmath>
#include <numbers>

#include "cases/patch_samples.h"
#include "lamp/base/size3.h"

namespace lamp {
namespace {

using testing::dot_patch;
using testing::numbered_patch;

TEST(DeformTest, NothingToDoGivesThePatch) {
  const Patch patch = numbered_patch();
  const Patch same_place = deform(patch, {});
  EXPECT_TRUE(torch::allclose(same_place.image, patch.image, 1e-5, 1e-5));
  EXPECT_TRUE(torch::equal(same_place.label, patch.label));
}

TEST(DeformTest, AQuarterTurnMovesAKnownVoxel) {
  // The result at p shows source R p: with R turning x to y, the source's (x, y) = (0, 5) is shown
  // at (5, 0).
  const Patch turned = deform(dot_patch(8 + 2, 8 + 5, 8), {.linear = {0, -1, 0, 1, 0, 0, 0, 0, 1}});
  EXPECT_EQ(turned.label.index({8 + 2, 8, 8 + 5}).item<int>(), 3);
  EXPECT_NEAR(turned.image.index({0, 8 + 2, 8, 8 + 5}).item<float>(), 1, 1e-4);
  EXPECT_EQ(turned.label.sum().item<int>(), 3);
}

TEST(DeformTest, ShiftsCountInVoxelsAndFillFromTheBorderWithoutALabel) {
  Patch patch{torch::arange(5, torch::kFloat32).view({1, 1, 1, 5}),
              torch::ones({1, 1, 5}, torch::kUInt8)};
  const Patch shifted = deform(patch, {.shift = {2, 0, 0}});
  EXPECT_TRUE(
      torch::allclose(shifted.image.flatten(), torch::tensor({2.0F, 3.0F, 4.0F, 4.0F, 4.0F})));
  EXPECT_TRUE(
      torch::equal(shifted.label.flatten().to(torch::kLong), torch::tensor({1, 1, 1, -1, -1})));
}

TEST(DeformTest, InterpolatesBetweenVoxels) {
  Patch patch{torch::arange(5, torch::kFloat32).view({1, 5, 1, 1}),
              torch::ones({5, 1, 1}, torch::kUInt8)};
  const Patch shifted = deform(patch, {.shift = {0, 0, 0.25}});
  EXPECT_TRUE(torch::allclose(shifted.image.flatten(),
                              torch::tensor({0.25F, 1.25F, 2.25F, 3.25F, 4.0F}), 1e-4, 1e-4));
}

TEST(DeformTest, OnlyVoxelsFromWithinThePatchHaveALabel) {
  for (std::uint64_t seed = 0; seed < 8; ++seed) {
    Random random{seed};
    Patch patch = numbered_patch(6, 7, 9);
    if (seed % 2 == 1) patch.label = patch.label.to(torch::kInt16).index_put_({2, 3, 4}, -1);
    const Deformation deformation = draw_affine({.translation = 0.4}, {6, 7, 9}, random);
    const Patch moved = deform(patch, deformation);
    int outside = 0;
    for (std::int64_t z = 0; z < 6; ++z) {
      for (std::int64_t y = 0; y < 7; ++y) {
        for (std::int64_t x = 0; x < 9; ++x) {
          const std::array<double, 3> p = {double(x) - 4, double(y) - 3, double(z) - 2.5};
          const std::array<double, 3> size = {9, 7, 6};
          std::array<double, 3> source{};
          bool inside = true, near_an_edge = false;
          for (std::size_t a = 0; a < 3; ++a) {
            const double* row = deformation.linear.data() + 3 * a;
            source[a] = (size[a] - 1) / 2 + row[0] * p[0] + row[1] * p[1] + row[2] * p[2] +
                        deformation.shift[a];
            inside = inside && source[a] > -0.5 && source[a] < size[a] - 0.5;
            const double half = source[a] + 0.5 - std::floor(source[a] + 0.5);
            near_an_edge = near_an_edge || half < 1e-3 || half > 1 - 1e-3;
          }
          if (near_an_edge) continue;  // either neighbour is right
          const auto nearest = [&](std::size_t a) {
            return static_cast<std::int64_t>(std::lround(source[a]));
          };
          const int expected =
              inside ? patch.label[nearest(2)][nearest(1)][nearest(0)].item<int>() : -1;
          outside += !inside;
          ASSERT_EQ(moved.label[z][y][x].item<int>(), expected) << z << ' ' << y << ' ' << x;
        }
      }
    }
    EXPECT_GT(outside, 0) << "a shift of this size moves something in";
  }
}

TEST(DeformTest, TheElasticFieldMovesVoxelsByItsValuesAndIsTurnedByTheAffineMap) {
  Random random{3};
  const Shape3 size = {20, 24, 28};
  const ElasticField field(size, {.sigma_voxels = 4, .magnitude = 60}, random);
  const torch::Tensor moved = field.slices(0, 20);
  const auto ramp =
      [&](std::int64_t dim) {  // linear interpolation of a ramp gives the coordinate itself
        return torch::arange(size[dim], torch::kFloat32)
            .view({dim == 0 ? -1 : 1, dim == 1 ? -1 : 1, dim == 2 ? -1 : 1})
            .expand({20, 24, 28});
      };
  const Patch patch{torch::stack({ramp(2), ramp(1), ramp(0)}),
                    torch::zeros({20, 24, 28}, torch::kUInt8)};
  const auto inner = [](const torch::Tensor& t) {
    return t.narrow(1, 6, 8).narrow(2, 6, 12).narrow(3, 6, 16);
  };
  const Patch plain = deform(patch, {.elastic = field});
  EXPECT_TRUE(torch::allclose(inner(plain.image - patch.image), inner(moved), 1e-3, 1e-3));
  EXPECT_GT(inner(moved).abs().max().item<float>(), 0.5) << "the field must move something";
  // x and y exchanged and z halved: the displacement goes through the same matrix.
  const Patch mixed = deform(patch, {.linear = {0, 1, 0, 1, 0, 0, 0, 0, 0.5}, .elastic = field});
  const torch::Tensor still = deform(patch, {.linear = {0, 1, 0, 1, 0, 0, 0, 0, 0.5}}).image;
  const torch::Tensor expected = torch::stack({moved[1], moved[0], 0.5 * moved[2]});
  EXPECT_TRUE(torch::allclose(inner(mixed.image - still), inner(expected), 2e-3, 2e-3));
}

TEST(DeformTest, DrawnAffineMapsStayWithinTheirLimits) {
  Random random{4};
  double widest = 0, farthest = 0;
  for (int draw = 0; draw < 300; ++draw) {
    const Deformation only_scale =
        draw_affine({.rotation_degrees = 0, .shear_degrees = 0, .translation = 0.05, .scale = 0.2},
                    {40, 60, 100}, random);
    for (const std::size_t place : {1, 2, 3, 5, 6, 7}) EXPECT_EQ(only_scale.linear[place], 0);
    for (const std::size_t place : {0, 4, 8})
      widest = std::max(widest, std::abs(only_scale.linear[place] - 1));
    EXPECT_LE(std::abs(only_scale.shift[1]), 3);
    EXPECT_LE(std::abs(only_scale.shift[2]), 2);
    farthest = std::max(farthest, std::abs(only_scale.shift[0]));
    const Deformation only_turn =
        draw_affine({.rotation_degrees = 15, .shear_degrees = 0, .translation = 0, .scale = 0},
                    {40, 60, 100}, random);
    const auto& m = only_turn.linear;
    EXPECT_NEAR(m[0] * m[0] + m[3] * m[3] + m[6] * m[6], 1, 1e-12);
    EXPECT_GE(m[0], std::pow(std::cos(std::numbers::pi / 12), 2) - 1e-9);
  }
  EXPECT_LE(widest, 0.2);
  EXPECT_GT(widest, 0.19);
  EXPECT_LE(farthest, 5);
  EXPECT_GT(farthest, 4.8);
}

}  // namespace
}  // namespace lamp
