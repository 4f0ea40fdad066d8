// Mirrored copies of the image are segmented too, mirrored back and averaged.
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "lamp/data/volume.h"

namespace lamp {

// The axes x, y, z (0, 1, 2) of "x,y,z" or a part of it. Throws UsageError for anything else.
std::vector<int> parse_mirror_axes(const std::string& text);

// The axis of the grid that runs most from the patient's left to the right.
int left_right_axis(const Geometry& geometry);

// Left out: the left-right axis where labels come in pairs of sides, since a mirrored left organ is
// a right one to the network.
std::vector<int> allowed_mirror_axes(const std::vector<int>& axes, const Geometry& geometry,
                                     const std::map<int, std::string>& labels);

// For every subset of the axes, the dimensions of [.., D, H, W] to flip, counted from the back; the
// first is empty. Two axes give four copies, three give eight.
std::vector<std::vector<std::int64_t>> mirror_flips(const std::vector<int>& axes);

}  // namespace lamp
