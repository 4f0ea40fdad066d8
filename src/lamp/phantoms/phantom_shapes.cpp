// Solids as depth functions, painted voxel by voxel inside their bounding boxes.
#include "lamp/phantoms/phantom_shapes.h"

#include <ATen/Parallel.h>
#include <torch/types.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

namespace lamp {
namespace {

constexpr double kAirHu = -1000;
constexpr std::int64_t kVoxelsPerTask =
    1 << 15;  // small solids are not worth waking other threads for

std::int64_t slices_per_task(std::int64_t voxels_in_slice) {
  return std::max<std::int64_t>(1, kVoxelsPerTask / std::max<std::int64_t>(1, voxels_in_slice));
}

Vec3 minus(const Vec3& a, const Vec3& b) { return {a[0] - b[0], a[1] - b[1], a[2] - b[2]}; }
double dot(const Vec3& a, const Vec3& b) { return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]; }

Vec3 times(const std::array<double, 9>& m, const Vec3& v) {
  return {dot({m[0], m[1], m[2]}, v), dot({m[3], m[4], m[5]}, v), dot({m[6], m[7], m[8]}, v)};
}

Vec3 transposed_times(const std::array<double, 9>& m, const Vec3& v) {
  return times({m[0], m[3], m[6], m[1], m[4], m[7], m[2], m[5], m[8]}, v);
}

// SplitMix64's finaliser: a counter in, random bits out, so that any voxel can be drawn at any
// time.
std::uint64_t hash(std::uint64_t z) {
  z += 0x9e3779b97f4a7c15ULL;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
  return z ^ (z >> 31);
}

// In [-1, 1) at each point of an integer lattice.
double lattice_value(std::uint64_t key, std::int64_t x, std::int64_t y, std::int64_t z) {
  const std::uint64_t place = static_cast<std::uint64_t>(x) * 0x9e3779b97f4a7c15ULL ^
                              static_cast<std::uint64_t>(y) * 0xc2b2ae3d27d4eb4fULL ^
                              static_cast<std::uint64_t>(z) * 0x165667b19e3779f9ULL;
  const std::uint64_t cell = hash(key ^ place);
  return static_cast<double>(cell >> 11) * 0x1.0p-52 - 1;
}

// Trilinear between lattice points. Free of any handedness, so that texture gives no side away.
double value_noise(std::uint64_t key, const Vec3& p) {
  const Vec3 low = {std::floor(p[0]), std::floor(p[1]), std::floor(p[2])};
  const Vec3 t = minus(p, low);
  double sum = 0;
  for (int corner = 0; corner < 8; ++corner) {
    const std::array<int, 3> step = {corner & 1, (corner >> 1) & 1, corner >> 2};
    double weight = 1;
    for (std::size_t a = 0; a < 3; ++a) weight *= step[a] ? t[a] : 1 - t[a];
    sum += weight * lattice_value(key, static_cast<std::int64_t>(low[0]) + step[0],
                                  static_cast<std::int64_t>(low[1]) + step[1],
                                  static_cast<std::int64_t>(low[2]) + step[2]);
  }
  return sum;
}

double cone_depth(const Vec3& p, const Vec3& a, const Vec3& b, double radius_a, double radius_b) {
  const Vec3 along = minus(b, a);
  const double t = std::clamp(dot(minus(p, a), along) / dot(along, along), 0.0, 1.0);
  const Vec3 off = minus(p, {a[0] + t * along[0], a[1] + t * along[1], a[2] + t * along[2]});
  return radius_a + t * (radius_b - radius_a) - std::sqrt(dot(off, off));
}

Vec3 random_direction(Random& random) {
  for (;;) {
    const Vec3 v = {random.uniform(-1, 1), random.uniform(-1, 1), random.uniform(-1, 1)};
    const double length = std::sqrt(dot(v, v));
    if (length > 0.1 && length <= 1) return {v[0] / length, v[1] / length, v[2] / length};
  }
}

// Periodic with period 1, from 1 down to -1 and back, smooth: a cosine's stand-in without a library
// function, whose last bits differ between machines.
double ripple(double t) {
  t -= std::floor(t);
  const double hump = t * (1 - t);
  return 1 - 32 * hump * hump;
}

// A sum of three plane waves, at most 1 in size.
std::function<double(const Vec3&)> waves(double wavelength, Random& random) {
  std::array<Vec3, 3> vectors;
  std::array<double, 3> phases;
  for (std::size_t i = 0; i < 3; ++i) {
    vectors[i] = random_direction(random);
    for (double& component : vectors[i]) component /= wavelength;
    phases[i] = random.uniform();
  }
  return [vectors, phases](const Vec3& p) {
    double sum = 0;
    for (std::size_t i = 0; i < 3; ++i) sum += ripple(dot(vectors[i], p) + phases[i]);
    return sum / 3;
  };
}

}  // namespace

