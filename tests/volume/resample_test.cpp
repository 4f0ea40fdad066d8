// Resampling: exact where the answer is known, label values never invented, memory-saving ways
// equal to the plain ones.
#include "lamp/volume/resample.h"

#include <cmath>
#include <set>

#include "lamp/base/size3.h"
#include "lamp/volume/matrix3.h"
#include "volume/volume_samples.h"

namespace lamp {
namespace {

using testing::random_voxels;

// The value of `f` at every voxel's point in space, [1, D, H, W].
template <typename F>
torch::Tensor field(const Geometry& grid, F f) {
  torch::Tensor voxels = torch::empty({1, grid.size[2], grid.size[1], grid.size[0]});
  float* value = voxels.data_ptr<float>();
  for (std::int64_t z = 0; z < grid.size[2]; ++z)
    for (std::int64_t y = 0; y < grid.size[1]; ++y)
      for (std::int64_t x = 0; x < grid.size[0]; ++x)
        *value++ = static_cast<float>(f(grid.point({double(x), double(y), double(z)})));
  return voxels;
}

double plane(const Vector3& p) { return 0.3 * p[0] - 0.7 * p[1] + 0.2 * p[2] + 5; }
double parabola(const Vector3& p) { return 0.02 * p[0] * p[0] - 0.01 * p[1] * p[1] + 0.3 * p[2]; }

// `grid` without the voxels within `margin` mm of its faces, at another spacing and along the same
// axes.
Geometry inner_grid(const Geometry& grid, double margin_mm, std::array<double, 3> spacing_mm) {
  Geometry inner = grid;
  Vector3 first;
  for (int a = 0; a < 3; ++a) {
    first[a] = margin_mm / grid.spacing_mm[a];
    const double extent =
        static_cast<double>(grid.size[a] - 1) * grid.spacing_mm[a] - 2 * margin_mm;
    inner.spacing_mm[a] = spacing_mm[a];
    inner.size[a] = static_cast<std::int64_t>(extent / spacing_mm[a]) + 1;
  }
  inner.origin_mm = grid.point(first);
  return inner;
}

Geometry oblique(Size3 size, std::array<double, 3> spacing_mm) {
  Random random{11};
  Geometry grid = testing::oblique_grid(random, size);
  grid.spacing_mm = spacing_mm;
  return grid;
}

Geometry turned_by(double angle, const Geometry& grid) {
  Geometry turned = grid;
  turned.direction = product(grid.direction, Matrix3{std::cos(angle), -std::sin(angle), 0,
                                                     std::sin(angle), std::cos(angle), 0, 0, 0, 1});
  return turned;
}

double largest_difference(const torch::Tensor& a, const torch::Tensor& b) {
  return (a - b).abs().max().item<double>();
}

TEST(ResampleTest, LinearInterpolationKeepsAPlane) {
  const Geometry from = oblique({20, 18, 12}, {1, 1.5, 3});
  const Geometry to = inner_grid(from, 0.4, {0.7, 2.2, 1.1});
  const torch::Tensor result = resample(field(from, plane), from, to, Interpolation::kLinear);
  EXPECT_LT(largest_difference(result, field(to, plane)), 1e-3);
}

TEST(ResampleTest, LinearInterpolationKeepsAPlaneBetweenTurnedGrids) {
  const Geometry from = oblique({30, 30, 20}, {1, 1, 2});
  const Geometry to = turned_by(0.2, inner_grid(from, 9, {1.3, 1.1, 1.7}));
  const torch::Tensor result = resample(field(from, plane), from, to, Interpolation::kLinear);
  EXPECT_LT(largest_difference(result, field(to, plane)), 5e-3);
}

TEST(ResampleTest, CubicInterpolationKeepsAParabola) {
  const Geometry from{.size = {20, 18, 16}, .spacing_mm = {1, 1.5, 3}, .origin_mm = {-10, -10, 0}};
  const Geometry to = inner_grid(from, 6, {0.7, 2.2, 1.1});
  const auto error = [&](Interpolation interpolation) {
    return largest_difference(resample(field(from, parabola), from, to, interpolation),
                              field(to, parabola));
  };
  EXPECT_LT(error(Interpolation::kCubic), 1e-4);
  EXPECT_GT(error(Interpolation::kLinear), 1e-3);
}

TEST(ResampleTest, TheSameGridChangesNoBit) {
  Random random{5};
  const Geometry grid = oblique({9, 8, 7}, {0.7, 0.9, 3.3});
  const torch::Tensor voxels = random_voxels(random, grid, torch::kFloat32, 2);
  for (const auto way : {Interpolation::kLinear, Interpolation::kCubic})
    EXPECT_TRUE(torch::equal(resample(voxels, grid, grid, way), voxels));
  const torch::Tensor labels = random_voxels(random, grid, torch::kUInt8);
  EXPECT_TRUE(torch::equal(resample(labels, grid, grid, Interpolation::kLabel), labels));
}

TEST(ResampleTest, BeyondTheBorderTheBorderHolds) {
  const Geometry from{.size = {3, 2, 2}};
  Geometry to = from;
  to.origin_mm = {-5, 0, 0};
  to.size = {13, 2, 2};
  const torch::Tensor voxels = torch::arange(3, torch::kFloat32).expand({1, 2, 2, 3});
  for (const auto way : {Interpolation::kLinear, Interpolation::kCubic}) {
    const torch::Tensor row = resample(voxels, from, to, way).index({0, 0, 0});
    EXPECT_EQ(row[0].item<float>(), 0);
    EXPECT_EQ(row[6].item<float>(), 1);
    EXPECT_EQ(row[12].item<float>(), 2);
  }
}

TEST(ResampleTest, ASpacingKeepsTheOuterEdges) {
  const Geometry grid = oblique({20, 33, 7}, {0.9, 0.7, 5});
  const Geometry fine = with_spacing(grid, {1, 0.35, 50});
  EXPECT_EQ(fine.size, (Size3{18, 66, 1}));
  for (int corner = 0; corner < 8; ++corner) {
    Vector3 a, b;
    for (int i = 0; i < 3; ++i) {
      a[i] = (corner >> i) & 1 ? double(grid.size[i]) - 0.5 : -0.5;
      b[i] = (corner >> i) & 1 ? double(fine.size[i]) - 0.5 : -0.5;
    }
    for (int i = 0; i < 3; ++i) EXPECT_NEAR(grid.point(a)[i], fine.point(b)[i], 1e-9);
  }
  EXPECT_EQ(corner_distance_voxels(grid, with_spacing(grid, grid.spacing_mm)), 0);
}

TEST(ResampleTest, MoreVoxelsThanAnyMemoryHoldsAreRefused) {
  Geometry grid{.size = {100, 100, 100}, .spacing_mm = {1e6, 1, 1}};
  EXPECT_THROW(with_spacing(grid, {1e-6, 1, 1}), DoesNotFit);
  EXPECT_THROW(with_spacing(grid, {1e-2, 1e-2, 1e-3}), DoesNotFit);
  grid.spacing_mm[2] = 1e-6;
  grid.direction[2] = 0.9;  // its third axis runs along the first
  EXPECT_THROW(orthonormal_cover(grid), DoesNotFit);
}

Geometry sheared_grid() {
  Geometry grid = oblique({20, 18, 12}, {1, 1.5, 3});
  Matrix3 shear = {1, 0, std::sin(0.25), 0, 1, 0, 0, 0, std::cos(0.25)};
  grid.direction = product(grid.direction, shear);
  return grid;
}

TEST(ResampleTest, TheCoverOfAShearedGridIsOrthonormalAndHoldsEveryVoxel) {
  const Geometry sheared = sheared_grid(), cover = orthonormal_cover(sheared);
  EXPECT_LT(orthonormality_error(cover.direction), 1e-14);
  const Matrix3 to_axes = inverted(cover.direction);
  for (int corner = 0; corner < 8; ++corner) {
    Vector3 edge;
    for (int i = 0; i < 3; ++i) edge[i] = (corner >> i) & 1 ? double(sheared.size[i]) - 0.5 : -0.5;
    const Vector3 p = sheared.point(edge);
    const Vector3 index = product(
        to_axes,
        Vector3{p[0] - cover.origin_mm[0], p[1] - cover.origin_mm[1], p[2] - cover.origin_mm[2]});
    for (int i = 0; i < 3; ++i) {
      EXPECT_GE(index[i] / cover.spacing_mm[i], -0.5 - 1e-4);
      EXPECT_LE(index[i] / cover.spacing_mm[i], double(cover.size[i]) - 0.5 + 1e-4);
    }
  }
  const Geometry straight = oblique({4, 5, 6}, {1, 2, 3});
  EXPECT_EQ(corner_distance_voxels(straight, orthonormal_cover(straight)), 0);
}

TEST(ResampleTest, AShearedImageKeepsItsPlaneOnTheCover) {
  const Geometry sheared = sheared_grid(), cover = orthonormal_cover(sheared);
  const torch::Tensor there =
      resample(field(sheared, plane), sheared, cover, Interpolation::kLinear);
  const torch::Tensor back = resample(there, cover, sheared, Interpolation::kLinear);
  const torch::Tensor inside = back.slice(1, 4, -4).slice(2, 4, -4).slice(3, 4, -4);
  const torch::Tensor wanted =
      field(sheared, plane).slice(1, 4, -4).slice(2, 4, -4).slice(3, 4, -4);
  EXPECT_LT(largest_difference(inside, wanted), 1e-2);
}

// Where a voxel of `to` lies, counted in voxels of `from`, from both grids' points in space.
Vector3 place_in(const Geometry& from, const Geometry& to, const Vector3& voxel) {
  const Vector3 p = to.point(voxel);
  const Vector3 along = product(
      inverted(from.direction),
      Vector3{p[0] - from.origin_mm[0], p[1] - from.origin_mm[1], p[2] - from.origin_mm[2]});
  return {along[0] / from.spacing_mm[0], along[1] / from.spacing_mm[1],
          along[2] / from.spacing_mm[2]};
}

TEST(ResampleTest, LabelsAreUnknownWhereAGridGoesBeyondTheScan) {
  const Geometry sheared = sheared_grid(), cover = orthonormal_cover(sheared);
  const Geometry straight = oblique({9, 8, 7}, {1, 1.5, 3});
  Geometry moved = straight;
  moved.origin_mm = straight.point({-2, 0.4, 3});
  for (const auto& [from, to] : {std::pair{sheared, cover},
                                 {sheared, with_spacing(cover, {1.7, 1.1, 4})},
                                 {straight, moved},
                                 {straight, turned_by(0.4, straight)}}) {
    const torch::Tensor labels =
        torch::full({to.size[2], to.size[1], to.size[0]}, 255).to(torch::kUInt8);
    const torch::Tensor marked = mark_beyond(labels, from, to);
    EXPECT_EQ(marked.scalar_type(), torch::kInt16);
    std::int64_t outside = 0;
    for (std::int64_t z = 0; z < to.size[2]; ++z) {
      for (std::int64_t y = 0; y < to.size[1]; ++y) {
        for (std::int64_t x = 0; x < to.size[0]; ++x) {
          const Vector3 at = place_in(from, to, {double(x), double(y), double(z)});
          double beyond = -1;  // how far outside, in voxels; negative inside
          for (int a = 0; a < 3; ++a)
            beyond = std::max({beyond, -0.5 - at[a], at[a] - double(from.size[a]) + 0.5});
          if (std::abs(beyond) < 1e-3) continue;  // on the face: either is right
          outside += beyond > 0;
          ASSERT_EQ(marked[z][y][x].item<int>(), beyond > 0 ? -1 : 255);
        }
      }
    }
    EXPECT_GT(outside, 0);
    EXPECT_LT(outside, labels.numel());
  }
}

// 91 voxels of 2 mm are 45.5 of 4 mm: header noise must not decide between 45 and 46.
TEST(ResampleTest, AHalfVoxelIsRoundedUpWhateverTheHeadersNoise) {
  for (const double spacing : {2.0, 1.9999999999999998, 2.0000000000000004, 1.99999, 2.00001}) {
    const Geometry grid{.size = {91, 109, 91}, .spacing_mm = {spacing, spacing, spacing}};
    EXPECT_EQ(with_spacing(grid, {4, 4, 4}).size, (Size3{46, 55, 46})) << spacing;
  }
}

TEST(ResampleTest, AnotherSpacingOfTheSameScanIsKnownEverywhere) {
  Random random{19};
  for (int i = 0; i < 20; ++i) {
    const Geometry from =
        oblique({2 + random.below(9), 2 + random.below(9), 2 + random.below(9)}, {1, 1.5, 3});
    const Geometry to = with_spacing(
        from, {random.uniform(0.2, 9), random.uniform(0.2, 9), random.uniform(0.2, 30)});
    const torch::Tensor labels = torch::zeros({to.size[2], to.size[1], to.size[0]}, torch::kUInt8);
    EXPECT_TRUE(mark_beyond(labels, from, to).is_same(labels));
  }
}

// Labels 0, 1, 4, 200 in blobs.
torch::Tensor blobs(const Geometry& grid) {
  const torch::Tensor wave = field(grid, [](const Vector3& p) {
    return std::sin(p[0] / 3) + std::sin(p[1] / 4) + std::cos(p[2] / 5);
  });
  const torch::Tensor labels = torch::zeros_like(wave, torch::kUInt8);
  labels.masked_fill_(wave > 0.3, 1).masked_fill_(wave > 0.9, 4).masked_fill_(wave < -1.2, 200);
  return labels;
}

// The plain way: every label's mask as a channel at full size, then argmax.
torch::Tensor labels_by_masks(const torch::Tensor& labels, const Geometry& from, const Geometry& to,
                              const std::vector<int>& values) {
  std::vector<torch::Tensor> masks;
  for (const int value : values) masks.push_back(labels.eq(value).to(torch::kFloat32));
  const torch::Tensor winner =
      resample(torch::cat(masks), from, to, Interpolation::kLinear).argmax(0, true);
  return torch::tensor(values, torch::kInt64).index({winner}).to(labels.scalar_type());
}

TEST(ResampleTest, LabelsAreTheLargestInterpolatedMask) {
  const Geometry from = oblique({30, 26, 14}, {1, 1.5, 3});
  const torch::Tensor labels = blobs(from);
  for (const Geometry& to :
       {with_spacing(from, {0.77, 2.3, 1.1}), with_spacing(from, {3.1, 3.3, 4.9}),
        turned_by(0.3, inner_grid(from, 2, {1.1, 1.3, 1.9}))}) {
    const torch::Tensor result = resample(labels, from, to, Interpolation::kLabel);
    const torch::Tensor plain = labels_by_masks(labels, from, to, {0, 1, 4, 200});
    EXPECT_EQ(result.scalar_type(), torch::kUInt8);
    // Only where two masks are equal may rounding decide otherwise.
    EXPECT_LT(result.ne(plain).to(torch::kFloat32).mean().item<float>(), 2e-3);
  }
}

TEST(ResampleTest, NoLabelIsInvented) {
  const Geometry from{.size = {8, 8, 8}};
  torch::Tensor labels = torch::full({1, 8, 8, 8}, -7, torch::kInt32);
  labels.index_put_({0, torch::indexing::Slice(4)}, 100000);
  const torch::Tensor result =
      resample(labels, from, with_spacing(from, {0.3, 0.9, 0.41}), Interpolation::kLabel);
  const torch::Tensor known = result.eq(-7).logical_or(result.eq(100000));
  EXPECT_TRUE(known.all().item<bool>());
  EXPECT_EQ(result.eq(-7).any().item<bool>(), true);
}

TEST(ResampleTest, TiesGoToTheLowerLabel) {
  const Geometry from{.size = {2, 2, 2}};
  Geometry to = from;
  to.origin_mm[0] = 0.5;  // half way between both columns
  to.size[0] = 1;
  torch::Tensor labels = torch::tensor({3, 1}, torch::kUInt8).expand({1, 2, 2, 2}).contiguous();
  EXPECT_TRUE(resample(labels, from, to, Interpolation::kLabel).eq(1).all().item<bool>());
  labels = labels.flip(3);
  EXPECT_TRUE(resample(labels, from, to, Interpolation::kLabel).eq(1).all().item<bool>());
}

TEST(ResampleTest, ArgmaxOfScoresEqualsThePlainWay) {
  const Geometry from = oblique({14, 12, 10}, {2, 2, 2});
  torch::manual_seed(3);
  const torch::Tensor scores = torch::randn({5, 10, 12, 14});
  for (const Geometry& to : {with_spacing(from, {1.1, 0.9, 1.3}), turned_by(0.3, from), from}) {
    const torch::Tensor plain =
        resample(scores, from, to, Interpolation::kLinear).argmax(0).to(torch::kUInt8);
    const torch::Tensor result = resample_argmax(scores, from, to);
    EXPECT_EQ(result.scalar_type(), torch::kUInt8);
    EXPECT_TRUE(torch::equal(result, plain));
  }
}

TEST(ResampleTest, ArgmaxTakesHalfPrecisionAndManyClasses) {
  const Geometry grid{.size = {3, 3, 3}};
  torch::manual_seed(4);
  const torch::Tensor half = torch::randn({3, 3, 3, 3}).to(torch::kBFloat16);
  EXPECT_TRUE(torch::equal(resample_argmax(half, grid, grid),
                           half.to(torch::kFloat32).argmax(0).to(torch::kUInt8)));
  torch::Tensor many = torch::zeros({300, 3, 3, 3});
  many[299].fill_(1);
  EXPECT_EQ(resample_argmax(many, grid, grid).scalar_type(), torch::kInt16);
  EXPECT_TRUE(resample_argmax(many, grid, grid).eq(299).all().item<bool>());
}

TEST(ResampleTest, SlabsLeaveNoSeams) {
  const Geometry from{.size = {300, 300, 12}, .spacing_mm = {1, 1, 4}};
  const Geometry to = with_spacing(from, {1, 1, 0.8});  // 60 slices: more than one slab
  const auto height = [](const Vector3& p) { return p[2]; };
  const torch::Tensor result = resample(field(from, height), from, to, Interpolation::kLinear);
  const torch::Tensor wanted = field(to, height).clamp(0, 44);
  EXPECT_LT(largest_difference(result, wanted), 1e-4);
}

}  // namespace
}  // namespace lamp
