// Smooth random displacements at a fraction of the usual cost. The usual way (MONAI's
// Rand3DElastic, the paper's released code) draws white noise at every voxel, evenly in [-1, 1],
// smooths it with a Gaussian of `sigma` voxels and multiplies it by `magnitude`. What is left after
// smoothing has no detail finer than sigma, so here the noise lives on control points sigma / 2
// apart, each standing for the sum of the noise in its block, and the Gaussian is evaluated between
// control point and voxel. Displacements have the same distribution, also near the borders, where
// both see only the noise inside the volume and grow smaller.
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <vector>

#include "lamp/base/random.h"
#include "lamp/base/size3.h"
#include "lamp/volume/matrix3.h"

namespace lamp {

// The standard deviation of a displacement, in voxels along each axis, away from the borders, is
// magnitude * sqrt(1/3) * (2 sqrt(pi) sigma)^(-3/2). Noise of variance 1/3, times the sum of the
// squared kernel, which for a Gaussian is 1 / (2 sqrt(pi) sigma) along each axis. The correlation
// over a distance d is exp(-d^2 / (4 sigma^2)).
struct ElasticOptions {
  double sigma_voxels = 10;  // 1 or more
  double magnitude = 600;
};

// One drawn field. Reading it is thread-safe, and the values do not depend on the number of
// threads: no sum is ever split between them.
class ElasticField {
 public:
  // For a volume of `size` (d, h, w) voxels. Memory: 12 bytes * h * w * 2 d / sigma.
  ElasticField(const Shape3& size, const ElasticOptions& options, Random& random);

  // The field whose displacements are matrix * v for every v of this one; row-major, x, y, z.
  ElasticField transformed(const Matrix3& matrix) const;

  // Displacements in voxels of slices first ... first + count - 1: [3 (x, y, z), count, h, w]
  // float32.
  torch::Tensor slices(std::int64_t first, std::int64_t count) const;

 private:
  // How one axis follows from its control points: voxel v is the weighted sum of the `reach` points
  // from first[v] on.
  struct Axis {
    std::int64_t points = 0, reach = 0;
    std::vector<std::int64_t> first;
    std::vector<float> weights;  // [voxels, reach]
  };
  static Axis make_axis(std::int64_t voxels, double sigma);

  Shape3 size_;
  Axis z_;
  torch::Tensor planes_;  // [3, points along z, h, w]: interpolated along x and y
};

}  // namespace lamp
