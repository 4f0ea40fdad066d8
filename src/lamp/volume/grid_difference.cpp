// Spacing, axes and origin, each said only where it differs: two grids of one size and spacing
// would read the same otherwise.
#include "lamp/volume/grid_difference.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "lamp/base/errors.h"
#include "lamp/base/text.h"
#include "lamp/volume/matrix3.h"
#include "lamp/volume/orientation.h"

namespace lamp {
namespace {

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
  return six_digits(values[0]) + ", " + six_digits(values[1]) + ", " + six_digits(values[2]);
}

// The longest way between corners of one name, in millimetres.
double corner_distance_mm(const Geometry& a, const Geometry& b) {
  double mm = 0;
  for (int corner = 0; corner < 8; ++corner) {
    Vector3 index;
    for (int axis = 0; axis < 3; ++axis)
      index[axis] = (corner >> axis) & 1 ? static_cast<double>(a.size[axis] - 1) : 0;
    const Vector3 p = a.point(index), q = b.point(index);
    mm = std::max(mm, std::hypot(p[0] - q[0], p[1] - q[1], p[2] - q[2]));
  }
  return mm;
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
        triple(expected.origin_mm) + ", " + six_digits(std::sqrt(squared)) + " mm away");
  return text;
}

// The order and direction of the axes of `found` that make it `expected`, if there is one.
std::optional<AxisMap> same_points(const Geometry& found, const Geometry& expected) {
  AxisMap map;
  do {
    for (unsigned flips = 0; flips < 8; ++flips) {
      for (unsigned a = 0; a < 3; ++a) map.flip[a] = (flips >> a & 1) != 0;
      if (corner_distance_voxels(expected, reorient(found, map)) <= kSameGridVoxels) return map;
    }
  } while (std::next_permutation(map.source_axis.begin(), map.source_axis.end()));
  return std::nullopt;
}

}  // namespace

std::optional<GridDifference> grid_difference(const Geometry& found, const Geometry& expected) {
  const double distance = corner_distance_voxels(expected, found);
  if (distance <= kSameGridVoxels) return std::nullopt;
  const std::optional<AxisMap> map = same_points(found, expected);
  const bool flips_only = map && map->source_axis == AxisMap().source_axis;
  const std::string same_place = flips_only ? "the same place, but axes that run the other way"
                                            : "the same place, but another order of axes";
  const std::string same_points_fix = !map ? "" : flips_only ? kFlipAxes : kReorderAxes;
  if (found.size != expected.size) {
    const std::string axes = axes_difference(found, expected);
    return GridDifference{.what = map ? same_place : "a grid of another size",
                          .found = found.describe() + (axes.empty() ? "" : " (" + axes + ")"),
                          .expected = expected.describe(),
                          .same_points_fix = same_points_fix};
  }
  const std::string how = differences(found, expected);
  return GridDifference{.what = map ? same_place : "another place or orientation",
                        .found = "a corner " + fixed(distance, 3) + " voxels (" +
                                 fixed(corner_distance_mm(found, expected), 3) + " mm) away" +
                                 (how.empty() ? "" : ": " + how),
                        .expected = "at most " + shortest(kSameGridVoxels) + " voxels",
                        .same_points_fix = same_points_fix};
}

void check_same_grid(const FileGrid& found, const FileGrid& expected, const std::string& partner) {
  const auto difference = grid_difference(found.grid, expected.grid);
  if (!difference) return;
  const bool same_place = !difference->same_points_fix.empty();
  throw InputError(
      {.file = found.file.string(),
       .what = (same_place ? difference->what : "another grid") + " than " + partner,
       .found = difference->found,
       .expected = difference->expected + " as in " + expected.file.string(),
       .fix = same_place ? difference->same_points_fix : "resample it onto that grid"});
}

}  // namespace lamp
