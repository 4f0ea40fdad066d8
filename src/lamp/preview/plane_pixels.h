// Voxels of a plane to the pixels that show it.
#pragma once

#include <cstdint>
#include <vector>

namespace lamp {

// The voxel that lies under the middle of each of `pixels` pixels.
std::vector<int> voxels_under(int voxels, int pixels);

// Greys row after row, between voxels linear, or the mean of those under a pixel where there are
// several.
std::vector<float> scaled_greys(const std::vector<std::uint8_t>& grey, int columns, int rows,
                                int width, int height);

}  // namespace lamp
