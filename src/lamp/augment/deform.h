// Moves the voxels of a patch: an affine map and an elastic field, composed into one resampling, so
// that the image is interpolated once.
#pragma once

#include <optional>

#include "lamp/augment/augment_config.h"
#include "lamp/augment/elastic.h"
#include "lamp/base/size3.h"
#include "lamp/cases/patch_sampler.h"
#include "lamp/volume/matrix3.h"

namespace lamp {

// The voxel at p of the result shows the place  centre + linear * (p - centre + elastic(p)) + shift
// of the patch it was made from (x, y, z in voxels; the centre is the patch's).
struct Deformation {
  Matrix3 linear = {1, 0, 0, 0, 1, 0, 0, 0, 1};  // row-major
  Vector3 shift = {0, 0, 0};
  std::optional<ElasticField> elastic;
};

// Draws linear = rotation * shear * scale and shift = rotation * shear * translation, in the order
// of the paper's code; `size` is the patch's (d, h, w).
Deformation draw_affine(const AffineConfig& config, const Shape3& size, Random& random);

// Image: linear interpolation, outside the patch its border values. Label: nearest, outside
// kNoScan, for which uint8 becomes int16; no other value appears. Shapes are kept.
Patch deform(const Patch& patch, const Deformation& deformation);

}  // namespace lamp
