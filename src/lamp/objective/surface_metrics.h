// Distances between the surfaces of a predicted and a reference structure, weighted by area, with
// the numbers of DeepMind's surface-distance: HD95, surface Dice, average surface distance.
#pragma once

#include <torch/types.h>

#include <array>
#include <cstdint>
#include <vector>

#include "lamp/objective/overlap.h"

namespace lamp {

// The elements of one surface, nearest to the other surface first. A distance is infinite if the
// other surface does not exist.
struct SurfaceElements {
  std::vector<double> distance_mm;
  std::vector<double> area_mm2;
  double total_area_mm2 = 0;
};

struct SurfaceDistances {
  SurfaceElements from_reference;   // to the predicted surface
  SurfaceElements from_prediction;  // to the reference surface
};

struct SurfaceRequest {
  std::int64_t label = 1;
  VoxelBox box;  // holds the label in both maps (LabelOverlap::box)
  std::array<double, 3> spacing_dhw_mm = {1, 1, 1};  // follows the tensors' axes
};

// predicted, reference: [D, H, W] integers of one shape, on the CPU. Surface elements lie at the
// corners between voxels whose 2x2x2 neighbourhood is neither empty nor full; outside of the volume
// there is background. Memory: 11 bytes for each voxel of the box. Thread-safe.
SurfaceDistances surface_distances(const torch::Tensor& predicted, const torch::Tensor& reference,
                                   const SurfaceRequest& request);

// All in mm (surface Dice: a share of area). NaN if both surfaces are missing. If one is missing
// the distances are infinite and the surface Dice is 0.

// The larger of both directions' percentiles by area; percent = 100 is the Hausdorff distance.
double robust_hausdorff_mm(const SurfaceDistances& distances, double percent);
// Share of both surfaces' area that lies within `tolerance_mm` of the other surface.
double surface_dice(const SurfaceDistances& distances, double tolerance_mm);
// Mean over the area of both surfaces together: each direction weighs as much as its surface.
double average_symmetric_distance_mm(const SurfaceDistances& distances);

}  // namespace lamp