Solid ellipsoid(const Vec3& centre, const Vec3& radii) {
  const double smallest = *std::min_element(radii.begin(), radii.end());
  const auto depth = [=](const Vec3& p) {
    Vec3 unit, gradient;
    for (std::size_t a = 0; a < 3; ++a) {
      unit[a] = (p[a] - centre[a]) / radii[a];
      gradient[a] = unit[a] / radii[a];
    }
    const double slope = std::sqrt(dot(gradient, gradient));
    if (slope < 1e-9) return smallest;
    const double level = std::sqrt(dot(unit, unit));
    return level * (1 - level) / slope;  // first-order distance
  };
  return {centre, *std::max_element(radii.begin(), radii.end()), depth};
}

Solid box(const Vec3& centre, const Vec3& half_sizes) {
  const auto depth = [=](const Vec3& p) {
    double least = std::numeric_limits<double>::infinity();
    for (std::size_t a = 0; a < 3; ++a)
      least = std::min(least, half_sizes[a] - std::abs(p[a] - centre[a]));
    return least;
  };
  return {centre, *std::max_element(half_sizes.begin(), half_sizes.end()), depth};
}

Solid tube(std::vector<Vec3> points, std::vector<double> radii) {
  TORCH_CHECK(points.size() == radii.size() && points.size() > 1,
              "a tube needs points and as many radii");
  Vec3 low = points.front(), high = points.front();
  for (const Vec3& p : points) {
    for (std::size_t a = 0; a < 3; ++a) {
      low[a] = std::min(low[a], p[a]);
      high[a] = std::max(high[a], p[a]);
    }
  }
  Solid solid;
  solid.reach = 0;
  for (std::size_t a = 0; a < 3; ++a) {
    solid.centre[a] = (low[a] + high[a]) / 2;
    solid.reach = std::max(solid.reach, (high[a] - low[a]) / 2);
  }
  solid.reach += *std::max_element(radii.begin(), radii.end());
  solid.depth = [points = std::move(points), radii = std::move(radii)](const Vec3& p) {
    double deepest = -std::numeric_limits<double>::infinity();
    for (std::size_t i = 0; i + 1 < points.size(); ++i)
      deepest = std::max(deepest, cone_depth(p, points[i], points[i + 1], radii[i], radii[i + 1]));
    return deepest;
  };
  return solid;
}

Solid intersection(Solid a, const Solid& b) {
  a.depth = [first = std::move(a.depth), second = b.depth](const Vec3& p) {
    return std::min(first(p), second(p));
  };
  return a;
}

Solid union_of(const std::vector<Solid>& solids) {
  Solid whole = solids.front();
  std::vector<std::function<double(const Vec3&)>> depths;
  for (const Solid& solid : solids) {
    for (std::size_t a = 0; a < 3; ++a)
      whole.reach =
          std::max(whole.reach, std::abs(solid.centre[a] - whole.centre[a]) + solid.reach);
    depths.push_back(solid.depth);
  }
  whole.depth = [depths](const Vec3& p) {
    double deepest = -std::numeric_limits<double>::infinity();
    for (const auto& depth : depths) deepest = std::max(deepest, depth(p));
    return deepest;
  };
  return whole;
}

