// What the kinds of phantom (phantom_han.h, phantom_liver.h, phantom_twins.h) have in common. Each
// is drawn on a grid in LPS axes, of the case's own voxel counts x, y, z (at least 24), by its own
// random numbers. Not part of the library's interface.
#pragma once

#include <cmath>

#include "lamp/volume/volume.h"

namespace lamp {

struct Scene {
  Volume image;  // int16 HU, identity direction
  Volume label;  // uint8
};

inline constexpr double kDegree = 0.017453292519943295;  // in radians

// Spacings and origins are rounded, so that they read well and survive any writer's decimals.
inline double hundredths(double value) { return std::floor(value * 100 + 0.5) / 100; }

}  // namespace lamp
