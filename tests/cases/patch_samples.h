// Patches that the tests of augmentation share.
#pragma once

#include <torch/types.h>

#include <cstdint>

#include "lamp/cases/patch_sampler.h"

namespace lamp::testing {

// Every voxel has a value of its own; labels 0 to 3.
inline Patch numbered_patch(std::int64_t depth = 5, std::int64_t height = 6,
                            std::int64_t width = 7) {
  const torch::Tensor values = torch::arange(2 * depth * height * width, torch::kFloat32) / 1000;
  const torch::Tensor image = values.view({2, depth, height, width});
  return {image, torch::arange(depth * height * width)
                     .remainder(4)
                     .view({depth, height, width})
                     .to(torch::kUInt8)};
}

// Seventeen voxels a side, dark but for one bright voxel with label 3.
inline Patch dot_patch(std::int64_t z, std::int64_t y, std::int64_t x) {
  Patch patch{torch::zeros({1, 17, 17, 17}), torch::zeros({17, 17, 17}, torch::kUInt8)};
  patch.image.index_put_({0, z, y, x}, 1.0F);
  patch.label.index_put_({z, y, x}, 3);
  return patch;
}

}  // namespace lamp::testing