Solid wobbly(Solid solid, double amplitude, double wavelength, Random& random) {
  solid.reach += amplitude;
  solid.depth = [inner = std::move(solid.depth), amplitude,
                 wave = waves(wavelength, random)](const Vec3& p) {
    const double depth = inner(p);
    return std::abs(depth) > 4 * amplitude + 4
               ? depth
               : depth + amplitude * wave(p);  // waves matter at the surface
  };
  return solid;
}

Solid above(Solid solid, double z) {
  solid.depth = [inner = std::move(solid.depth), z](const Vec3& p) {
    return std::min(inner(p), p[2] - z);
  };
  return solid;
}

Solid moved(Solid solid, const Vec3& offset) {
  for (std::size_t a = 0; a < 3; ++a) solid.centre[a] += offset[a];
  solid.depth = [inner = std::move(solid.depth), offset](const Vec3& p) {
    return inner(minus(p, offset));
  };
  return solid;
}

std::array<double, 9> small_rotation(const Vec3& turns) {
  double w = 1, x = turns[0] / 2, y = turns[1] / 2,
         z = turns[2] / 2;  // a quaternion, not yet of length 1
  const double length = std::sqrt(w * w + x * x + y * y + z * z);
  w /= length, x /= length, y /= length, z /= length;
  return {1 - 2 * (y * y + z * z), 2 * (x * y - w * z),     2 * (x * z + w * y),
          2 * (x * y + w * z),     1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
          2 * (x * z - w * y),     2 * (y * z + w * x),     1 - 2 * (x * x + y * y)};
}

Canvas::Canvas(const Geometry& geometry, const Pose& pose, std::uint64_t key)
    : geometry_(geometry), pose_(pose), key_(key) {
  const auto& size = geometry.size;
  edge_ = geometry.spacing_mm[0] / pose.scale[0];
  hu_ = torch::full(size.dhw(), kAirHu, torch::kFloat32);
  label_ = torch::zeros(size.dhw(), torch::kUInt8);
  const auto anatomy = [&](const Vec3& index) {
    Vec3 p = transposed_times(pose.rotation, minus(geometry.point(index), pose.centre_mm));
    for (std::size_t a = 0; a < 3; ++a) p[a] /= pose.scale[a];
    return p;
  };
  first_voxel_ = anatomy({0, 0, 0});
  steps_ = {minus(anatomy({1, 0, 0}), first_voxel_), minus(anatomy({0, 1, 0}), first_voxel_),
            minus(anatomy({0, 0, 1}), first_voxel_)};
}

Vec3 Canvas::to_anatomy(std::int64_t x, std::int64_t y, std::int64_t z) const {
  Vec3 p;
  for (std::size_t a = 0; a < 3; ++a)
    p[a] = first_voxel_[a] + static_cast<double>(x) * steps_[0][a] +
           static_cast<double>(y) * steps_[1][a] + static_cast<double>(z) * steps_[2][a];
  return p;
}

Canvas::Range Canvas::voxels_near(const Solid& solid) const {
  Vec3 scaled = solid.centre;
  for (std::size_t a = 0; a < 3; ++a) scaled[a] *= pose_.scale[a];
  const Vec3 rotated = times(pose_.rotation, scaled);
  const double largest_scale = *std::max_element(pose_.scale.begin(), pose_.scale.end());
  Range range;
  for (std::size_t a = 0; a < 3; ++a) {
    double stretch = 0;  // a rotated cube's extent along this axis
    for (std::size_t b = 0; b < 3; ++b) stretch += std::abs(pose_.rotation[3 * a + b]);
    const double reach = (solid.reach + edge_) * largest_scale * stretch / geometry_.spacing_mm[a];
    const double centre =
        (rotated[a] + pose_.centre_mm[a] - geometry_.origin_mm[a]) / geometry_.spacing_mm[a];
    const auto size = static_cast<double>(geometry_.size[a]);
    range.first[a] = static_cast<std::int64_t>(std::clamp(std::floor(centre - reach), 0.0, size));
    range.last[a] = static_cast<std::int64_t>(std::clamp(std::ceil(centre + reach) + 1, 0.0, size));
  }
  return range;
}

