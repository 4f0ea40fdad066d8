// An abdomen with a large liver, 0 to 5 tumours in it, and other organs as distractors. Coordinates
// are millimetres from the middle of the body at the liver's height (x left, y back, z up); the
// liver lies on the patient's right.
#include "lamp/phantoms/phantom_liver.h"

#include <algorithm>
#include <cmath>

#include "lamp/base/size3.h"
#include "lamp/phantoms/phantom_shapes.h"

namespace lamp {
namespace {

constexpr int kLiver = 1, kTumour = 2;
constexpr double kLiverFieldMm = 350, kLiverHeightMm = 240;
constexpr double kVeryLong = 4000;  // cylinders are ellipsoids that do not end inside the volume

constexpr Material kLiverFat = {.hu = -100, .texture_hu = 20, .texture_mm = 14};
constexpr Material kLiverMuscle = {.hu = 52, .texture_hu = 10, .texture_mm = 10};
constexpr Material kLiverBone = {.hu = 450, .texture_hu = 150, .texture_mm = 10};

Vec3 about(const Vec3& p, double mm, Random& random) {
  return {p[0] + random.uniform(-mm, mm), p[1] + random.uniform(-mm, mm),
          p[2] + random.uniform(-mm, mm)};
}

Vec3 sized(const Vec3& radii, Random& random) {
  const double all = random.uniform(0.88, 1.1);
  return {radii[0] * all * random.uniform(0.95, 1.05), radii[1] * all * random.uniform(0.95, 1.05),
          radii[2] * all * random.uniform(0.95, 1.05)};
}

void paint_trunk(Canvas& canvas, Random& random) {
  const double fat = random.uniform(8, 20);
  canvas.paint(ellipsoid({0, 0, 0}, {160, 112, kVeryLong}), kLiverFat);
  canvas.paint(ellipsoid({0, 0, 0}, {160 - fat, 112 - fat, kVeryLong}), kLiverMuscle);
  canvas.paint(ellipsoid({0, -8, 0}, {148 - fat, 92 - fat, kVeryLong}), kLiverFat);
  canvas.paint(tube({{0, 62, -400}, {0, 62, 400}}, {21, 21}), kLiverBone);
  canvas.paint(tube({{0, 88, -400}, {0, 88, 400}}, {8, 8}), {.hu = 25});
  canvas.paint(tube({{14, 32, -400}, {14, 32, 400}}, {10, 10}), {.hu = 95});  // aorta
  for (const double side : {-1.0, 1.0})
    canvas.paint(ellipsoid(about({side * 76, 4, 140}, 5, random), {60, 74, 80}),
                 {.hu = -850, .texture_hu = 50, .texture_mm = 9});
}

void paint_other_organs(Canvas& canvas, Random& random) {
  canvas.paint(ellipsoid(about({58, -30, 30}, 6, random), sized({38, 32, 42}, random)),
               {.hu = 22, .texture_hu = 25});
  canvas.paint(ellipsoid(about({60, -46, 42}, 4, random), {18, 10, 16}),
               {.hu = -900});  // air in the stomach
  canvas.paint(wobbly(ellipsoid(about({106, 30, 40}, 4, random), sized({24, 36, 44}, random)), 2,
                      30, random),
               {.hu = 58, .texture_hu = 4});
  for (const double side : {-1.0, 1.0})
    canvas.paint(ellipsoid(about({side * 62, 50, -42}, 5, random), sized({24, 24, 48}, random)),
                 {.hu = 42, .texture_hu = 8});
  for (int i = 0; i < 9; ++i)  // bowel
    canvas.paint(ellipsoid(about({0, -25, -88}, 45, random), sized({26, 22, 20}, random)),
                 {.hu = random.uniform(10, 40), .texture_hu = 15});
  for (int i = 0; i < 3; ++i)
    canvas.paint(ellipsoid(about({0, -42, -90}, 40, random), sized({12, 9, 10}, random)),
                 {.hu = -800});
}

// A place inside `liver` at least `depth_mm` from its surface; the middle of the right lobe if
// chance finds none.
Vec3 place_inside(const Solid& liver, double depth_mm, Random& random) {
  for (int attempt = 0; attempt < 200; ++attempt) {
    const Vec3 p = about(liver.centre, liver.reach, random);
    if (liver.depth(p) >= depth_mm) return p;
  }
  return liver.centre;
}

void paint_tumours(Canvas& canvas, const std::vector<Solid>& lobes, double liver_hu,
                   Random& random) {
  const std::int64_t count = random.below(6);
  for (std::int64_t i = 0; i < count; ++i) {
    const Solid& lobe = lobes[random.below(4) == 0 ? 1 : 0];
    const double u = random.uniform();
    const double radius = canvas.resolvable(5 + 19 * u * u);  // small ones are more frequent
    const Vec3 centre = place_inside(lobe, 0.6 * radius, random);
    const Solid tumour = wobbly(ellipsoid(centre, sized({radius, radius, radius}, random)),
                                0.12 * radius, 2 * radius, random);
    canvas.paint(intersection(tumour, lobe), {.hu = liver_hu - random.uniform(18, 42),
                                              .label = kTumour,
                                              .texture_hu = 8,
                                              .texture_mm = 5});
  }
}

void paint_liver(Canvas& canvas, Random& random) {
  const double hu = random.uniform(60, 76);
  std::vector<Solid> lobes = {
      wobbly(ellipsoid(about({-72, -2, 22}, 5, random), sized({68, 74, 74}, random)), 4, 60,
             random),
      wobbly(ellipsoid(about({-8, -36, 38}, 5, random), sized({66, 35, 38}, random)), 3, 50,
             random)};
  for (const Solid& lobe : lobes)
    canvas.paint(lobe, {.hu = hu, .label = kLiver, .texture_hu = 4, .texture_mm = 10});
  const Vec3 hilum = about({-42, 2, 12}, 4, random);
  for (int i = 0; i < 5; ++i) {  // vessels belong to the liver
    const Solid& lobe = lobes[i == 0 ? 1 : 0];
    const Solid vessel = tube({hilum, place_inside(lobe, 12, random)}, {5, 2.5});
    canvas.paint(intersection(vessel, lobe), {.hu = hu + 22, .label = kLiver});
  }
  paint_tumours(canvas, lobes, hu, random);
  canvas.paint(ellipsoid(about({-40, -42, -18}, 4, random), sized({13, 15, 22}, random)),
               {.hu = 9});  // gall bladder
}

}  // namespace

Scene draw_liver(const Size3& size, Random& random) {
  Geometry geometry{.size = size};
  const double zoom = random.uniform(1.0, 1.06);
  const double in_plane =
      hundredths(zoom * kLiverFieldMm / static_cast<double>(std::min(size[0], size[1])));
  geometry.spacing_mm = {in_plane, in_plane,
                         hundredths(zoom * kLiverHeightMm / static_cast<double>(size[2]))};
  Pose pose;
  const double growth = random.uniform(0.9, 1.02);
  Vec3 turns;
  for (std::size_t a = 0; a < 3; ++a) {
    pose.scale[a] = growth * random.uniform(0.96, 1.04);
    turns[a] = random.uniform(-4, 4) * kDegree;
    const double half = geometry.spacing_mm[a] * static_cast<double>(size[a] - 1) / 2;
    geometry.origin_mm[a] = hundredths(-half + random.uniform(-30, 30));
    pose.centre_mm[a] = geometry.origin_mm[a] + half + random.uniform(-6, 6);
  }
  pose.rotation = small_rotation(turns);
  Canvas canvas(geometry, pose, random.bits());
  paint_trunk(canvas, random);
  paint_other_organs(canvas, random);
  paint_liver(canvas, random);
  canvas.add_bias(5, random);
  Volume label = canvas.label();
  return {.image = canvas.image(random.uniform(8, 14)), .label = std::move(label)};
}

}  // namespace lamp
