// Head and neck CT. Coordinates are millimetres from the optic chiasm of an average adult (x left,
// y back, z up); volumes follow the organs' true ones: brain stem 25 ml, chiasm 0.5, mandible 60,
// optic nerve 0.7, parotid 28, submandibular gland 9. Left and right organs are drawn from the same
// distributions and differ at random only.
#include "lamp/phantoms/phantom_han.h"

#include <algorithm>
#include <cmath>

#include "lamp/base/size3.h"
#include "lamp/phantoms/phantom_shapes.h"

namespace lamp {
namespace {

enum HanLabel {
  kBrainStem = 1,
  kChiasm,
  kMandible,
  kOpticNerveLeft,
  kOpticNerveRight,
  kParotidLeft,
  kParotidRight,
  kSubmandibularLeft,
  kSubmandibularRight,
};

constexpr double kLeft = 1, kRight = -1;  // x points to the patient's left
constexpr Vec3 kFieldCentre = {0, 14, -36};
constexpr double kHanFieldMm = 206;   // in-plane
constexpr double kHanHeightMm = 168;  // along z

constexpr Material kHanFat = {.hu = -100, .texture_hu = 25, .texture_mm = 9};
constexpr Material kSoftTissue = {.hu = 42, .texture_hu = 15, .texture_mm = 11};
constexpr Material kHanMuscle = {.hu = 60, .texture_hu = 8, .texture_mm = 7};
constexpr Material kHanBone = {.hu = 850, .texture_hu = 150, .texture_mm = 8};
constexpr Material kFluid = {.hu = 8};
constexpr Material kAir = {.hu = -980};

class Head {
 public:
  Head(Canvas& canvas, Random& random)
      : canvas_(canvas), random_(random), inside_(body(random.uniform(4, 7))) {}

  void paint() {
    paint_body();
    paint_skull();
    paint_airways();
    paint_spine();
    for (const double side : {kLeft, kRight}) paint_neck_side(side);
    paint_brain_stem();
    for (const double side : {kLeft, kRight}) paint_orbit(side);
    paint_chiasm();
    for (const double side : {kLeft, kRight}) paint_parotid(side);
    paint_mandible();
    for (const double side : {kLeft, kRight}) paint_submandibular(side);
  }

 private:
  // A place that differs a little from case to case and from side to side.
  Vec3 about(const Vec3& p, double mm) {
    Vec3 result = p;
    for (double& component : result) component += random_.uniform(-mm, mm);
    return result;
  }

  Vec3 about(double side, const Vec3& p, double mm) { return about({side * p[0], p[1], p[2]}, mm); }

  Vec3 sized(const Vec3& radii, double variation = 0.07) {
    const double all = 1 + random_.uniform(-variation, variation);
    Vec3 result;
    for (std::size_t a = 0; a < 3; ++a)
      result[a] = canvas_.resolvable(radii[a] * all * (1 + random_.uniform(-0.4, 0.4) * variation));
    return result;
  }

  void paint_inside(const Solid& solid, const Material& material) {
    canvas_.paint(intersection(solid, inside_), material);
  }

  static Vec3 grown(const Vec3& radii, double mm) {
    return {radii[0] + mm, radii[1] + mm, radii[2] + mm};
  }

  // The outline moved inwards by `inset`.
  static Solid body(double inset) {
    return union_of({ellipsoid({0, 15, 20}, grown({76, 96, 100}, -inset)),
                     ellipsoid({0, 8, -42}, grown({77, 72, 62}, -inset)),
                     ellipsoid({0, -12, -62}, grown({58, 64, 38}, -inset)),
                     tube({{0, 30, -40}, {0, 30, -220}}, {58 - inset, 60 - inset})});
  }

  // Skin and fat, then everything else inside it as soft tissue.
  void paint_body() {
    canvas_.paint(body(0), kHanFat);
    canvas_.paint(inside_, kSoftTissue);
  }

  void paint_skull() {
    const Vec3 centre = {0, 15, 20};
    canvas_.paint(above(ellipsoid(centre, {70, 89, 93}), -22), kHanBone);
    canvas_.paint(above(ellipsoid(centre, {64, 83, 87}), -17), kFluid);
    const Material brain = {.hu = 36, .texture_hu = 5, .texture_mm = 12};
    canvas_.paint(wobbly(above(ellipsoid(centre, {61, 80, 84}), -14), 1.5, 14, random_), brain);
    canvas_.paint(ellipsoid(about({0, 28, 22}, 2), sized({14, 20, 9})), kFluid);  // ventricles
  }

