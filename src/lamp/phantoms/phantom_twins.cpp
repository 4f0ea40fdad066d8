// A test of context: two copies of one structure in a uniform, noisy block, and a bright landmark
// at the front of the patient's left side. No patch of 32^3 voxels that touches a twin shows
// anything but block, noise and twin: the skin, the landmark, the other twin and the ends of the
// volume all lie further away. Position inside the file tells nothing either, because half of the
// files store x from left to right (phantom.cpp): with "orientation": "keep" only the landmark
// decides. In the patient's space the left twin is always the one at larger x.
//
//      y (front at the top)         skin . . . . . . . . . . . . .
//                                   .                      (mark) .
//                                   .  <-reach->  <-reach->       .
//                                   .        (R)       (L)        .
//                                   . . . . . . . . . . . . . . . .   x ->
#include "lamp/phantoms/phantom_twins.h"

#include <algorithm>
#include <cmath>

#include "lamp/base/size3.h"
#include "lamp/phantoms/phantom_shapes.h"

namespace lamp {
namespace {

constexpr int kLeftTwin = 1, kRightTwin = 2;
constexpr std::int64_t kPatchReach =
    31;  // a 32^3 patch that holds a voxel sees at most 31 voxels away from it
constexpr std::int64_t kSkin = 2;  // voxels of air in front of it, and the soft edge
constexpr std::int64_t kMarkWidth = 9;

// Half the width of a twin's bounding box.
std::int64_t half_width(const Size3& size) { return std::clamp<std::int64_t>(size[0] / 12, 1, 5); }

// A twin's centre along one axis: anywhere in [low, high], or the middle if that is empty.
double place(double low, double high, Random& random) {
  const double drawn = random.uniform();
  return high > low ? std::floor(low + drawn * (high - low) + 0.5) : std::floor((low + high) / 2);
}

}  // namespace

std::int64_t twins_reach(const Size3& size) {
  const std::int64_t twin = 2 * half_width(size) + 1;
  const std::int64_t along_x = (size[0] - 2 * kSkin - 2 * twin) / 3;
  const std::int64_t along_y = (size[1] - 2 * kSkin - kMarkWidth - twin) / 2;
  const std::int64_t along_z = (size[2] - twin) / 2;
  return std::clamp<std::int64_t>(std::min({along_x, along_y, along_z}), 0, kPatchReach);
}

Scene draw_twins(const Size3& size, Random& random) {
  const auto half = static_cast<double>(half_width(size));
  const auto reach = static_cast<double>(twins_reach(size));
  const Vec3 voxels = {static_cast<double>(size[0]), static_cast<double>(size[1]),
                       static_cast<double>(size[2])};
  Geometry geometry{.size = size};
  const double in_plane = std::floor(random.uniform(120, 160)) / 100;
  geometry.spacing_mm = {in_plane, in_plane, std::floor(random.uniform(200, 260)) / 100};
  for (std::size_t a = 0; a < 3; ++a) geometry.origin_mm[a] = std::floor(random.uniform(-150, -50));
  const Pose pose{.centre_mm = geometry.origin_mm,
                  .scale = geometry.spacing_mm};  // the scene is drawn in voxels

  const double margin = static_cast<double>(kSkin) + reach + half;
  const double right_x = place(margin, voxels[0] - 1 - margin - reach - 2 * half - 1, random);
  const double left_x = place(right_x + 2 * half + reach + 1, voxels[0] - 1 - margin, random);
  const double y = place(margin + static_cast<double>(kMarkWidth), voxels[1] - 1 - margin, random);
  const double z = place(reach + half, voxels[2] - 1 - reach - half, random);
  const double mark_z = place(4, voxels[2] - 5, random);

  Canvas canvas(geometry, pose, random.bits());
  const Vec3 middle = {(voxels[0] - 1) / 2, (voxels[1] - 1) / 2, (voxels[2] - 1) / 2};
  canvas.paint(box(middle, {middle[0] - 0.5, middle[1] - 0.5, 2 * voxels[2]}), {.hu = 40});
  const double wave = 0.12 * half;
  const auto radius = [&] { return (half - wave) * random.uniform(0.75, 0.97); };
  const Vec3 radii = {radius(), radius(), radius()};
  const Solid twin = wobbly(ellipsoid({0, 0, 0}, radii), wave, 2 * half, random);
  canvas.paint(moved(twin, {left_x, y, z}), {.hu = 95, .label = kLeftTwin});
  canvas.paint(moved(twin, {right_x, y, z}), {.hu = 95, .label = kRightTwin});
  canvas.paint(ellipsoid({left_x, static_cast<double>(kSkin) + 4, mark_z}, {3.5, 3.5, 3.5}),
               {.hu = 900});
  Volume label = canvas.label();
  return {.image = canvas.image(20), .label = std::move(label)};
}

}  // namespace lamp
