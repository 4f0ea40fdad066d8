// Which way a case is shown, for every way its voxels may lie in the file.
#include "lamp/preview/case_planes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "lamp/base/errors.h"
#include "lamp/base/size3.h"
#include "support/decoded_png.h"

namespace lamp {
namespace {

using lamp::testing::decoded_png;
using lamp::testing::DecodedPng;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;

Geometry grid_of(Size3 size, std::array<double, 3> spacing = {1, 1, 1}) {
  return {.size = size, .spacing_mm = spacing};
}

torch::Tensor zeros_on(const Geometry& grid, torch::ScalarType type = torch::kFloat32) {
  return torch::zeros({grid.size[2], grid.size[1], grid.size[0]}, type);
}

// All 48 directions of axes along the patient's.
std::vector<std::array<double, 9>> straight_directions() {
  std::vector<std::array<double, 9>> all;
  std::array<int, 3> order = {0, 1, 2};
  do {
    for (int signs = 0; signs < 8; ++signs) {
      std::array<double, 9> direction = {};
      for (int axis = 0; axis < 3; ++axis)
        direction[static_cast<std::size_t>(3 * order[static_cast<std::size_t>(axis)] + axis)] =
            (signs >> axis) & 1 ? -1 : 1;
      all.push_back(direction);
    }
  } while (std::next_permutation(order.begin(), order.end()));
  return all;
}

// The corner voxel furthest to the patient's left, front and head.
std::array<std::int64_t, 3> left_front_upper_corner(const Geometry& grid) {
  std::array<std::int64_t, 3> best = {0, 0, 0};
  double most = -std::numeric_limits<double>::infinity();
  for (int corner = 0; corner < 8; ++corner) {
    std::array<std::int64_t, 3> index;
    for (std::size_t a = 0; a < 3; ++a) index[a] = (corner >> a) & 1 ? grid.size[a] - 1 : 0;
    const auto point = grid.point({static_cast<double>(index[0]), static_cast<double>(index[1]),
                                   static_cast<double>(index[2])});
    if (const double place = point[0] - point[1] + point[2]; place > most) {
      most = place;
      best = index;
    }
  }
  return best;
}

struct Place {
  int x, y;
};

Place brightest(const PicturePlane& plane) {
  const auto place =
      static_cast<int>(std::max_element(plane.grey.begin(), plane.grey.end()) - plane.grey.begin());
  return {place % plane.columns, place / plane.columns};
}

// Of a box in the decoded picture.
Place brightest(const DecodedPng& picture, const PixelBox& box) {
  Place best{box.x, box.y};
  for (int y = box.y; y < box.y + box.height; ++y)
    for (int x = box.x; x < box.x + box.width; ++x)
      if (picture.grey(x, y) > picture.grey(best.x, best.y)) best = {x, y};
  return {best.x - box.x, best.y - box.y};
}

TEST(CasePlanesTest, LeftIsRightFrontIsUpAndHeadIsUpWhateverTheFilesAxes) {
  for (const auto& direction : straight_directions()) {
    Geometry grid = grid_of({6, 7, 8}, {1, 1.5, 2});
    grid.direction = direction;
    grid.origin_mm = {-10, 20, 30};
    const auto [i, j, k] = left_front_upper_corner(grid);
    torch::Tensor voxels = zeros_on(grid);
    voxels[k][j][i] = 1;
    const GreyImage image = grey_image({grid, voxels.unsqueeze(0)});
    const CaseMaps maps{
        .name = "corner", .geometry = grid, .image = &image, .result = voxels.to(torch::kUInt8)};
    CasePicture picture = case_picture_of(maps);
    ASSERT_THAT(picture.planes, SizeIs(3));
    for (PicturePlane& plane : picture.planes) {
      const bool sagittal = plane.sides[0] == 'A';
      const Place place = brightest(plane);
      EXPECT_EQ(plane.grey[static_cast<std::size_t>(place.y * plane.columns + place.x)], 255);
      EXPECT_EQ(place.x, sagittal ? 0 : plane.columns - 1) << plane.title;
      EXPECT_EQ(place.y, 0) << plane.title;
      plane.result.clear();  // its outline would cover the voxel
    }
    const DecodedPng png = decoded_png(case_picture_png(picture));
    const PictureLayout layout = picture_layout(picture);
    EXPECT_GT(brightest(png, layout.planes[0]).x, layout.planes[0].width / 2);
    EXPECT_GT(brightest(png, layout.planes[1]).x, layout.planes[1].width / 2);
    EXPECT_LT(brightest(png, layout.planes[1]).y, layout.planes[1].height / 2);
    EXPECT_LT(brightest(png, layout.planes[2]).x, layout.planes[2].width / 2);
  }
}

TEST(CasePlanesTest, SidesAreMarkedAsRadiologistsLook) {
  const Geometry grid = grid_of({4, 5, 6});
  const CasePicture picture = case_picture_of({.name = "a", .geometry = grid});
  ASSERT_THAT(picture.planes, SizeIs(3));
  EXPECT_THAT(picture.planes[0].sides, ElementsAre('R', 'L', 'A', 'P'));
  EXPECT_THAT(picture.planes[1].sides, ElementsAre('R', 'L', 'H', 'F'));
  EXPECT_THAT(picture.planes[2].sides, ElementsAre('A', 'P', 'H', 'F'));
  EXPECT_THAT(picture.notes[0], HasSubstr("axes to L, P, H"));
}

TEST(CasePlanesTest, SizesAndSpacingsFollowTheFilesAxes) {
  Geometry grid = grid_of({6, 7, 8}, {1, 1.5, 2});
  grid.direction = {0, 0, -1, 1, 0, 0, 0, -1, 0};  // i to the back, j to the feet, k to the right
  const CasePicture picture = case_picture_of({.name = "a", .geometry = grid});
  EXPECT_EQ(picture.planes[0].columns, 8);
  EXPECT_EQ(picture.planes[0].rows, 6);
  EXPECT_EQ(picture.planes[0].column_mm, 2);
  EXPECT_EQ(picture.planes[0].row_mm, 1);
  EXPECT_EQ(picture.planes[0].title, "axial, j = 3");
  EXPECT_EQ(picture.planes[1].title, "coronal, i = 3");
  EXPECT_EQ(picture.planes[2].title, "sagittal, k = 4");
  EXPECT_THAT(picture.notes[0], HasSubstr("axes to P, F, R"));
}

TEST(CasePlanesTest, GoesThroughTheLargestLabelOfTheReference) {
  const Geometry grid = grid_of({20, 20, 20});
  torch::Tensor reference = zeros_on(grid, torch::kInt16), result = zeros_on(grid, torch::kUInt8);
  reference.slice(0, 2, 5).slice(1, 3, 6).slice(2, 4, 7) = 700;
  reference[18][18][18] = 3;
  result.slice(0, 8, 19).slice(1, 8, 19).slice(2, 8, 19) = 1;
  CaseMaps maps{.name = "a",
                .geometry = grid,
                .result = result,
                .reference = reference,
                .names = {{0, "background"}, {1, "liver"}, {9, "absent"}}};
  CasePicture picture = case_picture_of(maps);
  EXPECT_EQ(picture.planes[0].title, "axial, k = 3");
  EXPECT_EQ(picture.planes[1].title, "coronal, j = 4");
  EXPECT_EQ(picture.planes[2].title, "sagittal, i = 5");
  using Names = std::map<std::int64_t, std::string>;
  EXPECT_EQ(picture.labels, (Names{{1, "liver"}, {3, "3"}, {700, "700"}}));
  maps.reference = torch::zeros_like(reference);
  EXPECT_EQ(case_picture_of(maps).planes[0].title, "axial, k = 13");
  maps.result = torch::full_like(reference, -1);  // no scan there, no structure
  EXPECT_EQ(case_picture_of(maps).planes[0].title, "axial, k = 10");
}

TEST(CasePlanesTest, AStructureIsSeenWhereItsCentreIsNot) {
  const Geometry grid = grid_of({21, 9, 9});
  torch::Tensor lungs = zeros_on(grid, torch::kUInt8);
  lungs.slice(0, 3, 6).slice(1, 3, 6).slice(2, 1, 5) = 1;
  lungs.slice(0, 3, 6).slice(1, 3, 6).slice(2, 16, 20) = 1;
  for (const PicturePlane& plane :
       case_picture_of({.name = "a", .geometry = grid, .result = lungs}).planes)
    EXPECT_EQ(*std::max_element(plane.result.begin(), plane.result.end()), 1) << plane.title;
}

TEST(CasePlanesTest, ObliqueAxesAreToldAndShownAsTheNearestOnes) {
  Geometry grid = grid_of({6, 7, 8});
  const double c = std::cos(0.35), s = std::sin(0.35);
  grid.direction = {0, -c, s, 0, -s, -c, 1, 0, 0};
  const CasePicture picture = case_picture_of({.name = "a", .geometry = grid});
  EXPECT_THAT(picture.notes[0], HasSubstr("axes to H, R, A"));
  EXPECT_THAT(picture.notes[0], HasSubstr("oblique: up to 20.1 degrees"));
  grid.direction = {
      1, 0, 0, 0, std::cos(0.001), -std::sin(0.001), 0, std::sin(0.001), std::cos(0.001)};
  EXPECT_EQ(case_picture_of({.name = "a", .geometry = grid}).notes[0].find("oblique"),
            std::string::npos);
}

TEST(CasePlanesTest, AFlatVolumeIsOnePlane) {
  const auto titles = [](Size3 size) {
    const Geometry grid = grid_of(size);
    const GreyImage image = grey_image({grid, torch::rand({1, size[2], size[1], size[0]})});
    const CaseMaps maps{.name = "a",
                        .geometry = grid,
                        .image = &image,
                        .result = torch::ones({size[2], size[1], size[0]}, torch::kUInt8)};
    const DecodedPng png = decoded_png(case_png(maps));
    EXPECT_GT(png.width, 0);
    std::vector<std::string> titles;
    for (const PicturePlane& plane : case_picture_of(maps).planes)
      titles.push_back(plane.title.substr(0, plane.title.find(',')));
    return titles;
  };
  EXPECT_THAT(titles({30, 20, 1}), ElementsAre("axial"));
  EXPECT_THAT(titles({30, 1, 20}), ElementsAre("coronal"));
  EXPECT_THAT(titles({1, 30, 20}), ElementsAre("sagittal"));
  EXPECT_THAT(titles({1, 1, 20}), ElementsAre("coronal"));
  EXPECT_THAT(titles({1, 1, 1}), ElementsAre("axial"));
  EXPECT_THAT(titles({2, 2, 2}), ElementsAre("axial", "coronal", "sagittal"));
}

TEST(CasePlanesTest, MapsOfAnotherSizeAreRefused) {
  const Geometry grid = grid_of({4, 5, 6});
  const torch::Tensor other = torch::zeros({6, 5, 5}, torch::kUInt8);
  EXPECT_THROW(case_picture_of({.name = "a", .geometry = grid, .result = other}), Error);
  EXPECT_THROW(case_picture_of({.name = "a", .geometry = grid, .reference = other}), Error);
  EXPECT_THROW(case_picture_of({.name = "a", .geometry = {}}), Error);
}

TEST(CasePlanesTest, OddImagesAreDrawn) {
  const Geometry grid = grid_of({40, 30, 5}, {0.3, 0.3, 8});
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (const torch::Tensor& voxels :
       {torch::full({1, 5, 30, 40}, nan), torch::full({1, 5, 30, 40}, 3.0F),
        torch::randn({4, 5, 30, 40}), torch::randn({1, 5, 30, 40}).log()}) {
    const GreyImage image = grey_image({grid, voxels});
    const DecodedPng png =
        decoded_png(case_png({.name = "odd", .geometry = grid, .image = &image}));
    EXPECT_GT(png.width, 0);
    EXPECT_LE(png.width, kMostPictureWidth);
  }
}

}  // namespace
}  // namespace lamp
