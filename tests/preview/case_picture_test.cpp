// Where things stand in the picture, to the pixel.
#include "lamp/preview/case_picture.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <set>

#include "lamp/preview/png.h"
#include "lamp/preview/raster_text.h"
#include "support/decoded_png.h"

namespace lamp {
namespace {

using lamp::testing::Colour;
using lamp::testing::decoded_png;
using lamp::testing::DecodedPng;

const Colour kBlack = {0, 0, 0};
const Colour kLabel1 = {0xd5, 0x5e, 0x00};
const Colour kPale1 = {0xea, 0xae, 0x7f};

// `columns` x `rows` voxels with label 1 in the box from (left, top) to (right, bottom), inclusive.
std::vector<std::int32_t> box_map(int columns, int rows, std::array<int, 4> box) {
  std::vector<std::int32_t> map(static_cast<std::size_t>(columns * rows));
  for (int y = box[1]; y <= box[3]; ++y)
    for (int x = box[0]; x <= box[2]; ++x) map[static_cast<std::size_t>(y * columns + x)] = 1;
  return map;
}

CasePicture one_plane(int columns, int rows, double column_mm = 1, double row_mm = 1) {
  return {.title = "case",
          .planes = {{.title = "axial, k = 0",
                      .sides = {'R', 'L', 'A', 'P'},
                      .columns = columns,
                      .rows = rows,
                      .column_mm = column_mm,
                      .row_mm = row_mm}},
          .labels = {{1, "box"}}};
}

TEST(CasePictureTest, AnOutlineIsTheEdgeOfItsLabel) {
  CasePicture picture = one_plane(20, 10);
  picture.planes[0].result = box_map(20, 10, {5, 3, 14, 6});
  const PixelBox box = picture_layout(picture).planes[0];
  ASSERT_EQ(box.width, 320);  // 16 pixels a voxel
  ASSERT_EQ(box.height, 160);
  const DecodedPng png = decoded_png(case_picture_png(picture));
  for (int y = 0; y < box.height; ++y)
    for (int x = 0; x < box.width; ++x) {
      const int inside = std::min({x - 5 * 16, 15 * 16 - 1 - x, y - 3 * 16, 7 * 16 - 1 - y});
      const bool line = inside >= 0 && inside < 2;
      ASSERT_EQ(png.at(box.x + x, box.y + y), line ? kLabel1 : kBlack) << x << " " << y;
    }
}

TEST(CasePictureTest, AReferenceIsAThinPaleLineOverTheResult) {
  CasePicture picture = one_plane(20, 10);
  picture.planes[0].result = box_map(20, 10, {5, 3, 14, 6});
  picture.planes[0].reference = box_map(20, 10, {5, 3, 17, 6});
  const PixelBox box = picture_layout(picture).planes[0];
  const DecodedPng png = decoded_png(case_picture_png(picture));
  const int y = box.y + 5 * 16;
  EXPECT_EQ(png.at(box.x + 5 * 16, y), kPale1);  // where they agree both are seen
  EXPECT_EQ(png.at(box.x + 5 * 16 + 1, y), kLabel1);
  EXPECT_EQ(png.at(box.x + 15 * 16 - 1, y), kLabel1);
  EXPECT_EQ(png.at(box.x + 18 * 16 - 1, y), kPale1);
  EXPECT_EQ(png.at(box.x + 18 * 16 - 2, y), kBlack);
}

TEST(CasePictureTest, AReferenceAloneIsDrawnInFull) {
  CasePicture picture = one_plane(20, 10);
  picture.planes[0].reference = box_map(20, 10, {5, 3, 14, 6});
  const PixelBox box = picture_layout(picture).planes[0];
  const DecodedPng png = decoded_png(case_picture_png(picture));
  EXPECT_EQ(png.at(box.x + 5 * 16 + 1, box.y + 5 * 16), kLabel1);
}

TEST(CasePictureTest, AnOutlineEndsAtThePlanesEdge) {
  CasePicture picture = one_plane(20, 10);
  picture.planes[0].result = box_map(20, 10, {0, 0, 19, 9});
  const PixelBox box = picture_layout(picture).planes[0];
  const DecodedPng png = decoded_png(case_picture_png(picture));
  EXPECT_EQ(png.at(box.x, box.y), kLabel1);
  EXPECT_EQ(png.at(box.x + box.width - 1, box.y + box.height - 1), kLabel1);
  EXPECT_EQ(png.at(box.x + 10, box.y + 10), kBlack);
}

TEST(CasePictureTest, VoxelsLieWhereTheirPixelsAre) {
  CasePicture picture = one_plane(20, 10);
  picture.planes[0].grey.assign(200, 0);
  picture.planes[0].grey[4 * 20 + 13] = 255;
  const PixelBox box = picture_layout(picture).planes[0];
  const DecodedPng png = decoded_png(case_picture_png(picture));
  EXPECT_GT(png.grey(box.x + 13 * 16 + 8, box.y + 4 * 16 + 8), 200);
  EXPECT_EQ(png.grey(box.x + 12 * 16, box.y + 4 * 16 + 8), 0);
  EXPECT_EQ(png.grey(box.x + 15 * 16, box.y + 4 * 16 + 8), 0);
}

TEST(CasePictureTest, LengthsAreInProportionInAllPlanes) {
  CasePicture picture = one_plane(512, 512, 0.3, 0.3);
  picture.planes.push_back({.columns = 512, .rows = 20, .column_mm = 0.3, .row_mm = 8});
  const PictureLayout layout = picture_layout(picture);
  const double scale = layout.planes[0].width / (512 * 0.3);
  EXPECT_NEAR(layout.planes[0].height, 512 * 0.3 * scale, 1);
  EXPECT_NEAR(layout.planes[1].width, 512 * 0.3 * scale, 1);
  EXPECT_NEAR(layout.planes[1].height, 20 * 8 * scale, 1);
}

TEST(CasePictureTest, NothingOverlapsAndNothingIsTooLarge) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const double infinity = std::numeric_limits<double>::infinity();
  for (const auto& [columns, rows, column_mm, row_mm] : {std::tuple{1, 1, 1.0, 1.0},
                                                         {4000, 3000, 0.1, 0.1},
                                                         {1, 5000, 1.0, 1.0},
                                                         {5000, 1, 1.0, 1.0},
                                                         {30, 30, 1e-9, 1e9},
                                                         {30, 30, 1e300, 1e300},
                                                         {30, 30, nan, 0.0},
                                                         {30, 30, -1.0, infinity}}) {
    CasePicture picture = one_plane(columns, rows, column_mm, row_mm);
    for (int i = 0; i < 2; ++i) picture.planes.push_back(picture.planes[0]);
    for (PicturePlane& plane : picture.planes)
      plane.result.assign(static_cast<std::size_t>(columns) * static_cast<std::size_t>(rows), 1);
    const PictureLayout layout = picture_layout(picture);
    EXPECT_LE(layout.width, kMostPictureWidth);
    EXPECT_LE(layout.height, 1000);
    int right = 0;
    for (const PixelBox& box : layout.planes) {
      EXPECT_GT(box.x, right + kLetterWidth);  // the letter at its left
      EXPECT_GT(box.width, 0);
      EXPECT_GT(box.height, 0);
      EXPECT_LE(box.y + box.height + kTextLine, layout.legend_top);
      right = box.x + box.width + kLetterWidth;
    }
    EXPECT_LE(right, layout.width);
    const DecodedPng png = decoded_png(case_picture_png(picture));
    EXPECT_EQ(png.width, layout.width);
    EXPECT_EQ(png.height, layout.height);
  }
}

TEST(CasePictureTest, NoiseFitsAFileToo) {
  CasePicture picture = one_plane(400, 440);
  std::uint32_t state = 1;
  for (int i = 0; i < 2; ++i) picture.planes.push_back(picture.planes[0]);
  for (PicturePlane& plane : picture.planes)
    for (int i = 0; i < 400 * 440; ++i) {
      state = state * 1664525 + 1013904223;
      plane.grey.push_back(static_cast<std::uint8_t>(state >> 24));
    }
  EXPECT_LE(case_picture_png(picture).size(), kMostPngBytes);
}

// Colours of the legend's samples.
std::set<Colour> legend_colours(const CasePicture& picture) {
  const DecodedPng png = decoded_png(case_picture_png(picture));
  std::set<Colour> colours;
  for (int y = picture_layout(picture).legend_top; y < png.height; ++y)
    for (int x = 0; x < png.width; ++x) {
      const auto [red, green, blue] = png.at(x, y);
      if (red != green || green != blue) colours.insert({red, green, blue});
    }
  return colours;
}

TEST(CasePictureTest, TheLegendNamesWhatIsInView) {
  CasePicture picture = one_plane(20, 10);
  picture.labels = {{1, "seen"}, {2, "elsewhere"}};
  picture.planes[0].result = box_map(20, 10, {5, 3, 14, 6});
  EXPECT_EQ(legend_colours(picture), std::set<Colour>{kLabel1});
}

TEST(CasePictureTest, ALegendOfAHundredLabelsKeepsItsPlace) {
  CasePicture picture = one_plane(100, 10);
  picture.planes[0].result.resize(1000);
  for (int i = 0; i < 100; ++i) {
    picture.labels[i + 1] = "a structure with a name that is long beyond all measure";
    for (int y = 0; y < 10; ++y)
      picture.planes[0].result[static_cast<std::size_t>(y * 100 + i)] = i + 1;
  }
  const PictureLayout layout = picture_layout(picture);
  EXPECT_LE(layout.height - layout.legend_top, 7 * kTextLine);
  EXPECT_EQ(legend_colours(picture).size(), static_cast<std::size_t>(kLabelColours));
}

TEST(CasePictureTest, APictureWithoutPlanesOrLabelsIsText) {
  const DecodedPng png = decoded_png(
      case_picture_png({.title = std::string(300, 'm'), .notes = {std::string(300, 'x'), ""}}));
  EXPECT_GT(png.width, 0);
  EXPECT_LE(png.width, kMostPictureWidth);
}

}  // namespace
}  // namespace lamp
