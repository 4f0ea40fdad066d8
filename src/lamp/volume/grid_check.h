// The one gate every reader's grid passes, so that no format lets through what another refuses.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "lamp/volume/volume.h"

namespace lamp {

// Directions this far from orthonormal (max |R^T R - I|) are rounding and are made orthonormal;
// further is shear.
inline constexpr double kRoundingError = 1e-3;
// Below this, rounding is that of float32 and not worth a line.
inline constexpr double kSilentRoundingError = 1e-5;

// Nothing that was ever scanned lies beyond these, and all that is computed of a grid within them
// stays finite, also as the float32 that NIfTI keeps.
inline constexpr double kLeastSpacingMm = 1e-6, kMostSpacingMm = 1e6, kFarthestOriginMm = 1e9;

// Throws InputError unless `grid` has two voxels or more along every axis, spacing and origin
// within those limits and a direction that is finite, not singular and orthonormal up to
// kRoundingError (or sheared, if `options` allow it). Makes a rounded direction exactly
// orthonormal, with a warning.
void check_grid(Geometry& grid, const ReadOptions& options, const std::string& file);

// The product of counts, or nothing if one is negative or the product passes 2^62.
std::optional<std::int64_t> checked_product(const std::vector<std::int64_t>& factors);

}  // namespace lamp
