// Slices stacked to a grid, or why they do not make one: a slice is missing or one too many,
// several images lie at one place, positions are rounded. Positions decide, not file names or
// instance numbers, which scanners and archives renumber.
#pragma once

#include <filesystem>
#include <vector>

#include "lamp/formats/dicom_slice.h"

namespace lamp {

// Sorts `slices` (of one series) along their normal and returns their grid, whose third axis points
// from the first to the last. Distances may differ by 1 % or by what the rounding of their
// positions explains; a missing slice is always more than that. Throws InputError that names
// `folder` or the slice at fault.
Geometry stack_slices(std::vector<DicomSlice>& slices, const std::filesystem::path& folder);

}  // namespace lamp
