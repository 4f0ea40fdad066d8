// A scan as people look at it: one channel, one byte a voxel.
#pragma once

#include <torch/types.h>

#include <string>
#include <vector>

#include "lamp/volume/volume.h"

namespace lamp {

struct GreyImage {
  Geometry geometry;
  torch::Tensor voxels;            // uint8 [D, H, W]
  std::vector<std::string> notes;  // what the greys stand for, and what is not shown
};

// The first channel of an image [C, D, H, W]. What looks like CT gets a window for soft tissue,
// everything else its 1st to 99th percentile. NaN and infinite voxels are black. One byte a voxel
// is taken besides the image.
GreyImage grey_image(const Volume& image);

}  // namespace lamp
