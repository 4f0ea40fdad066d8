// What to tell a user whose two grids should be one.
#pragma once

#include <optional>
#include <string>

#include "lamp/data/volume.h"

namespace lamp {

// How one grid differs from the one it should be, in the words of a message.
struct GridDifference {
  std::string what;   // "a grid of another size", "another place or orientation"
  std::string found;  // "a corner 5.000 voxels away: its x axis runs the other way"
  std::string expected;
};

// Nothing if no corner lies more than kSameGridVoxels away.
std::optional<GridDifference> grid_difference(const Geometry& found, const Geometry& expected);

}  // namespace lamp
