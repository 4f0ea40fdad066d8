// Formulas of nifti1.h, "3D IMAGE (VOLUME) ORIENTATION AND LOCATION IN SPACE". NIfTI's x and y
// point the other way than LPS: those two rows change sign.
#include "lamp/formats/nifti_geometry.h"

#include <algorithm>
#include <cmath>

#include "lamp/base/errors.h"
#include "lamp/base/log.h"
#include "lamp/base/setting_name.h"
#include "lamp/base/text.h"
#include "lamp/volume/grid_check.h"
#include "lamp/volume/matrix3.h"

namespace lamp {
namespace {

constexpr double kConflictVoxels = 0.1;
// Of the spacings of sform and pixdim, relative: what is worth a line, and what is no rounding.
constexpr double kNotableSpacing = 0.001;
constexpr double kConflictSpacing = 0.01;
constexpr Vector3 kRasToLps = {-1, -1, 1};

// Millimetres in one of the file's units; the code for "unknown" counts as mm, as everywhere.
double unit_mm(int xyzt_units) {
  const int unit = xyzt_units & 7;
  return unit == 1 ? 1000.0 : unit == 3 ? 0.001 : 1.0;
}

// Codes that nifti1.h does not define; none at all is as common as mm and means it.
void warn_of_unit(int xyzt_units, const std::string& file) {
  if ((xyzt_units & 7) <= 3) return;
  log_warning("unknown unit of length " + std::to_string(xyzt_units & 7) +
              ", taken as mm: " + file);
}

// A grid from an affine in RAS, not yet checked. `columns` are the steps from voxel to voxel.
Geometry from_affine(const Matrix3& columns, const Vector3& offset, const NiftiSpace& space) {
  Geometry grid;
  const double mm = unit_mm(space.xyzt_units);
  for (int axis = 0; axis < 3; ++axis) {
    Vector3 step = column(columns, axis);
    const double length = norm(step);
    for (int r = 0; r < 3; ++r) step[r] *= kRasToLps[r] / length;
    set_column(grid.direction, axis, step);
    // The same number without the rounding of the nine others.
    const double pixdim = space.pixdim[axis + 1];
    grid.spacing_mm[axis] = mm * (std::abs(length - pixdim) <= 1e-6 * pixdim ? pixdim : length);
    grid.origin_mm[axis] = mm * kRasToLps[axis] * offset[axis];
  }
  return grid;
}

Geometry from_sform(const NiftiSpace& space) {
  const auto& s = space.srow;
  return from_affine({s[0], s[1], s[2], s[4], s[5], s[6], s[8], s[9], s[10]}, {s[3], s[7], s[11]},
                     space);
}

Matrix3 rotation(const std::array<double, 3>& quaternion) {
  auto [b, c, d] = quaternion;
  const double rest = 1 - (b * b + c * c + d * d);
  const double a = rest > 0 ? std::sqrt(rest) : 0;
  if (rest < 0) {  // rounding has made it longer than 1
    const double length = std::sqrt(1 - rest);
    b /= length, c /= length, d /= length;
  }
  return {
      a * a + b * b - c * c - d * d, 2 * (b * c - a * d),           2 * (b * d + a * c),
      2 * (b * c + a * d),           a * a + c * c - b * b - d * d, 2 * (c * d - a * b),
      2 * (b * d - a * c),           2 * (c * d + a * b),           a * a + d * d - c * c - b * b};
}

double squared_length(const std::array<double, 3>& v) {
  return v[0] * v[0] + v[1] * v[1] + v[2] * v[2];
}

Geometry from_qform(const NiftiSpace& space) {
  Matrix3 columns = rotation(space.quatern);
  const double handed = space.pixdim[0] < 0 ? -1 : 1;
  for (int r = 0; r < 3; ++r) {
    columns[3 * r] *= space.pixdim[1];
    columns[3 * r + 1] *= space.pixdim[2];
    columns[3 * r + 2] *= space.pixdim[3] * handed;
  }
  return from_affine(columns, space.qoffset, space);
}

// How far the corners may move, in voxels, because the quaternion's first number is the root of
// what float32 leaves of the other three: near 180 degrees that root is nearly all rounding.
double quaternion_slack(const Geometry& grid, const NiftiSpace& space) {
  constexpr double kRounding = 1.2e-7;
  const double rest = 1 - squared_length(space.quatern);
  const double high = std::sqrt(std::max(0.0, rest + kRounding));
  const double low = std::sqrt(std::max(0.0, rest - kRounding));
  double extent = 0, finest = grid.spacing_mm[0];
  for (int axis = 0; axis < 3; ++axis) {
    extent = std::hypot(extent, static_cast<double>(grid.size[axis]) * grid.spacing_mm[axis]);
    finest = std::min(finest, grid.spacing_mm[axis]);
  }
  return 2 * (high - low) * extent / finest;
}

// What the user wants where a file's forms differ.
struct FormChoice {
  NiftiForm form;
  const std::string& file;