void Canvas::paint(const Solid& solid, const Material& material) {
  const Range range = voxels_near(solid);
  const std::uint64_t texture_key = hash(key_ ^ ++painted_);
  auto hu = hu_.accessor<float, 3>();
  auto label = label_.accessor<std::uint8_t, 3>();
  const auto paint_voxel = [&](std::int64_t x, std::int64_t y, std::int64_t z) {
    const Vec3 p = to_anatomy(x, y, z);
    const double cover = std::clamp(solid.depth(p) / edge_ + 0.5, 0.0, 1.0);
    if (cover <= 0) return;
    double value = material.hu;
    if (material.texture_hu > 0) {
      const double grain = 1 / material.texture_mm;
      value += material.texture_hu *
               value_noise(texture_key, {p[0] * grain, p[1] * grain, p[2] * grain});
    }
    hu[z][y][x] = static_cast<float>(hu[z][y][x] + cover * (value - hu[z][y][x]));
    if (cover >= 0.5) label[z][y][x] = static_cast<std::uint8_t>(material.label);
  };
  const std::int64_t in_slice = (range.last[0] - range.first[0]) * (range.last[1] - range.first[1]);
  at::parallel_for(range.first[2], std::max(range.first[2], range.last[2]),
                   slices_per_task(in_slice), [&](std::int64_t begin, std::int64_t end) {
                     for (std::int64_t z = begin; z < end; ++z)
                       for (std::int64_t y = range.first[1]; y < range.last[1]; ++y)
                         for (std::int64_t x = range.first[0]; x < range.last[0]; ++x)
                           paint_voxel(x, y, z);
                   });
}

double Canvas::resolvable(double radius) const {
  const auto& spacing = geometry_.spacing_mm;
  return std::max(radius, 0.55 * std::max({spacing[0] / pose_.scale[0], spacing[1] / pose_.scale[1],
                                           spacing[2] / pose_.scale[2]}));
}

void Canvas::add_bias(double hu, Random& random) {
  constexpr double kWavelengthMm = 250;
  const auto wave = waves(kWavelengthMm, random);
  auto values = hu_.accessor<float, 3>();
  at::parallel_for(0, hu_.size(0), slices_per_task(hu_[0].numel()),
                   [&](std::int64_t begin, std::int64_t end) {
                     for (std::int64_t z = begin; z < end; ++z)
                       for (std::int64_t y = 0; y < hu_.size(1); ++y)
                         for (std::int64_t x = 0; x < hu_.size(2); ++x)
                           values[z][y][x] += static_cast<float>(hu * wave(to_anatomy(x, y, z)));
                   });
}

Volume Canvas::image(double noise_hu) {
  constexpr double kLowestHu = -1024, kHighestHu = 3071;  // what 12 bits of a scanner hold
  const std::uint64_t key = hash(key_);
  torch::Tensor voxels = torch::empty(hu_.sizes(), torch::kInt16);
  const float* value = hu_.const_data_ptr<float>();
  auto* out = voxels.mutable_data_ptr<std::int16_t>();
  at::parallel_for(0, hu_.numel(), kVoxelsPerTask, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const std::uint64_t bits = hash(key + static_cast<std::uint64_t>(i));
      const auto sum = static_cast<double>((bits & 0xffff) + (bits >> 16 & 0xffff) +
                                           (bits >> 32 & 0xffff) + (bits >> 48));
      const double normal =
          (sum / 65536 - 2) * 1.7320508075688772;  // four uniform numbers have the variance 1/3
      out[i] = static_cast<std::int16_t>(
          std::clamp(std::floor(value[i] + noise_hu * normal + 0.5), kLowestHu, kHighestHu));
    }
  });
  return {.geometry = geometry_, .voxels = voxels.unsqueeze(0)};
}

Volume Canvas::label() const { return {.geometry = geometry_, .voxels = label_.unsqueeze(0)}; }

}  // namespace lamp
