// What to tell a user whose two grids should be one.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "lamp/volume/volume.h"

namespace lamp {

// How one grid differs from the one it should be, in the words of a message.
struct GridDifference {
  // "a grid of another size", "another place or orientation", "the same place, but another order of
  // axes"
  std::string what;
  std::string found;  // "a corner 5.000 voxels (2.500 mm) away: its x axis runs ..."
  std::string expected;
  // Both grids hold the same points. Then to copy the geometry would mirror or turn the voxels.
  bool same_points = false;
};

// What to do about grids of the same points.
inline constexpr const char* kReorderAxes =
    "reorder the axes of one of them (do not copy the geometry)";

// Nothing if no corner lies more than kSameGridVoxels away.
std::optional<GridDifference> grid_difference(const Geometry& found, const Geometry& expected);

// A grid and the file that says so.
struct FileGrid {
  const Geometry& grid;
  std::filesystem::path file;
};

// Throws InputError, naming both files and what differs, if grid_difference() finds something.
// `partner`: what the expected grid is to the file, such as "its image".
void check_same_grid(const FileGrid& found, const FileGrid& expected, const std::string& partner);

}  // namespace lamp