  void paint_airways() {
    canvas_.paint(ellipsoid({0, -44, -28}, {13, 26, 16}), kAir);
    canvas_.paint(
        wobbly(tube({{0, -14, -40}, {0, 2, -60}, {0, 4, -92}, {0, 8, -220}}, {7, 7, 6, 8}), 1.5, 25,
               random_),
        kAir);
    canvas_.paint(
        tube({{-24, -22, -46}, {-14, -44, -49}, {14, -44, -49}, {24, -22, -46}}, {3.5, 4, 4, 3.5}),
        {.hu = 1300, .texture_hu = 250, .texture_mm = 5});  // upper teeth
  }

  void paint_spine() {
    canvas_.paint(tube({{0, 34, -52}, {0, 30, -90}, {0, 36, -220}}, {12, 13, 14}), kHanBone);
    canvas_.paint(tube({{0, 50, -40}, {0, 54, -220}}, {13, 13}), kHanBone);
    canvas_.paint(tube({{0, 46, -30}, {0, 52, -220}}, {9, 8.5}), kFluid);
    canvas_.paint(tube({{0, 44, -50}, {0, 52, -220}}, {5, 5}), {.hu = 38});
  }

  void paint_neck_side(double side) {
    const std::vector<Vec3> muscle = {
        about(side, {60, 50, -40}, 2), about(side, {42, 26, -92}, 2), {side * 22, 0, -150}};
    paint_inside(tube(muscle, {7, 9, 7}), kHanMuscle);
    paint_inside(
        tube({about(side, {30, 20, -48}, 2), about(side, {28, 18, -140}, 2)}, {3.5, 3.5}),
        {.hu = random_.uniform(45, 140)});  // carotid artery, with more or less contrast agent
    for (int i = 0; i < 4; ++i)
      paint_inside(ellipsoid(about(side, {44, 20, -90}, 18), sized({8, 9, 7}, 0.4)), kHanFat);
    for (int i = 0; i < 3; ++i)  // lymph nodes
      paint_inside(ellipsoid(about(side, {42, 28, -88}, 14), sized({4, 4, 5}, 0.3)), {.hu = 48});
    paint_inside(ellipsoid(about(side, {46, -24, -44}, 3), sized({9, 13, 11}, 0.2)),
                 kHanFat);  // cheek
  }

  void paint_brain_stem() {
    const Vec3 top = about({0, 27, -2}, 1.5), middle = about({0, 29, -18}, 1.5),
               bottom = about({0, 40, -47}, 1.5);
    const double size = 1 + random_.uniform(-0.05, 0.05);
    const auto stem = [&](double margin) {
      return tube({top, middle, bottom},
                  {12.5 * size + margin, 14 * size + margin, 7.5 * size + margin});
    };
    canvas_.paint(stem(4), kFluid);
    canvas_.paint(wobbly(stem(0), 0.8, 20, random_),
                  {.hu = 48, .label = kBrainStem, .texture_hu = 4, .texture_mm = 6});
  }

  void paint_orbit(double side) {
    const int label = side == kLeft ? kOpticNerveLeft : kOpticNerveRight;
    const Vec3 eye = about(side, {31, -55, -4}, 1.5);
    const Vec3 cone = {side * 29, -41, -4};
    canvas_.paint(ellipsoid(cone, {20, 25, 19}), kHanBone);
    canvas_.paint(ellipsoid(cone, {17.5, 23, 16.5}), kHanFat);
    canvas_.paint(ellipsoid(eye, {12, 12, 12}), {.hu = 16});
    canvas_.paint(ellipsoid({eye[0], eye[1] - 8, eye[2]}, {4.5, 2.5, 4.5}), {.hu = 85});  // lens
    const Vec3 back = {eye[0], eye[1] + 12, eye[2]};
    const Vec3 bend = about(side, {24, -30, -3}, 1.5), canal = {side * 11.5, -8, -0.5};
    const double radius = canvas_.resolvable(2.2 * (1 + random_.uniform(-0.08, 0.08)));
    canvas_.paint(tube({back, bend, canal}, {radius + 2.5, radius + 3, radius + 2.5}), kHanFat);
    canvas_.paint(tube({back, bend, canal}, {radius, radius, radius}), {.hu = 42, .label = label});
  }

