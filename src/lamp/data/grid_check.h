// The one gate every reader's grid passes, so that no format lets through what another refuses.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "lamp/data/volume.h"

namespace lamp {

// Directions this far from orthonormal (max |R^T R - I|) are rounding and are made orthonormal;
// further is shear.
inline constexpr double kRoundingError = 1e-3;
// Below this, rounding is that of float32 and not worth a line.
inline constexpr double kSilentRoundingError = 1e-5;

// Throws InputError unless `grid` has two voxels or more along every axis, finite positive spacing,
// finite origin and a direction that is finite, not singular and orthonormal up to kRoundingError
// (or sheared, if `options` allow it). Makes a rounded direction exactly orthonormal, with a
// warning.
void check_grid(Geometry& grid, const ReadOptions& options, const std::string& file);

// A grid and the file that says so.
struct FileGrid {
  const Geometry& grid;
  std::filesystem::path file;
};

// Throws InputError, naming the files and both grids, if `found` lies more than kSameGridVoxels off
// its image's grid.
void check_same_grid(const FileGrid& found, const FileGrid& image);

// Size and spacing, which way the axes run ("R, P, S" for to the right, to the back, up) and where
// the first voxel lies: unequal for unequal grids.
std::string grid_text(const Geometry& grid);
// "corners up to 9 voxels (4.5 mm) apart", for grids of one size; else empty.
std::string distance_text(const Geometry& a, const Geometry& b);

// The product of counts, or nothing if one is negative or the product passes 2^62.
std::optional<std::int64_t> checked_product(const std::vector<std::int64_t>& factors);

}  // namespace lamp
