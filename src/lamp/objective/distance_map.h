// How far each voxel is from a structure: the ground of the boundary loss and of the surface
// metrics. ITK has such a filter, but not every machine that trains has ITK.
#pragma once

#include <torch/types.h>

#include <array>

namespace lamp {

// Exact Euclidean distance in mm from each voxel's centre to the centre of the nearest voxel where
// `features` is not zero; infinity everywhere if there is none. features: [D, H, W] uint8 or bool
// on the CPU. spacing_dhw_mm follows the tensor's axes. Returns [D, H, W] double. Lower envelopes
// of parabolas, one axis after another (Felzenszwalb and Huttenlocher 2012), with time linear in
// the number of voxels. Thread-safe; runs on torch's own threads.
torch::Tensor distance_map(const torch::Tensor& features,
                           const std::array<double, 3>& spacing_dhw_mm);

// Negative inside `mask`, positive outside and zero half a voxel from the outermost centres, where
// the boundary lies; in voxels. A mask that is empty or full has no boundary: all zeros. What is
// not `known` counts neither as inside nor as outside, and its own distance is zero.
// mask, known: [D, H, W] uint8 or bool on the CPU; `known` left out = everything. Returns
// [D, H, W] float32.
torch::Tensor signed_distance_voxels(const torch::Tensor& mask, const torch::Tensor& known = {});

}  // namespace lamp
