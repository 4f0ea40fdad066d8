// What to tell a user whose two grids should be one.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "lamp/volume/volume.h"

namespace lamp {

// How one grid differs from the one it should be, in the words of a message.
struct GridDifference {
  std::string what;   // "a grid of another size", "another place or orientation"
  std::string found;  // "a corner 5.000 voxels (2.500 mm) away: its x axis runs ..."
  std::string expected;
};

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
