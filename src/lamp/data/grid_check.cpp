// Every refusal says the way out, because the file is the user's only copy.
#include "lamp/data/grid_check.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "lamp/base/errors.h"
#include "lamp/base/log.h"
#include "lamp/base/text.h"
#include "lamp/data/matrix3.h"

namespace lamp {
namespace {

// Smaller than any real grid's: a triple of unit vectors this flat holds no volume.
constexpr double kSingular = 1e-6;

std::string number(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.6g", value);
  return text;
}

void check_numbers(const Geometry& grid, const std::string& file) {
  for (int axis = 0; axis < 3; ++axis) {
    const std::string name(1, "xyz"[axis]);
    if (grid.size[axis] < 2) {
      throw InputError("cannot read", file,
                       "a 2-D image (" + std::to_string(grid.size[axis]) + " voxel along " + name +
                           "), expected 2 or more along every axis; stack its slices to a volume");
    }
    if (!std::isfinite(grid.spacing_mm[axis]) || grid.spacing_mm[axis] <= 0) {
      throw InputError("cannot read", file,
                       "voxel spacing " + number(grid.spacing_mm[axis]) + " along " + name +
                           ", expected a positive number of mm; correct the header");
    }
    if (!std::isfinite(grid.origin_mm[axis])) {
      throw InputError("cannot read", file,
                       "origin " + number(grid.origin_mm[axis]) + " along " + name +
                           ", expected a finite number; correct the header's affine");
    }
  }
}

}  // namespace

void check_grid(Geometry& grid, const ReadOptions& options, const std::string& file) {
  check_numbers(grid, file);
  const double error = orthonormality_error(grid.direction);
  if (!std::isfinite(error)) {
    throw InputError("cannot read", file,
                     "its orientation holds NaN or infinite numbers; write the file again with the "
                     "right affine");
  }
  if (std::abs(determinant(grid.direction)) < kSingular) {
    throw InputError("cannot read", file,
                     "its orientation is singular (two axes point the same way); write the file "
                     "again with the right affine");
  }
  if (error <= kRoundingError) {
    if (error > kSilentRoundingError) {
      log_warning("direction " + number(error) + " off orthonormal, taken as rounding: " + file);
    }
    grid.direction = nearest_orthonormal(grid.direction);
  } else if (!options.allow_shear) {
    throw InputError("cannot read", file,
                     "a sheared grid (its axes are " + number(error) +
                         " off right angles, as from a tilted gantry); resample it to a "
                         "rectangular grid, or set data.shear to \"resample\"");
  }
}

std::string grid_text(const Geometry& grid) {
  constexpr const char* kToward[3][2] = {{"L", "R"}, {"P", "A"}, {"S", "I"}};
  std::string axes, origin;
  for (int axis = 0; axis < 3; ++axis) {
    const Vector3 along = column(grid.direction, axis);
    const auto main = static_cast<std::size_t>(
        std::max_element(along.begin(), along.end(),
                         [](double a, double b) { return std::abs(a) < std::abs(b); }) -
        along.begin());
    axes += std::string(axis > 0 ? ", " : "") + kToward[main][along[main] < 0];
    origin += (axis > 0 ? ", " : "") + shortest(std::round(1e3 * grid.origin_mm[axis]) / 1e3);
  }
  return grid.describe() + ", axes to " + axes + ", first voxel at " + origin + " mm (LPS)";
}

std::string distance_text(const Geometry& a, const Geometry& b) {
  if (a.size != b.size) return "";
  double mm = 0;
  for (int corner = 0; corner < 8; ++corner) {
    Vector3 index;
    for (int axis = 0; axis < 3; ++axis)
      index[axis] = (corner >> axis) & 1 ? static_cast<double>(a.size[axis] - 1) : 0;
    const Vector3 p = a.point(index), q = b.point(index);
    mm = std::max(mm, std::hypot(p[0] - q[0], p[1] - q[1], p[2] - q[2]));
  }
  return "corners up to " + fixed(corner_distance_voxels(a, b), 3) + " voxels (" + fixed(mm, 3) +
         " mm) apart";
}

void check_same_grid(const FileGrid& found, const FileGrid& image) {
  const double voxels = corner_distance_voxels(image.grid, found.grid);
  if (voxels <= kSameGridVoxels) return;
  const std::string distance = distance_text(image.grid, found.grid);
  throw InputError("another grid than its image", found.file.string(),
                   "found " + grid_text(found.grid) +
                       (distance.empty() ? "" : ", up to " + fixed(voxels, 3) + " voxels away") +
                       ", expected " + grid_text(image.grid) + " as in " + image.file.string() +
                       (distance.empty() ? "" : ", " + distance) + "; resample it onto that grid");
}

std::optional<std::int64_t> checked_product(const std::vector<std::int64_t>& factors) {
  std::int64_t result = 1;
  for (const std::int64_t factor : factors) {
    if (factor < 0 || __builtin_mul_overflow(result, factor, &result) ||
        result > (std::int64_t{1} << 62))
      return std::nullopt;
  }
  return result;
}

}  // namespace lamp