  // That the choice has decided.
  void tell(const std::string& found) const {
    log_warning(found + ", the " + name_of(form) + " is used as asked for: " + file);
  }
};

void check_quaternion(const NiftiSpace& space, const std::string& file) {
  const double length = squared_length(space.quatern);
  if (length <= 1.001 && std::isfinite(space.pixdim[0])) return;
  cannot_read(file, {.found = "its qform is no rotation (quaternion of squared length " +
                              shortest(length) + ")",
                     .fix = "write the file again with the right affine"});
}

// Where two forms differ.
std::string way_out() {
  return "say which is right with " + setting_to("orientation", "sform") +
         " or qform (data.nifti_form in a training's "
         "configuration), or correct the header";
}

void compare_forms(const Geometry& sform, const Geometry& qform, const NiftiSpace& space,
                   const FormChoice& choice) {
  const double apart = corner_distance_voxels(sform, qform);
  if (apart <= kConflictVoxels + quaternion_slack(qform, space)) return;
  const std::string found = "sform and qform put its corners " + fixed(apart, 2) + " voxels apart";
  if (choice.form != NiftiForm::kRefuse) return choice.tell(found);
  if (space.sform_code != space.qform_code) {
    log_info(found + ", the sform is used: " + choice.file);
    return;
  }
  cannot_read(choice.file,
              {.found = found + " under the same code " + std::to_string(space.sform_code) +
                        ", so either may be wrong",
               .fix = way_out() + " (in nibabel: image.set_qform(None, 0) keeps the sform)"});
}

std::string mm_text(const std::array<double, 3>& spacing) {
  return fixed(spacing[0], 4) + "x" + fixed(spacing[1], 4) + "x" + fixed(spacing[2], 4) + " mm";
}

// Some readers take the size of a voxel from pixdim, others from the sform's columns.
void compare_spacing(const Geometry& sform, const NiftiSpace& space, const FormChoice& choice) {
  const double mm = unit_mm(space.xyzt_units);
  std::array<double, 3> pixdim{};
  double off = 0;
  for (int axis = 0; axis < 3; ++axis) {
    pixdim[axis] = mm * space.pixdim[axis + 1];
    const double ratio = sform.spacing_mm[axis] / pixdim[axis];
    off = std::max({off, ratio - 1, 1 / ratio - 1});
  }
  if (off <= kNotableSpacing) return;
  const std::string found = "its sform makes voxels of " + mm_text(sform.spacing_mm) +
                            ", its pixdim of " + mm_text(pixdim) + " (" + fixed(100 * off, 1) +
                            " % apart)";
  if (choice.form == NiftiForm::kSform) return choice.tell(found);
  if (off <= kConflictSpacing) {
    log_warning(found + ", those of the sform are used: " + choice.file);
    return;
  }
  cannot_read(choice.file,
              {.found = found + ", so volumes and distances are uncertain",
               .fix = (space.qform_code > 0 ? way_out()
                                            : "correct the header, or say with " +
                                                  setting_to("orientation", "sform") +
                                                  " (data.nifti_form in a training's "
                                                  "configuration) that the sform is right")});
}

void check_pixdim(const NiftiSpace& space, const std::string& file) {
  for (int axis = 1; axis <= 3; ++axis) {
    const double found = space.pixdim[axis];
    if (std::isfinite(found) && found > 0) continue;
    cannot_read(file, {.found = "pixdim[" + std::to_string(axis) + "] = " + shortest(found),
                       .expected = "a positive voxel size",
                       .fix = "correct the header"});
  }
}

Geometry axis_aligned(const NiftiSpace& space, const std::string& file) {
  log_warning("no orientation in the file (qform and sform codes are 0), axes taken as R, A, S: " +
              file);
  const auto& p = space.pixdim;
  return from_affine({p[1], 0, 0, 0, p[2], 0, 0, 0, p[3]}, {0, 0, 0}, space);
}

void check_sform(const NiftiSpace& space, const std::string& file) {
  const bool finite = std::all_of(space.srow.begin(), space.srow.end(),
                                  [](double value) { return std::isfinite(value); });
  const Geometry grid = from_sform(space);
  if (finite && std::abs(determinant(grid.direction)) > 1e-6) return;  // NaN where a column is 0
  cannot_read(file, {.found = std::string("its affine (sform) ") +
                              (finite ? "is singular" : "holds NaN or infinite numbers"),
                     .fix = std::string("write the file again with the right affine") +
                            (space.qform_code > 0
                                 ? ", or use the qform with " + setting_to("orientation", "qform")
                                 : "")});
}

// A file with one form leaves nothing to choose but what its pixdim says against the sform.
Geometry chosen_form(const NiftiSpace& space, const Size3& size, const FormChoice& choice) {
  if (space.sform_code <= 0 && space.qform_code <= 0) return axis_aligned(space, choice.file);
  const bool take_qform =
      space.sform_code <= 0 || (space.qform_code > 0 && choice.form == NiftiForm::kQform);
  if (take_qform) check_quaternion(space, choice.file);
  if (space.sform_code <= 0) return from_qform(space);
  if (!take_qform) check_sform(space, choice.file);
  Geometry sform = from_sform(space), qform = from_qform(space);
  sform.size = qform.size = size;
  if (!take_qform) compare_spacing(sform, space, choice);
  if (space.qform_code > 0) compare_forms(sform, qform, space, choice);
  return take_qform ? qform : sform;
}

// The unit quaternion (b, c, d with a >= 0) of a rotation: the largest component first, as it is
// the best conditioned.
std::array<double, 3> quaternion_of(const Matrix3& m) {
  const double squared[4] = {1 + m[0] + m[4] + m[8], 1 + m[0] - m[4] - m[8], 1 - m[0] + m[4] - m[8],
                             1 - m[0] - m[4] + m[8]};
  const auto largest = std::max_element(squared, squared + 4) - squared;
  const double twice = std::sqrt(squared[largest]);                   // 2 * that component
  const double x = m[7] - m[5], y = m[2] - m[6], z = m[3] - m[1];     // 4 a b, 4 a c, 4 a d
  const double xy = m[1] + m[3], xz = m[2] + m[6], yz = m[5] + m[7];  // 4 b c, 4 b d, 4 c d
  double q[4];
  switch (largest) {
    case 0:
      q[0] = twice * twice, q[1] = x, q[2] = y, q[3] = z;
      break;
    case 1:
      q[0] = x, q[1] = twice * twice, q[2] = xy, q[3] = xz;
      break;
    case 2:
      q[0] = y, q[1] = xy, q[2] = twice * twice, q[3] = yz;
      break;
    default:
      q[0] = z, q[1] = xz, q[2] = yz, q[3] = twice * twice;
      break;
  }
  const double scale = (q[0] < 0 ? -1 : 1) / (2 * twice);
  return {q[1] * scale, q[2] * scale, q[3] * scale};
}

double rounded(double value) { return static_cast<double>(static_cast<float>(value)); }

void add_qform(NiftiSpace& space, const Geometry& geometry) {
  Matrix3 ras = geometry.direction;
  for (int i = 0; i < 6; ++i) ras[i] = -ras[i];
  space.pixdim[0] = determinant(ras) < 0 ? -1 : 1;
  for (int r = 0; r < 3; ++r) ras[3 * r + 2] *= space.pixdim[0];
  space.quatern = quaternion_of(ras);
  for (double& value : space.quatern) value = rounded(value);
  space.qform_code = 1;
  Geometry said = from_qform(space);
  said.size = geometry.size;
  if (corner_distance_voxels(geometry, said) <= kSameGridVoxels) return;
  space.qform_code = 0;
  space.quatern = {};
}

}  // namespace

Geometry nifti_geometry(const NiftiSpace& space, const Size3& size, const ReadOptions& options,
                        const std::string& file) {
  check_pixdim(space, file);
  Geometry grid = chosen_form(space, size, {options.nifti_form, file});
  grid.size = size;
  warn_of_unit(space.xyzt_units, file);
  if (const double mm = unit_mm(space.xyzt_units); mm != 1)
    log_info("lengths are in units of " + shortest(mm) + " mm, converted: " + file);
  check_grid(grid, options, file);
  return grid;
}

NiftiSpace nifti_space_of(const Geometry& geometry) {
  NiftiSpace space;
  space.pixdim = {
      1, geometry.spacing_mm[0], geometry.spacing_mm[1], geometry.spacing_mm[2], 1, 1, 1, 1};
  for (double& value : space.pixdim) value = rounded(value);
  space.xyzt_units = 2;  // mm
  space.sform_code = 1;
  for (int r = 0; r < 3; ++r) {
    for (int c = 0; c < 3; ++c) {
      space.srow[4 * r + c] =
          rounded(kRasToLps[r] * geometry.direction[3 * r + c] * geometry.spacing_mm[c]);
    }
    space.srow[4 * r + 3] = space.qoffset[r] = rounded(kRasToLps[r] * geometry.origin_mm[r]);
  }
  if (orthonormality_error(geometry.direction) < kSilentRoundingError) add_qform(space, geometry);
  return space;
}

}  // namespace lamp
