// Spacing, axes and origin, each said only where it differs: two grids of one size and spacing
// would read the same otherwise.
#include "lamp/data/grid_difference.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>

#include "lamp/base/text.h"

namespace lamp {
namespace {

std::string number(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.6g", value);
  return text;
}

// The cosine between axis `a` of one grid and axis `b` of another.
double cosine(const Geometry& one, std::size_t a, const Geometry& other, std::size_t b) {
  double sum = 0;
  for (std::size_t row = 0; row < 3; ++row)
    sum += one.direction[3 * row + a] * other.direction[3 * row + b];
  return sum;
}

// "its axes x and y run the other way", "its axes x, y, z run along y, x, z of the image's", "it is
// turned by 5.0 degrees"; empty if the axes agree.
std::string axes_difference(const Geometry& found, const Geometry& expected) {
  constexpr double kAlong = 0.99999;  // within 0.3 degrees
  constexpr double kDegrees = 57.29577951308232;
  std::string flipped, along;
  int flips = 0;
  bool exchanged = false, turned = false;
  double trace = 0;
  for (std::size_t a = 0; a < 3; ++a) {
    std::size_t nearest = 0;
    for (std::size_t b = 1; b < 3; ++b)
      if (std::abs(cosine(found, a, expected, b)) > std::abs(cosine(found, a, expected, nearest)))
        nearest = b;
    const double alike = cosine(found, a, expected, nearest);
    trace += cosine(found, a, expected, a);
    exchanged = exchanged || nearest != a;
    along += (a ? ", " : "") + std::string(alike < 0 ? "-" : "") + "xyz"[nearest];
    if (alike < 0) flipped += (flips++ ? " and " : "") + std::string(1, "xyz"[a]);
    turned = turned || std::abs(alike) < kAlong;
  }
  if (turned) {
    const double angle = std::acos(std::clamp((trace - 1) / 2, -1.0, 1.0)) * kDegrees;
    return "it is turned by " + fixed(angle, 1) + " degrees";
  }
  if (exchanged) return "its axes x, y, z run along " + along + " of the other's";
  if (flips == 0) return "";
  return (flips == 1 ? "its axis " : "its axes ") + flipped + (flips == 1 ? " runs" : " run") +
         " the other way (flipped)";
}

std::string triple(const std::array<double, 3>& values) {
  return number(values[0]) + ", " + number(values[1]) + ", " + number(values[2]);
}

// What differs of spacing, axes and origin, each in some words.
std::string differences(const Geometry& found, const Geometry& expected) {
  std::string text;
  const auto add = [&](const std::string& part) {
    if (!part.empty()) text += (text.empty() ? "" : ", ") + part;
  };
  if (triple(found.spacing_mm) != triple(expected.spacing_mm))
    add("voxels of " + triple(found.spacing_mm) + " mm instead of " + triple(expected.spacing_mm));
  add(axes_difference(found, expected));
  double squared = 0;
  for (std::size_t a = 0; a < 3; ++a)
    squared += std::pow(found.origin_mm[a] - expected.origin_mm[a], 2);
  if (squared > 0)
    add("its first voxel lies at " + triple(found.origin_mm) + " mm instead of " +
        triple(expected.origin_mm) + ", " + number(std::sqrt(squared)) + " mm away");
  return text;
}

}  // namespace

std::optional<GridDifference> grid_difference(const Geometry& found, const Geometry& expected) {
  const double distance = corner_distance_voxels(expected, found);
  if (distance <= kSameGridVoxels) return std::nullopt;
  if (found.size != expected.size) {
    const std::string axes = axes_difference(found, expected);
    return GridDifference{.what = "a grid of another size",
                          .found = found.describe() + (axes.empty() ? "" : " (" + axes + ")"),
                          .expected = expected.describe()};
  }
  const std::string how = differences(found, expected);
  return GridDifference{
      .what = "another place or orientation",
      .found = "a corner " + fixed(distance, 3) + " voxels away" + (how.empty() ? "" : ": " + how),
      .expected = "at most " + shortest(kSameGridVoxels) + " voxels"};
}

}  // namespace lamp
