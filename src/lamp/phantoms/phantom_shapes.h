// Solids and the canvas that phantoms are painted on. Scenes are described in anatomical
// coordinates (millimetres of an average body, axes as in LPS); a pose places them in the
// patient's. Double arithmetic and rounding at the very end keep the voxels the same on every
// machine.
#pragma once

#include <torch/types.h>

#include <array>
#include <cstdint>
#include <functional>
#include <vector>

#include "lamp/base/random.h"
#include "lamp/volume/volume.h"

namespace lamp {

using Vec3 = std::array<double, 3>;

// A closed shape. depth(p) is positive inside, about the distance to the surface near it.
struct Solid {
  Vec3 centre;
  double
      reach;  // every point of the solid lies within this distance of the centre, along each axis
  std::function<double(const Vec3&)> depth;
};

Solid ellipsoid(const Vec3& centre, const Vec3& radii);
Solid box(const Vec3& centre, const Vec3& half_sizes);
// Round cones through the points, one radius each.
Solid tube(std::vector<Vec3> points, std::vector<double> radii);
Solid intersection(Solid a, const Solid& b);
Solid union_of(const std::vector<Solid>& solids);
// The surface moved in and out by up to `amplitude`, in waves of about `wavelength`.
Solid wobbly(Solid solid, double amplitude, double wavelength, Random& random);
// The part above (towards the head of) z.
Solid above(Solid solid, double z);
Solid moved(Solid solid, const Vec3& offset);

// patient point = centre_mm + rotation * (scale * anatomical point), scale axis by axis.
struct Pose {
  Vec3 centre_mm = {0, 0, 0};
  std::array<double, 9> rotation = {1, 0, 0, 0, 1, 0, 0, 0, 1};  // row-major
  Vec3 scale = {1, 1, 1};
};

// Rotation about the direction of `turns` by its length in radians (nearly, for less than half a
// radian).
std::array<double, 9> small_rotation(const Vec3& turns);

struct Material {
  double hu;
  int label = 0;
  double texture_hu = 0;  // mottling: at most this far from hu
  double texture_mm = 8;  // size of its grains
};

// Air to begin with; later paint covers earlier paint. Painting uses all threads; the result does
// not depend on them.
class Canvas {
 public:
  Canvas(const Geometry& geometry, const Pose& pose, std::uint64_t key);

  // Edges are one in-plane voxel soft, as a scanner's; the label's edge lies on the solid's
  // surface.
  void paint(const Solid& solid, const Material& material);
  // A radius that the voxels can show: `radius`, or more on a coarse grid.
  double resolvable(double radius) const;

  // A slowly varying shift of the values, largest `hu`, as from beam hardening.
  void add_bias(double hu, Random& random);
  // Independent noise of standard deviation `hu` (Irwin and Hall's sum of four uniform numbers: no
  // library function), then rounding. The canvas is spent.
  Volume image(double noise_hu);  // int16
  Volume label() const;           // uint8

 private:
  struct Range {
    std::array<std::int64_t, 3> first, last;  // x, y, z; last is exclusive
  };
  Vec3 to_anatomy(std::int64_t x, std::int64_t y, std::int64_t z) const;  // of a voxel's centre
  Range voxels_near(const Solid& solid) const;

  Geometry geometry_;
  Pose pose_;
  std::uint64_t key_;
  Vec3 first_voxel_;           // anatomical place of voxel 0, 0, 0
  std::array<Vec3, 3> steps_;  // and from one voxel to the next along x, y, z
  double edge_;                // width of a soft edge in anatomical units
  std::uint64_t painted_ = 0;  // solids so far: each has a texture of its own
  torch::Tensor hu_;           // float32 [D, H, W]
  torch::Tensor label_;        // uint8 [D, H, W]
};

}  // namespace lamp
