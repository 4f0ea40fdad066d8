// The three kinds of phantom, each drawn on a grid in LPS axes. Not part of the library's
// interface.
#pragma once

#include <array>
#include <cmath>
#include <cstdint>

#include "lamp/base/random.h"
#include "lamp/volume/volume.h"

namespace lamp {

struct Scene {
  Volume image;  // int16 HU, identity direction
  Volume label;  // uint8
};

inline constexpr double kDegree = 0.017453292519943295;  // in radians

// Spacings and origins are rounded, so that they read well and survive any writer's decimals.
inline double hundredths(double value) { return std::floor(value * 100 + 0.5) / 100; }

// Each takes the case's own voxel counts x, y, z (at least 24) and its own random numbers.
Scene draw_han(const std::array<std::int64_t, 3>& size, Random& random);
Scene draw_liver(const std::array<std::int64_t, 3>& size, Random& random);
Scene draw_twins(const std::array<std::int64_t, 3>& size, Random& random);

// How far from a twin every cue to its side is kept, in voxels: 31 (a patch of 32^3 that touches a
// twin shows none) or as much as a smaller grid allows.
std::int64_t twins_reach(const std::array<std::int64_t, 3>& size);

}  // namespace lamp
