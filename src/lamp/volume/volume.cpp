// Arithmetic of grids.
#include "lamp/volume/volume.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>

#include "lamp/base/errors.h"
#include "lamp/volume/matrix3.h"

namespace lamp {

const char* name_of(NiftiForm form) {
  switch (form) {
    case NiftiForm::kSform:
      return "sform";
    case NiftiForm::kQform:
      return "qform";
    case NiftiForm::kRefuse:
      break;
  }
  return "refuse";
}

NiftiForm parse_nifti_form(const std::string& name) {
  for (const NiftiForm form : {NiftiForm::kRefuse, NiftiForm::kSform, NiftiForm::kQform})
    if (name == name_of(form)) return form;
  throw UsageError("orientation: found \"" + shortened(name) +
                   "\", expected sform, qform or refuse");
}

double Geometry::voxel_volume_mm3() const {
  return std::abs(determinant(direction)) * spacing_mm[0] * spacing_mm[1] * spacing_mm[2];
}

std::array<double, 3> Geometry::point(const std::array<double, 3>& index) const {
  const Vector3 offset = product(
      direction,
      Vector3{spacing_mm[0] * index[0], spacing_mm[1] * index[1], spacing_mm[2] * index[2]});
  return {origin_mm[0] + offset[0], origin_mm[1] + offset[1], origin_mm[2] + offset[2]};
}

std::string Geometry::describe() const {
  char text[160];
  std::snprintf(text, sizeof text, "%lldx%lldx%lld voxels of %.6gx%.6gx%.6g mm",
                static_cast<long long>(size[0]), static_cast<long long>(size[1]),
                static_cast<long long>(size[2]), spacing_mm[0], spacing_mm[1], spacing_mm[2]);
  return text;
}

double corner_distance_voxels(const Geometry& a, const Geometry& b) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  if (a.size != b.size || !(std::abs(determinant(a.direction)) > 0)) return kInfinity;
  const Matrix3 to_axes = inverted(a.direction);
  double largest = 0;
  for (int corner = 0; corner < 8; ++corner) {
    Vector3 index;
    for (int axis = 0; axis < 3; ++axis)
      index[axis] = (corner >> axis) & 1 ? static_cast<double>(a.size[axis] - 1) : 0;
    const Vector3 p = a.point(index), q = b.point(index);
    Vector3 apart = product(to_axes, Vector3{q[0] - p[0], q[1] - p[1], q[2] - p[2]});
    for (int axis = 0; axis < 3; ++axis) apart[axis] /= a.spacing_mm[axis];
    const double distance = norm(apart);
    if (std::isnan(distance)) return kInfinity;
    largest = std::max(largest, distance);
  }
  return largest;
}

}  // namespace lamp
