// Reordering and flipping of axes: no voxel is resampled and no point in space moves.
#pragma once

#include <torch/types.h>

#include <array>

#include "lamp/volume/volume.h"

namespace lamp {

// Output axis a runs along input axis source_axis[a], backwards if flip[a]. Axes are x, y, z = 0,
// 1, 2.
struct AxisMap {
  std::array<int, 3> source_axis = {0, 1, 2};
  std::array<bool, 3> flip = {false, false, false};
};

// The map that brings the grid's direction nearest to the identity (LPS): of all 48, the one with
// the largest trace. Ties, as of axes turned by exactly 45 degrees, go to the order of axes that
// comes first in the dictionary.
AxisMap canonical_axes(const Geometry& grid);
AxisMap inverse(const AxisMap& map);

Geometry reorient(const Geometry& grid, const AxisMap& map);
// [C, D, H, W] of any type and device; shares memory where nothing is flipped, and need not be
// contiguous.
torch::Tensor reorient(const torch::Tensor& voxels, const AxisMap& map);

}  // namespace lamp
