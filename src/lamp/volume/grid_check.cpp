// Every refusal says the way out, because the file is the user's only copy.
#include "lamp/volume/grid_check.h"

#include <cmath>

#include "lamp/base/errors.h"
#include "lamp/base/log.h"
#include "lamp/base/text.h"
#include "lamp/volume/matrix3.h"

namespace lamp {
namespace {

// Smaller than any real grid's: a triple of unit vectors this flat holds no volume.
constexpr double kSingular = 1e-6;

void check_numbers(const Geometry& grid, const std::string& file) {
  for (int axis = 0; axis < 3; ++axis) {
    const std::string name(1, "xyz"[axis]);
    if (grid.size[axis] < 2) {
      cannot_read(file, {.found = "a 2-D image (" + std::to_string(grid.size[axis]) +
                                  " voxel along " + name + ")",
                         .expected = "2 or more along every axis",
                         .fix = "stack its slices to a volume"});
    }
    if (!std::isfinite(grid.spacing_mm[axis]) || grid.spacing_mm[axis] <= 0) {
      cannot_read(file,
                  {.found = "voxel spacing " + six_digits(grid.spacing_mm[axis]) + " along " + name,
                   .expected = "a positive number of mm",
                   .fix = "correct the header"});
    }
    if (grid.spacing_mm[axis] < kLeastSpacingMm || grid.spacing_mm[axis] > kMostSpacingMm) {
      cannot_read(
          file,
          {.found = "voxel spacing " + six_digits(grid.spacing_mm[axis]) + " along " + name,
           .expected = six_digits(kLeastSpacingMm) + " to " + six_digits(kMostSpacingMm) + " mm",
           .fix = "correct the header"});
    }
    if (!std::isfinite(grid.origin_mm[axis])) {
      cannot_read(file, {.found = "origin " + six_digits(grid.origin_mm[axis]) + " along " + name,
                         .expected = "a finite number",
                         .fix = "correct the header's affine"});
    }
    if (std::abs(grid.origin_mm[axis]) > kFarthestOriginMm) {
      cannot_read(file, {.found = "origin " + six_digits(grid.origin_mm[axis]) + " along " + name,
                         .expected = "at most " + six_digits(kFarthestOriginMm) + " mm from 0",
                         .fix = "correct the header"});
    }
  }
}

}  // namespace

void check_grid(Geometry& grid, const ReadOptions& options, const std::string& file) {
  check_numbers(grid, file);
  const double error = orthonormality_error(grid.direction);
  if (!std::isfinite(error)) {
    cannot_read(file, {.found = "its orientation holds NaN or infinite numbers",
                       .fix = "write the file again with the right affine"});
  }
  if (std::abs(determinant(grid.direction)) < kSingular) {
    cannot_read(file, {.found = "its orientation is singular (two axes point the same way)",
                       .fix = "write the file again with the right affine"});
  }
  if (error <= kRoundingError) {
    if (error > kSilentRoundingError) {
      log_warning("direction " + six_digits(error) +
                  " off orthonormal, taken as rounding: " + file);
    }
    grid.direction = nearest_orthonormal(grid.direction);
  } else if (!options.allow_shear) {
    cannot_read(file,
                {.found = "a sheared grid (its axes are " + six_digits(error) +
                          " off right angles, as from a tilted gantry)",
                 .fix = "resample it to a rectangular grid, or set data.shear to \"resample\""});
  }
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
