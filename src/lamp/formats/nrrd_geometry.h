// From a NRRD header's axes and space to a grid in LPS.
#pragma once

#include <cstddef>
#include <vector>

#include "lamp/formats/text_header.h"
#include "lamp/volume/volume.h"

namespace lamp {

// Which of the axes are of space; the others hold the numbers of a voxel, or are time or another
// axis of a single sample. Throws InputError for several time steps.
std::vector<bool> nrrd_axes_of_space(const TextHeader& header,
                                     const std::vector<std::int64_t>& sizes);

// The grid of the three axes of space (of all `sizes`), not yet checked by check_grid. Warns, and
// throws InputError, as parse_nrrd says.
Geometry nrrd_geometry(const TextHeader& header, const std::vector<std::int64_t>& sizes,
                       const std::vector<bool>& of_space);

}  // namespace lamp