  void paint_chiasm() {
    const Vec3 centre = about({0, 0, 0}, 1), radii = sized({7, 4.6, 3.5}, 0.08);
    canvas_.paint(ellipsoid(centre, grown(radii, 4)), kFluid);
    canvas_.paint(ellipsoid(centre, radii), {.hu = 52, .label = kChiasm});
  }

  void paint_parotid(double side) {
    const int label = side == kLeft ? kParotidLeft : kParotidRight;
    const Vec3 centre = about(side, {46, 33, -47}, 2.5), radii = sized({13.3, 18.5, 27.5});
    canvas_.paint(wobbly(ellipsoid(centre, grown(radii, 4)), 1.5, 22, random_), kHanFat);
    paint_inside(wobbly(ellipsoid(centre, radii), 2, 22, random_),
                 {.hu = 12, .label = label, .texture_hu = 30, .texture_mm = 5});
  }

  void paint_mandible() {
    std::vector<Vec3> chain;
    const std::vector<Vec3> half = {{50, 12, -20}, {46, 9, -60}, {30, -26, -72}, {12, -49, -78}};
    for (const Vec3& p : half) chain.push_back(about(kLeft, p, 1.5));
    chain.push_back(about({0, -53, -79}, 1.5));
    for (auto p = half.rbegin(); p != half.rend(); ++p) chain.push_back(about(kRight, *p, 1.5));
    const double r = 1 + random_.uniform(-0.06, 0.06);
    canvas_.paint(wobbly(tube(chain, {7.5 * r, 8.9 * r, 9.1 * r, 9.7 * r, 9.9 * r, 9.7 * r, 9.1 * r,
                                      8.9 * r, 7.5 * r}),
                         0.8, 18, random_),
                  {.hu = 1000, .label = kMandible, .texture_hu = 180, .texture_mm = 6});
  }

  void paint_submandibular(double side) {
    const int label = side == kLeft ? kSubmandibularLeft : kSubmandibularRight;
    const Vec3 centre = about(side, {29, 3, -86}, 2), radii = sized({10.5, 14.5, 14.5});
    canvas_.paint(ellipsoid(centre, grown(radii, 3)), kHanFat);
    canvas_.paint(wobbly(ellipsoid(centre, radii), 1, 16, random_),
                  {.hu = 58, .label = label, .texture_hu = 6, .texture_mm = 6});
  }

  Canvas& canvas_;
  Random& random_;
  Solid inside_;  // the body without the fat under its skin
};

}  // namespace

Scene draw_han(const Size3& size, Random& random) {
  Geometry geometry{.size = size};
  const double zoom = random.uniform(1.0, 1.06);
  const double in_plane =
      hundredths(zoom * kHanFieldMm / static_cast<double>(std::min(size[0], size[1])));
  geometry.spacing_mm = {in_plane, in_plane,
                         hundredths(zoom * kHanHeightMm / static_cast<double>(size[2]))};
  Pose pose;
  const double growth = random.uniform(0.95, 1.05);
  Vec3 turns, middle, shift;
  for (std::size_t a = 0; a < 3; ++a) {
    pose.scale[a] = growth * random.uniform(0.97, 1.03);
    turns[a] = random.uniform(-8, 8) * kDegree;
    shift[a] = random.uniform(-5, 5);
    geometry.origin_mm[a] = hundredths(
        -geometry.spacing_mm[a] * static_cast<double>(size[a] - 1) / 2 + random.uniform(-40, 40));
    middle[a] = static_cast<double>(size[a] - 1) / 2;
  }
  pose.rotation = small_rotation(turns);
  const Vec3 centre = geometry.point(middle);
  for (std::size_t a = 0; a < 3; ++a) {  // the field's centre turns about itself
    double offset = 0;
    for (std::size_t b = 0; b < 3; ++b)
      offset += pose.rotation[3 * a + b] * pose.scale[b] * kFieldCentre[b];
    pose.centre_mm[a] = centre[a] + shift[a] - offset;
  }
  Canvas canvas(geometry, pose, random.bits());
  Head(canvas, random).paint();
  canvas.add_bias(8, random);
  Volume label = canvas.label();
  return {.image = canvas.image(random.uniform(15, 22)), .label = std::move(label)};
}

}  // namespace lamp
