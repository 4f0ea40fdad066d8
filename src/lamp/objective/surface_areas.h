// The area of a mask's surface inside one 2x2x2 neighbourhood of voxels, for each of the 256 ways
// in which the eight may be set: what makes surface metrics independent of the grid's spacing.
#pragma once

#include <array>

namespace lamp {

// Bit 4 * dz + 2 * dy + dx of a code stands for the neighbour at offset (dz, dy, dx). Areas in mm2,
// 0 for the codes 0 and 255 that hold no surface. spacing_dhw_mm follows the tensor's axes.
// The triangles are those of marching cubes with all cuts at the middle of the edges; like
// DeepMind's surface-distance a code and its complement have the same ones.
std::array<double, 256> surface_areas(const std::array<double, 3>& spacing_dhw_mm);

}  // namespace lamp
