// What to tell a user whose two grids should be one.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "lamp/volume/volume.h"

namespace lamp {

// How one grid differs from the one it should be, in the words of a message.
struct GridDifference {
  // "a grid of another size", "another place or orientation"; of grids that hold the same points
  // "the same place, but another order of axes" or "..., but axes that run the other way"
  std::string what;
  std::string found;  // "a corner 5.000 voxels (2.500 mm) away: its x axis runs ..."
  std::string expected;
  // What to do where both grids hold the same points: kReorderAxes or kFlipAxes; empty elsewhere.
  std::string same_points_fix;
};

// To copy the geometry between grids of the same points would mirror or turn the voxels.
inline constexpr const char* kReorderAxes =
    "reorder the axes of one of them (do not copy the geometry)";
inline constexpr const char* kFlipAxes =
    "flip these axes of one of them, header and voxels together (do not copy the geometry)";

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
