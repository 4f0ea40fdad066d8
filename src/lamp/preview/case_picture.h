// The picture of a case: planes beside each other, outlines of labels over the grey of the scan, a
// legend. Knows pixels only; case_planes.h cuts the planes out of volumes.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "lamp/preview/raster.h"

namespace lamp {

// One plane as it is shown, row after row from the upper left.
struct PicturePlane {
  std::string title;
  std::array<char, 4> sides = {' ', ' ', ' ', ' '};  // letters at the left, right, top, bottom
  int columns = 0, rows = 0;                         // voxels
  double column_mm = 1, row_mm = 1;                  // apart
  std::vector<std::uint8_t> grey;                    // empty = no image: black
  std::vector<std::int32_t> result, reference;       // labels, 0 = none; empty = no such map
};

struct CasePicture {
  std::string title;
  std::vector<std::string> notes;  // a paragraph each
  std::vector<PicturePlane> planes;
  std::map<std::int64_t, std::string> labels;  // of the maps, visible or not: id -> name
};

// Where the planes lie in the picture.
struct PictureLayout {
  int width = 0, height = 0;
  std::vector<PixelBox> planes;
  int legend_top = 0;
};

// A picture is no wider than this, and a file no larger than kMostPngBytes but for absurd numbers
// of planes: greys become coarser until it fits.
inline constexpr int kMostPictureWidth = 1200;
inline constexpr std::size_t kMostPngBytes = 300000;

// All planes have one scale, by their mm.
PictureLayout picture_layout(const CasePicture& picture);

// The bytes of a PNG. The result's outlines are two pixels wide within the label, in its colour. A
// reference beside a result is one pixel wide and paler, on top; alone it is drawn as a result is.
std::string case_picture_png(const CasePicture& picture);

}  // namespace lamp
